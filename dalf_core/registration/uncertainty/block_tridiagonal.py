"""The inverse of a sparse symmetric matrix where the matrix has entries: what variances of neighbours need, without the dense inverse."""
from __future__ import annotations

import numpy as np
from scipy.linalg import cho_solve

from ..graph import DeformationGraph


def inverse_blocks(diagonal: np.ndarray, coupling: np.ndarray, graph: DeformationGraph) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of the inverse of a positive definite matrix with a block for each node and each edge of a graph.

    diagonal: (K, n, n) float64, of the nodes. coupling: (E, n, n), that of an edge from node i to node j is in row i and column j.
    Returns the inverse's blocks at the same places, (K, n, n) and (E, n, n). Raises numpy.linalg.LinAlgError where the matrix is not
    positive definite.

    Neighbours have near numbers, so the nodes are cut into runs that are coupled to the next run only, and the blocks follow from the
    last run to the first (Takahashi, Fagan and Chin 1973; Erisman and Tinney 1975).
    """
    count, size = len(diagonal), diagonal.shape[1]
    first, second = graph.edges.T
    run = max(1, int(np.abs(first - second).max(initial=0)))
    starts = np.arange(0, count, run)
    runs = [slice(a, b) for a, b in zip(starts, np.minimum(starts + run, count))]
    within = [_dense(diagonal, coupling, graph, here, here) for here in runs]
    below = [_dense(diagonal, coupling, graph, after, here) for here, after in zip(runs, runs[1:])]
    at, under = _selected_inverse(within, below)

    out_diagonal, out_coupling = np.empty_like(diagonal), np.empty_like(coupling)
    for node in range(count):
        k, i = divmod(node, run)
        out_diagonal[node] = _block(at[k], i, i, size)
    for e, (i, j) in enumerate(graph.edges):
        (a, row), (b, column) = divmod(i, run), divmod(j, run)
        if a == b:
            out_coupling[e] = _block(at[a], row, column, size)
        elif a > b:
            out_coupling[e] = _block(under[b], row, column, size)
        else:
            out_coupling[e] = _block(under[a], column, row, size).T
    return out_diagonal, out_coupling


def _selected_inverse(within: list[np.ndarray], below: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The same blocks of the inverse of a block tridiagonal matrix. within: its diagonal blocks; below: those under them."""
    inverses, gains = [], []                # of each Schur complement; times the block under it
    schur = within[0]
    for k in range(len(within)):
        inverses.append(cho_solve((np.linalg.cholesky(schur), True), np.eye(len(schur))))
        if k < len(below):
            gains.append(below[k] @ inverses[k])
            schur = within[k + 1] - gains[k] @ below[k].T
    at = [inverses[-1]]
    under: list[np.ndarray] = []
    for k in reversed(range(len(below))):
        under.insert(0, -at[0] @ gains[k])
        at.insert(0, inverses[k] - gains[k].T @ under[0])
    return at, under


def _dense(diagonal: np.ndarray, coupling: np.ndarray, graph: DeformationGraph, rows: slice, columns: slice) -> np.ndarray:
    """The part of the matrix between two runs of nodes."""
    size = diagonal.shape[1]
    out = np.zeros((rows.stop - rows.start, columns.stop - columns.start, size, size))
    if rows == columns:
        same = np.arange(rows.stop - rows.start)
        out[same, same] = diagonal[rows]
    edges = slice(graph.first_edge[rows.start], graph.first_edge[rows.stop])
    i, j = graph.edges[edges].T
    here = (j >= columns.start) & (j < columns.stop)
    out[i[here] - rows.start, j[here] - columns.start] = coupling[edges][here]
    return out.transpose(0, 2, 1, 3).reshape(len(out) * size, -1)


def _block(matrix: np.ndarray, i: int, j: int, size: int) -> np.ndarray:
    return matrix[i * size:(i + 1) * size, j * size:(j + 1) * size]
