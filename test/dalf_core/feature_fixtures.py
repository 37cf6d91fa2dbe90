"""Pictures and warps that the feature tests share. No test data needed."""
from __future__ import annotations

import cv2
import numpy as np

from dalf_core.types import Features, Matches


def textured(width: int = 320, height: int = 240, seed: int = 0) -> np.ndarray:
    """HxWx3 uint8: blobs and polygons of many sizes, something to find everywhere."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 120, np.uint8)
    for _ in range(width * height // 400):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        color = tuple(int(c) for c in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            cv2.circle(image, centre, int(rng.integers(2, 9)), color, -1, cv2.LINE_AA)
        else:
            corners = np.array(centre) + rng.integers(-12, 13, (4, 2))
            cv2.fillConvexPoly(image, cv2.convexHull(corners.astype(np.int32)), color, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), 0.8)


def bent(points: np.ndarray, size: float, amount: float = 0.05) -> np.ndarray:
    """A smooth non-rigid map with a turn: points (N, 2) in an image about `size` wide."""
    x, y = points[:, 0] / size, points[:, 1] / size
    wave = np.stack([np.sin(5 * y + 1) + 0.5 * np.sin(7 * x), np.cos(6 * x) - 0.4 * np.cos(4 * y + 2)], axis=1) * amount * size
    turn = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    return (points + wave) @ turn.T + 0.2 * size


def synthetic_matches(count: int, outliers: float, size: float = 640.0, noise: float = 0.6, seed: int = 0
                      ) -> tuple[Features, Features, Matches, np.ndarray]:
    """Features and matches under the bend, a part of them uniformly wrong; and which are true (M,)."""
    rng = np.random.default_rng(seed)
    source = rng.uniform(0, size, (count, 2))
    target = bent(source, size) + rng.normal(0, noise * size / 640, (count, 2))
    true = rng.random(count) >= outliers
    low, high = bent(np.zeros((1, 2)), size)[0] - size / 2, bent(np.full((1, 2), size), size)[0] + size / 2
    target[~true] = rng.uniform(low, high, (int((~true).sum()), 2))
    true |= np.linalg.norm(target - bent(source, size), axis=1) < 3 * noise * size / 640
    return as_features(source, size), as_features(target, size), identity_matches(count), true


def as_features(xy: np.ndarray, size: float = 640.0) -> Features:
    return Features(xy.astype(np.float32), np.ones(len(xy), np.float32), np.zeros((len(xy), 128), np.float32), (int(size), int(size)))


def identity_matches(count: int) -> Matches:
    index = np.arange(count)
    return Matches(index, index, np.zeros(count, np.float32), np.ones(count, bool))
