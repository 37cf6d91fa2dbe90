"""A mesh from a depth image with a neat edge, for pictures: along silhouettes such a mesh is a saw of noise and thin shreds."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, identity
from scipy.sparse.csgraph import connected_components

SMOOTHINGS = 5              # of the edge: it loses what is shorter than some three vertices
SHORT_EDGE = 16             # sides: so small holes stay as they are
LEAST_KEPT = 0.6            # of the triangles: where more would go, the whole mesh is thin


@dataclass(frozen=True)
class NeatMesh:
    """triangles: (F, 3) those to draw. smoothing: (V, V), draws the vertices along the edge together, and moves no other."""

    triangles: np.ndarray
    smoothing: csr_matrix

    @classmethod
    def of(cls, triangles: np.ndarray, count: int) -> NeatMesh:
        """triangles: (F, 3) of `count` vertices. Shreds go: what is so thin that it touches no triangle away from the edge."""
        triangles = np.asarray(triangles)
        rim = np.zeros(count, bool)
        rim[long_edges(triangles)] = True
        core = np.zeros(count, bool)
        core[triangles[~rim[triangles].any(axis=1)]] = True
        kept = triangles[core[triangles].any(axis=1)]
        if len(kept) < LEAST_KEPT * len(triangles):
            kept = triangles
        return cls(kept, _edge_smoothing(long_edges(kept), count))

    def vertices(self, vertices: np.ndarray) -> np.ndarray:
        """(V, 3) as they are to be drawn; none but those along the edge is moved."""
        return np.asarray(self.smoothing @ vertices, vertices.dtype)


def long_edges(triangles: np.ndarray) -> np.ndarray:
    """(E, 2) vertex indices of the sides that only one triangle has, but for those around small holes."""
    sides = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    if not len(sides):
        return sides
    unique, times = np.unique(sides, axis=0, return_counts=True)
    edge = unique[times == 1]
    if not len(edge):
        return edge
    count = int(triangles.max()) + 1
    _, loop = connected_components(coo_matrix((np.ones(len(edge)), edge.T), (count, count)), directed=False)
    return edge[np.bincount(loop[edge[:, 0]])[loop[edge[:, 0]]] > SHORT_EDGE]


def _edge_smoothing(edge: np.ndarray, count: int) -> csr_matrix:
    """SMOOTHINGS times: half a vertex, half the mean of its neighbours along the edge."""
    both = np.concatenate([edge, edge[:, ::-1]])
    beside = coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), (count, count)).tocsr()
    degree = np.asarray(beside.sum(axis=1)).ravel()
    on_edge = degree > 0
    rows = csr_matrix((np.where(on_edge, 0.5 / np.maximum(degree, 1), 0.0), (np.arange(count), np.arange(count))), (count, count))
    keep = csr_matrix((np.where(on_edge, 0.5, 1.0), (np.arange(count), np.arange(count))), (count, count))
    once = (keep + rows @ beside).tocsr()
    smoothing = identity(count, format="csr")
    for _ in range(SMOOTHINGS):
        smoothing = once @ smoothing
    return smoothing.tocsr()
