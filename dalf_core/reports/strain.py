"""How much a surface is stretched at its vertices."""
from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix


class VertexStrain:
    """Engineering strain of the edges at a vertex, their mean: length / length in the reference - 1. Positive where the surface is
    stretched, negative where it is pressed together; 0.01 is 1 %.

    triangles: (F, 3) vertex indices. reference: (V, 3) the undeformed surface, any unit.
    """

    def __init__(self, triangles: np.ndarray, reference: np.ndarray) -> None:
        triangles = np.asarray(triangles, np.int64).reshape(-1, 3)
        edges = np.unique(np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
        length = np.linalg.norm(reference[edges[:, 0]] - reference[edges[:, 1]], axis=1)
        self._edges, self._length = edges[length > 0], length[length > 0]
        ends, number = self._edges.T.reshape(-1), np.tile(np.arange(len(self._edges)), 2)
        touches = csr_matrix((np.ones(len(ends)), (ends, number)), shape=(len(reference), len(self._edges)))
        count = np.asarray(touches.sum(axis=1)).reshape(-1)
        self._lonely = count == 0
        self._mean = csr_matrix(touches.multiply(1 / np.maximum(count, 1)[:, None]))

    def of(self, vertices: np.ndarray) -> np.ndarray:
        """(V,) strain of the deformed surface, vertices (V, 3) in the reference's unit; NaN at a vertex without edges."""
        length = np.linalg.norm(vertices[self._edges[:, 0]] - vertices[self._edges[:, 1]], axis=1)
        strain = self._mean @ (length / self._length - 1)
        strain[self._lonely] = np.nan
        return strain
