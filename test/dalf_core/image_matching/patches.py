"""A plain extractor, corners and the patches around them: like DALF it stands some turn and zoom, so that a second look pays."""
from __future__ import annotations

import cv2
import numpy as np

from dalf_core.types import Features

SIZE = (320, 240)
HALF = 9                    # pixels, of a patch


class PatchExtractor:
    """What match_images asks of DALF. `asked` keeps the pictures that were looked at."""

    def __init__(self) -> None:
        self.asked: list[np.ndarray] = []

    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        self.asked.append(image)
        if np.ptp(image) == 0:
            raise ValueError("image is constant")
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
        found = cv2.goodFeaturesToTrack(gray, 500, 0.005, 4, mask=None if mask is None else mask.astype(np.uint8))
        xy = cv2.cornerSubPix(gray, found, (3, 3), (-1, -1), (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 20, 0.01))[:, 0]
        smooth = cv2.GaussianBlur(gray, (0, 0), 1.0)
        patches = np.stack([cv2.getRectSubPix(smooth, (2 * HALF + 1, 2 * HALF + 1), (float(x), float(y))) for x, y in xy])
        flat = patches.reshape(len(xy), -1).astype(np.float32)
        flat -= flat.mean(axis=1, keepdims=True)
        flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
        return Features(xy.astype(np.float32), np.ones(len(xy), np.float32), flat, (gray.shape[1], gray.shape[0]))


def turned(image: np.ndarray, degrees: float, wave: float = 3.0) -> tuple[np.ndarray, object]:
    """The image turned about its middle and bent by waves, and the map from its pixels back to the image's, exact."""
    height, width = image.shape[:2]
    middle = np.array([width - 1, height - 1]) / 2
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])

    def back(xy: np.ndarray) -> np.ndarray:
        straight = (np.asarray(xy, float) - middle) @ turn.T + middle
        return straight + wave * np.stack([np.sin(straight[:, 1] / 40), np.cos(straight[:, 0] / 35)], axis=1)

    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2)
    grid = back(pixels).reshape(height, width, 2).astype(np.float32)
    return cv2.remap(image, grid, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), back
