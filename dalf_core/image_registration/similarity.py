"""How alike two pictures of the same size are, whatever the light: zero-mean normalised cross-correlation (ZNCC)."""
from __future__ import annotations

import cv2
import numpy as np

WINDOW = 7.0            # pixels, standard deviation of the Gaussian window: a patch of about 30 pixels
LEAST_CONTRAST = 2.0    # grey levels, standard deviation: plain patches are alike in nothing but noise


def local_zncc(first: np.ndarray, second: np.ndarray, mask: np.ndarray | None = None, window: float = WINDOW) -> np.ndarray:
    """(H, W) float32, the correlation of the two pictures around every pixel: 1 alike, 0 unrelated, -1 inverted.

    first, second: HxW, 0 to 255. mask: (H, W) bool, the pixels that count, all by default; far from them the result is 0.
    window: pixels, standard deviation of the Gaussian window. ValueError: sizes that differ.
    """
    if first.shape != second.shape or first.ndim != 2 or (mask is not None and mask.shape != first.shape):
        raise ValueError(f"the pictures must be HxW, and the mask like them, not {first.shape}, {second.shape}, "
                         f"{getattr(mask, 'shape', None)}")
    weight = np.ones(first.shape, np.float32) if mask is None else mask.astype(np.float32)
    total = np.maximum(_blurred(weight, window), 1e-3)
    a, b = first.astype(np.float32), second.astype(np.float32)

    def mean(values: np.ndarray) -> np.ndarray:
        return _blurred(values * weight, window) / total

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a ** 2, mean(b * b) - mean_b ** 2
    floor = LEAST_CONTRAST ** 2
    return (mean(a * b) - mean_a * mean_b) / np.sqrt(np.maximum(variance_a, floor) * np.maximum(variance_b, floor))


def _blurred(values: np.ndarray, window: float) -> np.ndarray:
    return cv2.GaussianBlur(values, (0, 0), window, borderType=cv2.BORDER_CONSTANT)
