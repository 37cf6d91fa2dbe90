"""How sure the place of each vertex is: its covariance, from the normal equations at the solution.

A surface that has a picture on it is held by landmarks; a plain one may slide along itself unseen, and a hidden part may be anywhere that
its bending allows. So what depth, landmarks and rigidity say of each node is weighed by how well they fit in this very frame: depth by its
residual, landmarks by theirs, and rigidity by how far the seen part has strained and bent, as that tells what the hidden part may have
done. The inverse of the matrix that they make up is the nodes' covariance, and the vertices' follows by their skinning weights.

The factors were fitted (by the likelihood of Student's t with 4 degrees of freedom) to the true errors of two simulated recordings and nine
tasks of benchmarks/bending_sheet.py, none of which the published calibration is measured on. True errors have longer tails than a normal
distribution, so all factors were then raised by a third, for two standard deviations to hold 93 % of those errors (one holds 75 %).
"""
from __future__ import annotations

import numpy as np

from ...camera import PinholeCamera
from ...compiled import njit
from ...surface import Surface
from ...types import Registration
from ..graph import DeformationGraph
from ..normal_equations import columns_of_inverse
from ..solver import Landmarks, Solver, Stage, State
from ..visibility import node_support
from .block_tridiagonal import inverse_blocks

DEPTH, LANDMARK, STRETCH, BEND = 1.3, 0.6, 17.0, 130.0     # standard deviations, in units of what is measured in the frame
OFFSET = 0.6                    # residuals of depth by which the reference itself is off, along its normal
LEAST_RESIDUAL = 0.0003         # metres: limits of what is measured, as a frame that fits perfectly proves little
LEAST_STRETCH, LEAST_BEND = 0.005, 0.02     # of an edge's length
MOST_RESIDUAL = 0.01            # metres; landmarks farther off are no sign of the others' noise
FREE = np.repeat([3.0, 0.5], 3)             # what is known of a node before any data: radians, metres


class VertexCovariance:
    """Covariances of one surface. It has a solver of its own, on the CPU."""

    def __init__(self, surface: Surface, graph: DeformationGraph, camera: PinholeCamera) -> None:
        self._solver = Solver(surface, graph, camera)

    def covariance(self, result: Registration, depth: np.ndarray, landmarks: Landmarks, length: float) -> np.ndarray:
        """(V, 3, 3) float32, square metres, camera optical frame.

        result: of a frame that was not lost; depth: its clean (H, W) metres; landmarks: those of its solve. length: the robust scale, m.
        """
        graph, state = self._solver.graph, State(result.node_rotation, result.node_translation)
        diagonal, coupling, depth_m = self._information(state, result, depth, landmarks, length)
        own, shared = inverse_blocks(diagonal, coupling, graph)
        covariance = _of_vertices(self._solver.vertices, graph.node_index, graph.weight, graph.pairs, np.ascontiguousarray(state.R),
                                  graph.position, np.ascontiguousarray(own), np.ascontiguousarray(shared))
        return (covariance + _offset(depth_m, result.normals)).astype(np.float32)

    def of_points(self, points: np.ndarray, nearest: np.ndarray, result: Registration, depth: np.ndarray, landmarks: Landmarks,
                  length: float) -> np.ndarray:
        """(M, 3, 3) float32, as covariance(), of a few points of the reference surface, (M, 3) metres; nearest: (M,) their vertices.

        Much less work than for all vertices: three columns of the inverse a point, by conjugate gradients, whose variances are then too
        small by less than one percent (of the inverse's quadratic forms the error is of second order).
        """
        graph, state = self._solver.graph, State(result.node_rotation, result.node_translation)
        diagonal, coupling, depth_m = self._information(state, result, depth, landmarks, length)
        jacobian = _jacobian(graph, state, points, nearest)
        spread = columns_of_inverse(graph, diagonal, coupling, jacobian)
        covariance = np.einsum("mikp,mjkp->mij", jacobian, spread)
        covariance = 0.5 * (covariance + covariance.transpose(0, 2, 1)) + _offset(depth_m, result.normals[nearest])
        return covariance.astype(np.float32)

    def _information(self, state: State, result: Registration, depth: np.ndarray, landmarks: Landmarks,
                     length: float) -> tuple[np.ndarray, np.ndarray, float]:
        """The inverse of the nodes' covariance, as blocks of nodes and edges; and the noise of the depth, metres."""
        graph = self._solver.graph
        trusted = landmarks.confidence > 0
        noise = np.minimum(landmarks.distances(state, graph)[trusted], MOST_RESIDUAL)
        landmark_m = max(np.sqrt(np.mean(noise**2) / 3) if trusted.any() else 0.0, LEAST_RESIDUAL)
        depth_m = max(np.nan_to_num(result.residual_m), LEAST_RESIDUAL)
        stretch, bend = _edge_strain(graph, self._solver.frame, state, result.visible)
        stage = Stage(iterations=1, landmark_sigma=length, depth_tukey=0.7 * length, depth_gate=1.5 * length, two_sided=True,
                      depth_weight=(DEPTH * depth_m) ** -2, landmark_weight=(LANDMARK * landmark_m) ** -2,
                      stretch=(STRETCH * max(stretch, LEAST_STRETCH) * graph.spacing) ** -2,
                      bend=(BEND * max(bend, LEAST_BEND) * graph.spacing) ** -2)
        diagonal, coupling = self._solver.information(state, depth, landmarks, stage)
        return diagonal + np.diag(FREE**-2), coupling, depth_m


