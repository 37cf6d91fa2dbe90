"""How sure the place of each vertex is: its covariance, from the normal equations at the solution.

A surface that has a picture on it is held by landmarks; a plain one may slide along itself unseen, and a hidden part may be anywhere that
its bending allows. So what depth, landmarks and rigidity say of each node is weighed by how well they fit in this very frame: depth by its
residual, landmarks by theirs, and rigidity by how far the seen part has strained and bent, as that tells what the hidden part may have
done. The inverse of the matrix that they make up is the nodes' covariance, and the vertices' follows by their skinning weights. Along the
surface it is then scaled from place to place by how well landmarks fit there, and how far it is strained (Fit.along): with one noise for
all, well-held places would get a share of the error of those where matches drift.

The factors were fitted (by the likelihood of Student's t with 4 degrees of freedom) to the true errors of simulated recordings of other
cloths than the demo's and of tasks of benchmarks/bending_sheet.py, none of which the published calibration is measured on. True errors
have longer tails than a normal distribution, so the factors are a little larger than that fit: of those errors one standard deviation
holds 69 to 76 %, two hold 91 to 96 %.
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
from .block_tridiagonal import inverse_blocks
from .fit import LEAST_RESIDUAL, Fit

DEPTH, LANDMARK, STRETCH, BEND = 1.56, 0.6, 17.0, 130.0    # standard deviations, in units of what is measured in the frame
OFFSET = 0.72                   # residuals of depth by which the reference itself is off, along its normal
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
        diagonal, coupling, depth_m, along = self._information(state, result, depth, landmarks, length)
        own, shared = inverse_blocks(diagonal, coupling, graph)
        covariance = _of_vertices(self._solver.vertices, graph.node_index, graph.weight, graph.pairs, np.ascontiguousarray(state.R),
                                  graph.position, np.ascontiguousarray(own), np.ascontiguousarray(shared))
        covariance = _scaled(covariance, result.normals, _at(graph, along))
        return (covariance + _offset(depth_m, result.normals)).astype(np.float32)

    def of_points(self, points: np.ndarray, nearest: np.ndarray, result: Registration, depth: np.ndarray, landmarks: Landmarks,
                  length: float) -> np.ndarray:
        """(M, 3, 3) float32, as covariance(), of a few points of the reference surface, (M, 3) metres; nearest: (M,) their vertices.

        Much less work than for all vertices: three columns of the inverse a point, by conjugate gradients, whose variances are then too
        small by less than one percent (of the inverse's quadratic forms the error is of second order).
        """
        graph, state = self._solver.graph, State(result.node_rotation, result.node_translation)
        diagonal, coupling, depth_m, along = self._information(state, result, depth, landmarks, length)
        jacobian = _jacobian(graph, state, points, nearest)
        spread = columns_of_inverse(graph, diagonal, coupling, jacobian)
        covariance = np.einsum("mikp,mjkp->mij", jacobian, spread)
        covariance = _scaled(0.5 * (covariance + covariance.transpose(0, 2, 1)), result.normals[nearest], _at(graph, along)[nearest])
        return (covariance + _offset(depth_m, result.normals[nearest])).astype(np.float32)

    def _information(self, state: State, result: Registration, depth: np.ndarray, landmarks: Landmarks,
                     length: float) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
        """The inverse of the nodes' covariance, as blocks of nodes and edges; the noise of the depth, metres; Fit.along."""
        graph = self._solver.graph
        fit = Fit.of(graph, self._solver.frame, state, result.visible, landmarks)
        depth_m = max(np.nan_to_num(result.residual_m), LEAST_RESIDUAL)
        stage = Stage(iterations=1, landmark_sigma=length, depth_tukey=0.7 * length, depth_gate=1.5 * length, two_sided=True,
                      depth_weight=(DEPTH * depth_m) ** -2, landmark_weight=(LANDMARK * fit.landmark_m) ** -2,
                      stretch=(STRETCH * fit.stretch * graph.spacing) ** -2,
                      bend=(BEND * fit.bend * graph.spacing) ** -2)
        diagonal, coupling = self._solver.information(state, depth, landmarks, stage)
        return diagonal + np.diag(FREE**-2), coupling, depth_m, fit.along


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


def _at(graph: DeformationGraph, nodes: np.ndarray) -> np.ndarray:
    """(V,) of values (K,) of the nodes."""
    return (graph.weight * nodes[graph.node_index]).sum(axis=1)


def _scaled(covariance: np.ndarray, normals: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Covariances (N, 3, 3) with standard deviations `along` (N,) times as large along the surface, whose normals are (N, 3)."""
    normal = normals.astype(np.float64)
    scale = along[:, None, None] * np.eye(3) + (1 - along)[:, None, None] * normal[:, :, None] * normal[:, None, :]
    return scale @ covariance @ scale


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
