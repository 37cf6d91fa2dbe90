"""What comes in: images and masks are checked and brought to what the network takes."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from ..camera import is_resized, rescale_pixels
from ..sixteen_bit import equalised
from ..types import Features

MIN_SIDE = 32               # pixels; the network halves the image three times and then loses a border


def to_gray(image: np.ndarray) -> np.ndarray:
    """Checks an image and returns it as HxW float32 in 0 to 1: the plain mean of the colours, as the network was trained.

    uint8 is divided by 255. uint16, of which sensors often fill a small part, is equalised (see sixteen_bit).
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
        gray = equalised(gray)
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
    """(H, W) bool, where keypoints may lie. A mask of another resolution is resized, to the nearest pixel.

    ValueError: no array with one value a pixel, or of another aspect ratio than the image.
    """
    height, width = shape
    if not isinstance(mask, np.ndarray) or mask.ndim not in (2, 3) or mask.size != mask.shape[0] * mask.shape[1] or not mask.size:
        raise ValueError(f"mask must be a HxW array like the image, not {getattr(mask, 'shape', type(mask).__name__)}")
    rows, columns = mask.shape[:2]
    allowed = mask.reshape(rows, columns) != 0
    if (rows, columns) == (height, width):
        return allowed
    if not is_resized((columns, rows), (width, height)):
        raise ValueError(f"mask is {columns}x{rows} but the image {width}x{height}: they must be of one view, with the same aspect ratio")
    return cv2.resize(allowed.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT) != 0


def extract_scaled(extract: Callable[..., Features], image: np.ndarray, mask: np.ndarray | None, image_scale: float) -> Features:
    """What extract(image, mask) finds in an image resized by image_scale, in pixels of the image."""
    if image_scale == 1.0:
        return extract(image, mask)
    height, width = image.shape[:2]
    size = max(1, round(width * image_scale)), max(1, round(height * image_scale))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if image_scale < 1 else cv2.INTER_CUBIC)
    if mask is not None:
        mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
    features = extract(scaled, mask)
    return replace(features, keypoints=rescale_pixels(features.keypoints, size, (width, height)), image_size=(width, height))