def _jacobian(graph: DeformationGraph, state: State, points: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """(M, 3, K, 6): how points (M, 3) of the reference, that follow the nodes of the vertices `nearest`, move with each node's unknowns."""
    node, weight = graph.node_index[nearest], graph.weight[nearest]
    arm = np.einsum("mkij,mkj->mki", state.R[node], points[:, None] - graph.position[node])     # turning by w moves a point by w x arm
    out, at = np.zeros((len(points), 3, len(graph), 6)), np.arange(len(points))[:, None]
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        for row, column, value in ((b, a, -weight * arm[..., c]), (c, a, weight * arm[..., b]), (a, 3 + a, weight)):
            np.add.at(out[:, row, :, column], (at, node), value)
    return out


def _offset(depth_m: float, normals: np.ndarray) -> np.ndarray:
    """(N, 3, 3): by how much the reference itself is off, along its normals (N, 3)."""
    normal = normals.astype(np.float64)
    return (OFFSET * depth_m) ** 2 * normal[:, :, None] * normal[:, None, :]


def _edge_strain(graph: DeformationGraph, frame: np.ndarray, state: State, visible: np.ndarray) -> tuple[float, float]:
    """Root mean square, over the edges of the seen part, of what rigidity measures along the surface and across it, in edge lengths.

    frame: (K, 3, 3) rows normal and two tangents of the reference at each node. 0 where too little is seen.
    """
    held = node_support(graph.node_index, graph.weight, visible, len(graph)) > 0.5
    i, j = graph.edges[held[graph.edges].all(axis=1)].T
    if not len(i):
        return 0.0, 0.0
    rest = graph.position[j] - graph.position[i]
    moved = np.einsum("eji,ej->ei", state.R[i], rest + state.t[j] - state.t[i])       # turned back into the reference
    across, *along = np.einsum("eaj,ej->ae", frame[i], moved - rest) / np.linalg.norm(rest, axis=1)
    return float(np.sqrt(np.mean(np.square(along)))), float(np.sqrt(np.mean(across**2)))


@njit
def _add_product(out, left, middle, right):
    """out (3, 3) += left (3, 6) middle (6, 6) right' (6, 3). Loops: products of NumPy take ten seconds to compile here."""
    for column in range(3):
        for i in range(6):
            across = 0.0
            for j in range(6):
                across += middle[i, j] * right[column, j]
            for row in range(3):
                out[row, column] += left[row, i] * across


@njit
def _of_vertices(vertices, node_index, node_weight, pairs, R, g, own, shared):
    """(V, 3, 3): of x' = sum of w_k (R_k (x - g_k) + g_k + t_k), given the covariances of the nodes and between those of each edge."""
    out = np.zeros((len(vertices), 3, 3))
    J, part, y = np.zeros((4, 3, 6)), np.zeros((3, 3)), np.zeros(3)
    for v in range(len(vertices)):
        for k in range(4):
            n, w = node_index[v, k], node_weight[v, k]
            for row in range(3):
                y[row] = 0.0
                for axis in range(3):
                    y[row] += R[n, row, axis] * (vertices[v, axis] - g[n, axis])
            J[k, 0, 1], J[k, 0, 2] = w * y[2], -w * y[1]
            J[k, 1, 0], J[k, 1, 2] = -w * y[2], w * y[0]
            J[k, 2, 0], J[k, 2, 1] = w * y[1], -w * y[0]
            for a in range(3):
                J[k, a, 3 + a] = w
        pair = 0
        for a in range(4):
            if node_weight[v, a] > 0:
                _add_product(out[v], J[a], own[node_index[v, a]], J[a])
            for b in range(a + 1, 4):
                if pairs[v, pair] >= 0 and node_weight[v, a] > 0 and node_weight[v, b] > 0:
                    part[:] = 0
                    _add_product(part, J[a], shared[pairs[v, pair]], J[b])
                    for row in range(3):
                        for column in range(3):
                            out[v, row, column] += part[row, column] + part[column, row]
                pair += 1
    return out
