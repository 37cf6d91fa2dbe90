"""16-bit images, of whose range sensors often fill a small part: stretched to be looked at, by the network or by people."""
from __future__ import annotations

import logging
from functools import cache

import numpy as np

STRETCHED = (0.1, 99.9)     # percentiles of an image's values that become black and white: a few hot or dead pixels do not count

log = logging.getLogger(__name__)


def stretched(values: np.ndarray) -> np.ndarray:
    """float32 in 0 to 1: the values between two of their percentiles; where these are equal, between the lowest and the highest."""
    _tell()
    low, high = (float(value) for value in np.percentile(values, STRETCHED))
    if low == high:
        low, high = float(values.min()), float(values.max())
    return np.clip((values.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0, 1)


def to_eight_bit(image: np.ndarray) -> np.ndarray:
    """An image as DALF takes it, as uint8 for pictures: uint16 stretched, float in 0 to 1 times 255; uint8 as it is."""
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return np.rint(255 * stretched(image)).astype(np.uint8)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


@cache
def _tell() -> None:
    """Once in a process."""
    log.warning("16-bit images are stretched, each by itself: their percentiles %g and %g become black and white", *STRETCHED)
