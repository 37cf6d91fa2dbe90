"""What comes in: images and masks are checked and brought to what the network takes."""
from __future__ import annotations

import cv2
import numpy as np

from ..sixteen_bit import stretched

MIN_SIDE = 32               # pixels; the network halves the image three times and then loses a border


def to_gray(image: np.ndarray) -> np.ndarray:
    """Checks an image and returns it as HxW float32 in 0 to 1: the plain mean of the colours, as the network was trained.

    uint8 is divided by 255. uint16, of which sensors often fill a small part, is stretched (see sixteen_bit).
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(f"image must be a NumPy array, not {type(image).__name__}; could the file be read?")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise ValueError(f"image must be HxW, HxWx3 (BGR) or HxWx4 (BGRA), not of shape {image.shape}")
    if image.dtype not in (np.uint8, np.uint16) and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"image must be uint8, uint16 or float in 0 to 1, not {image.dtype}")
    if min(image.shape[:2]) < MIN_SIDE:
        raise ValueError(f"image must be at least {MIN_SIDE}x{MIN_SIDE} pixels, not {image.shape[1]}x{image.shape[0]}")
    gray = _channel_mean(image)
    if image.dtype == np.uint8:
        gray /= 255.0
    elif image.dtype == np.uint16:
        gray = stretched(gray)
    low, high = float(gray.min()), float(gray.max())
    if not np.isfinite(low + high):
        raise ValueError("image holds NaN or infinity")
    if low < 0 or high > 1 + 1e-6:
        raise ValueError(f"a float image must lie in 0 to 1, this one spans {low:g} to {high:g}")
    if low == high:
        raise ValueError("image is constant: there is nothing to find; is the lens covered?")
    return gray


def _channel_mean(image: np.ndarray) -> np.ndarray:
    """HxW float32, a new array."""
    if image.ndim == 2:
        return image.astype(np.float32)
    if image.dtype in (np.uint8, np.uint16):
        image = np.ascontiguousarray(image)
        weights = np.full((1, image.shape[2]), 1 / 3, np.float32)
        weights[0, 3:] = 0
        return cv2.transform(image.astype(np.float32), weights)
    return image[:, :, :3].mean(axis=2, dtype=np.float64).astype(np.float32)


def check_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool, where keypoints may lie. ValueError: not of the image's shape."""
    if not isinstance(mask, np.ndarray) or mask.shape[:2] != tuple(shape) or mask.size != shape[0] * shape[1]:
        raise ValueError(f"mask must be a {shape[0]}x{shape[1]} array like the image, not {getattr(mask, 'shape', type(mask).__name__)}")
    return mask.reshape(shape) != 0
