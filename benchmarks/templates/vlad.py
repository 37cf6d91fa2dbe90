"""A library by global descriptors: VLAD of each picture's local ones, a baseline for the votes."""
from __future__ import annotations

import numpy as np
from retrieval_extractors import Extractor

from dalf_core.templates.library import Library
from dalf_core.types import Features

WORDS = 64


def learn_words(descriptors: np.ndarray, words: int = WORDS) -> np.ndarray:
    """(words, D) float32 centres of descriptors (N, D), by FAISS's k-means; the same each time. ValueError: fewer than words."""
    import faiss

    if len(descriptors) < words:
        raise ValueError(f"{len(descriptors)} descriptors are too few for {words} visual words: vlad learns them from photos (--photos) of "
                         "collections that no library holds anything of; give more photos, or leave vlad out of --rows")
    means = faiss.Kmeans(descriptors.shape[1], words, niter=25, seed=0)
    means.train(np.ascontiguousarray(descriptors, np.float32))
    return means.centroids


def encode(descriptors: np.ndarray, words: np.ndarray) -> np.ndarray:
    """(words * D,) float32 of unit length: VLAD with each word's residuals normalised (Arandjelović and Zisserman, CVPR 2013)."""
    import faiss

    sums = np.zeros(words.shape, np.float32)
    if len(descriptors):
        descriptors = np.ascontiguousarray(descriptors, np.float32)
        nearest = faiss.knn(descriptors, words, 1)[1][:, 0]
        np.add.at(sums, nearest, descriptors - words[nearest])
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return (sums / max(float(np.linalg.norm(sums)), 1e-12)).ravel()


class VladLibrary(Library):
    """A library whose shortlist is made of the templates with the most alike VLAD; what follows is the same."""

    def __init__(self, dalf: Extractor, words: np.ndarray) -> None:
        self._words = words
        super().__init__(dalf)      # type: ignore[arg-type]

    def _clear(self) -> None:
        import faiss

        super()._clear()
        self._alike = faiss.IndexFlatIP(self._words.size)

    def _learn(self, number: int, features: Features) -> None:
        assert number == self._alike.ntotal
        self._alike.add(encode(features.descriptors, self._words)[None])

    def scores(self, features: Features) -> np.ndarray:
        """(templates,) float64, the inner product of the picture's VLAD with each template's."""
        count = self._alike.ntotal
        found, row = self._alike.search(encode(features.descriptors, self._words)[None], count)
        scores = np.zeros(count)
        scores[row[0]] = found[0]
        return scores
