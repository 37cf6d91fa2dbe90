"""The normal equations of the deformation energy: block-sparse storage, and conjugate gradients on it.

A node has 6 unknowns (see energy.py). Blocks are stored for the nodes and for the graph's directed edges, sorted by their first node
(compressed sparse rows); no term couples other pairs. Rows of 6 are padded to 8, so that one is one vector register:
    diagonal[i, p, q] = H[6i + q, 6i + p],   coupling[e, p, q] = H[6i + q, 6j + p]   for edge e from node i to j.
While rows are added, an edge's block and the transposed block of its reverse are parts of one sum; `symmetrise` completes both.
"""
from __future__ import annotations

import numpy as np

from ..compiled import REORDERED, njit
from .graph import DeformationGraph
from .simd import PADDED, add_outer, add_product

TOLERANCE = 3e-3        # of the residual against that of a zero step: the step is then off by a few percent, as is the quadratic model
MAX_ITERATIONS = 200
INVERSE_TOLERANCE = 0.02        # for columns of the inverse


class NormalEquations:
    """H x = rhs for one graph. rhs: (K, 6) float64; diagonal (K, 6, 8) and coupling (E, 6, 8) float32, see above."""

    def __init__(self, graph: DeformationGraph) -> None:
        self._graph = graph
        self.diagonal = np.zeros((len(graph), 6, PADDED), np.float32)
        self.coupling = np.zeros((len(graph.edges), 6, PADDED), np.float32)
        self.rhs = np.zeros((len(graph), 6))

    def clear(self) -> None:
        self.diagonal.fill(0.0)
        self.coupling.fill(0.0)
        self.rhs.fill(0.0)

    def symmetrise(self) -> None:
        """To be called once, when all rows are added."""
        _symmetrise(self.coupling, self._graph.reverse)

    def solve(self, damping: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray | None:
        """x (K, 6) float64 of (H + diag(damping)) x = rhs, by conjugate gradients; None when that matrix is not positive definite.

        damping: (6,) added to each node's diagonal.
        """
        x, solved, _ = conjugate_gradients(self._graph.first_edge, self._graph.edges, self.diagonal, self.coupling, self.rhs,
                                           damping, tolerance, MAX_ITERATIONS)
        return x if solved and np.isfinite(x).all() else None


def columns_of_inverse(graph: DeformationGraph, diagonal: np.ndarray, coupling: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of a positive definite matrix with blocks for the nodes, (K, 6, 6), and for the edges, (E, 6, 6): its inverse times `right`.

    right: (..., K, 6) float64, as what is returned. By conjugate gradients, to INVERSE_TOLERANCE. Raises numpy.linalg.LinAlgError
    where the matrix is not positive definite.
    """
    packed = [np.zeros((len(blocks), 6, PADDED), np.float32) for blocks in (diagonal, coupling)]
    for room, blocks in zip(packed, (diagonal, coupling)):
        room[:, :, :6] = blocks.transpose(0, 2, 1)
    out = np.empty_like(right)
    for place in np.ndindex(right.shape[:-2]):
        out[place], solved, _ = conjugate_gradients(graph.first_edge, graph.edges, *packed, right[place], np.zeros(6), INVERSE_TOLERANCE,
                                                    MAX_ITERATIONS)
        if not solved:
            raise np.linalg.LinAlgError("the information of the nodes is not positive definite")
    return out


@njit(fastmath=REORDERED, inline="always")
def add_row(diagonal, coupling, rhs, nodes, weights, pairs, row, residual, importance):
    """Add importance * (J^T J, -J^T r) of one residual that depends on four nodes.

    row[k, :6] is d r / d (omega, tau) of node k before its weight, row[k, 6:] = 0. pairs: the edges between the nodes, see graph.pairs.
    """
    pair = 0
    for a in range(4):
        scale = importance * weights[a]
        if scale == 0.0:
            pair += 3 - a
            continue
        n = nodes[a]
        for i in range(6):
            rhs[n, i] -= scale * residual * row[a, i]
        add_outer(diagonal[n], row[a], row[a], np.float32(scale * weights[a]))
        for b in range(a + 1, 4):
            if pairs[pair] >= 0:
                add_outer(coupling[pairs[pair]], row[b], row[a], np.float32(scale * weights[b]))
            pair += 1


@njit
def _symmetrise(coupling, reverse):
    for e in range(len(coupling)):
        r = reverse[e]
        if e < r:
            for p in range(6):
                for q in range(6):
                    value = coupling[e, p, q] + coupling[r, q, p]
                    coupling[e, p, q] = value
                    coupling[r, q, p] = value


@njit(fastmath=REORDERED)
def conjugate_gradients(first_edge, edges, diagonal, coupling, rhs, damping, tolerance, max_iterations):
    """Block-Jacobi preconditioned conjugate gradients (Golub & Van Loan, Matrix Computations, 11.5) from zero.

    Stops at a residual of `tolerance` times the first one, both measured in the norm of the preconditioner.
    Returns (x (K, 6) float64, whether the matrix behaved as a positive definite one, iterations).
    """
    damped, inverse = diagonal.copy(), np.zeros_like(diagonal)
    positive = _damp_and_invert(damped, inverse, damping)
    x = np.zeros((len(diagonal), PADDED), np.float32)
    r, z, Hp = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    r[:, :6] = rhs
    _multiply_blocks(inverse, r, z)
    p = z.copy()
    rz = first = _dot(r, z)
    iterations = 0
    while positive and iterations < max_iterations and rz > tolerance * tolerance * first:
        _multiply_blocks(damped, p, Hp)
        _add_coupling(first_edge, edges, coupling, p, Hp)
        curvature = _dot(p, Hp)
        if not curvature > 0.0:
            positive = False
            break
        _add_scaled(x, rz / curvature, p)
        _add_scaled(r, -rz / curvature, Hp)
        _multiply_blocks(inverse, r, z)
        before, rz = rz, _dot(r, z)
        _add_scaled(z, rz / before, p)
        p, z = z, p
        iterations += 1
    return x[:, :6].astype(np.float64), positive, iterations


@njit(fastmath=REORDERED)
def _multiply_blocks(blocks, x, out):
    out[:] = 0.0
    for i in range(len(blocks)):
        add_product(blocks[i], x[i], out[i])


@njit(fastmath=REORDERED)
def _add_coupling(first_edge, edges, coupling, x, out):
    for i in range(len(out)):
        for e in range(first_edge[i], first_edge[i + 1]):
            add_product(coupling[e], x[edges[e, 1]], out[i])


@njit(fastmath=REORDERED)
def _dot(a, b):
    a, b = a.ravel(), b.ravel()
    total = np.float32(0.0)
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@njit(fastmath=REORDERED)
def _add_scaled(a, scale, b):
    """a += scale b"""
    a, b, scale = a.ravel(), b.ravel(), np.float32(scale)
    for k in range(len(a)):
        a[k] += scale * b[k]


@njit(fastmath=REORDERED)
def _damp_and_invert(diagonal, inverse, damping):
    """Damp the blocks in place; their inverses by Gauss-Jordan. False when a block is not positive definite."""
    work = np.empty((6, 6))
    for i in range(len(diagonal)):
        for p in range(6):
            for q in range(6):
                work[p, q] = diagonal[i, p, q]
            work[p, p] += damping[p]
            diagonal[i, p, p] = work[p, p]
        for k in range(6):
            pivot = work[k, k]
            if not pivot > 0.0:
                return False
            work[k, k] = 1.0
            for q in range(6):
                work[k, q] /= pivot
            for p in range(6):
                if p != k:
                    factor = work[p, k]
                    work[p, k] = 0.0
                    for q in range(6):
                        work[p, q] -= factor * work[k, q]
        inverse[i, :, :6] = work
    return True
