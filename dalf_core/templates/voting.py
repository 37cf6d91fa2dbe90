"""Which templates have descriptors like an image's: each of its descriptors votes for the templates of its nearest neighbours."""
from __future__ import annotations

from typing import Any

import numpy as np

NEIGHBOURS = 10             # nearest descriptors that may vote; the last one's distance is that of the background
EXACT_BELOW = 20_000        # descriptors; more are searched in lists (an inverted file), of which those around the query are looked at
LISTS_LOOKED_AT = 16
TRAINING_A_LIST = 40        # descriptors from which the centre of a list is learnt


class DescriptorIndex:
    """Descriptors of many templates, searched by FAISS.

    The votes are those of Local Naive Bayes Nearest Neighbour (McCann and Lowe, CVPR 2012): a descriptor at distance d from the nearest one
    of a template votes for it by D^2 - d^2, where D is the distance of its NEIGHBOURS-th neighbour, of whichever template.
    """

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._owner: np.ndarray = np.zeros(0, np.int64)
        self._waiting: list[np.ndarray] = []        # not in the index yet
        self._index: Any = None

    def add(self, number: int, descriptors: np.ndarray) -> None:
        """The descriptors (N, D) of template `number`."""
        if descriptors.ndim != 2 or descriptors.shape[1] != self._dimensions:
            raise ValueError(f"descriptors of shape {descriptors.shape} do not fit an index of {self._dimensions} dimensions")
        self._owner = np.concatenate([self._owner, np.full(len(descriptors), number, np.int64)])
        self._waiting.append(np.ascontiguousarray(descriptors, np.float32))

    def votes(self, descriptors: np.ndarray, templates: int) -> np.ndarray:
        """(templates,) float64, how much the descriptors (N, D) of an image speak for each template."""
        total = np.zeros(templates)
        count = min(NEIGHBOURS, len(self._owner))
        if count < 2 or len(descriptors) == 0:
            return total
        self._fill()
        squared, row = self._index.search(np.ascontiguousarray(descriptors, np.float32), count)
        owner = np.where(row < 0, -1, self._owner[row])        # an inverted file may find fewer
        found = np.where(row < 0, -np.inf, squared)
        weight = np.maximum(found.max(axis=1, keepdims=True) - np.where(row < 0, np.inf, squared), 0.0)
        for k in range(count):
            first = (owner[:, k] >= 0) & ~(owner[:, :k] == owner[:, k:k + 1]).any(axis=1)
            np.add.at(total, owner[first, k], weight[first, k])
        return total

    def _fill(self) -> None:
        """Put what waits into the index; where it has doubled, its lists are learnt anew."""
        import faiss

        if not self._waiting and self._index is not None:
            return
        kept = [] if self._index is None else [self._index.reconstruct_n(0, self._index.ntotal)]
        if self._index is not None and self._index.ntotal >= len(self._owner) / 2 and not isinstance(self._index, faiss.IndexFlat):
            self._index.add(np.concatenate(self._waiting))
            self._waiting = []
            return
        everything = np.concatenate([*kept, *self._waiting])
        self._waiting = []
        if len(everything) < EXACT_BELOW:
            self._index = faiss.IndexFlatL2(self._dimensions)
        else:
            lists = int(2 * np.sqrt(len(everything)))
            self._centres = faiss.IndexFlatL2(self._dimensions)     # the index refers to it
            self._index = faiss.IndexIVFFlat(self._centres, self._dimensions, lists)
            self._index.cp.seed, self._index.cp.max_points_per_centroid = 0, TRAINING_A_LIST
            self._index.nprobe = LISTS_LOOKED_AT
            self._index.train(everything)
            self._index.make_direct_map()
        self._index.add(everything)
