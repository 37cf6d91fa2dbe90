"""Extractors of the retrieval benchmark: RootSIFT in DALF's place, and a folder that keeps features between runs."""
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from dalf_core.types import Features

PARTS = ("keypoints", "scores", "descriptors", "image_size", "scales")


class Extractor(Protocol):
    """What a library asks of DALF."""

    fingerprint: str

    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        """Features of a picture within a mask."""


class Sift:
    """RootSIFT of OpenCV."""

    fingerprint = "sift"

    def __init__(self, top_k: int) -> None:
        self._sift = cv2.SIFT_create(top_k)

    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        """As DALF.extract."""
        mask = None if mask is None else mask.astype(np.uint8)
        keypoints, descriptors = self._sift.detectAndCompute(image, mask)
        order = np.argsort([-point.response for point in keypoints], kind="stable")
        if descriptors is None:
            return Features(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, 128), np.float32), image.shape[1::-1])
        root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9))
        xy = np.array([point.pt for point in keypoints], np.float32)
        scores = np.array([point.response for point in keypoints], np.float32)
        return Features(xy[order], scores[order], root[order].astype(np.float32), image.shape[1::-1])


class Kept:
    """Features by picture, mask and extractor, in a folder; without one they are extracted each time. top_k: the extractor's."""

    def __init__(self, extractor: Extractor, top_k: int, folder: Path | None) -> None:
        self.extractor, self._top_k, self._folder = extractor, top_k, folder
        if folder:
            folder.mkdir(parents=True, exist_ok=True)

    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        """As the extractor's."""
        if self._folder is None:
            return self.extractor.extract(image, mask)
        told = f"{self.extractor.fingerprint} {self._top_k} {image.shape} {mask is None}".encode()
        digest = hashlib.sha256(told + image.tobytes() + (b"" if mask is None else np.asarray(mask, bool).tobytes()))
        path = self._folder / f"{digest.hexdigest()}.npz"
        if path.is_file():
            with np.load(path) as file:
                keypoints, scores, descriptors, size, scales = (file[name] for name in PARTS)
            return Features(keypoints, scores, descriptors, (int(size[0]), int(size[1])), scales)
        features = self.extractor.extract(image, mask)
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            np.savez(file, **{name: getattr(features, name) for name in PARTS})
        unfinished.replace(path)        # a run that is stopped leaves nothing half written
        return features
