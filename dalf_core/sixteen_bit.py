"""16-bit images, of whose range sensors often fill a small part: equalised to be looked at, by the network or by people."""
from __future__ import annotations

import logging
from functools import cache

import numpy as np

PLATEAU = 0.0005        # of the pixels: a value that more of them have counts no more than that
VALUES = 1 << 16

log = logging.getLogger(__name__)


def equalised(values: np.ndarray) -> np.ndarray:
    """float32 in 0 to 1, of values in 0 to 65535: plateau equalisation, as thermal cameras make their pictures.

    The order of values is kept. A range gets as much of 0 to 1 as it has pixels, those over PLATEAU of one value not counted: what no pixel
    has takes nothing, and neither a hot object, however hot, nor a cold sky leaves the rest without contrast.
    """
    _tell()
    counts = np.bincount(np.rint(values).astype(np.int64).reshape(-1), minlength=VALUES)
    order = np.cumsum(np.minimum(counts, PLATEAU * values.size))
    used = np.flatnonzero(counts)
    low, high = order[used[0]], order[used[-1]]
    table = ((order - low) / (high - low) if high > low else np.zeros(VALUES)).clip(0, 1).astype(np.float32)
    if values.dtype == np.uint16:
        return table[values]
    return np.interp(values, np.arange(VALUES), table).astype(np.float32)


def to_eight_bit(image: np.ndarray) -> np.ndarray:
    """An image as DALF takes it, as uint8 for pictures: uint16 equalised, float in 0 to 1 times 255; uint8 as it is."""
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return np.rint(255 * equalised(image)).astype(np.uint8)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


@cache
def _tell() -> None:
    """Once in a process."""
    log.warning("16-bit images are equalised, each by itself: ranges of values that few pixels have are narrowed")
