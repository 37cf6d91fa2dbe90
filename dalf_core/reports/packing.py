"""Numbers that change little from frame to frame and from vertex to vertex, as few bytes: differences both ways, their bytes sorted by
significance, deflated. page/unpack.js is the other half.
"""
from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

LEVELS = 16383              # of a coordinate along the longest side of the box: 30 micrometres of half a metre
SHADES = 254                # of a field; the number after it stands for no value
LEVEL_OF_ZLIB = 6


def quantise(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Positions (..., 3), finite, as uint16 of the same shape, with low (3,) and step in their unit: position = low + step * number.

    The longest side of the box that holds them all is divided into LEVELS steps; a coordinate is off by at most half a step.
    """
    axes = tuple(range(positions.ndim - 1))
    low, high = positions.min(axis=axes).astype(float), positions.max(axis=axes).astype(float)
    step = float((high - low).max()) / LEVELS or 1.0
    return np.rint((positions - low) / step).astype(np.uint16), low, step


def shade(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values of any shape as uint8, 0 at `low` and below, SHADES at `high` and above; SHADES + 1 where there is none (NaN)."""
    share = np.clip((np.asarray(values, float) - low) / (high - low), 0, 1)
    return np.where(np.isnan(share), SHADES + 1, np.rint(SHADES * np.nan_to_num(share))).astype(np.uint8)


def pack(series: Sequence[np.ndarray]) -> bytes:
    """Arrays (T, ..., V) of uint8 or uint16, zlib. Of each, in turn, modulo the type's range: the differences to the frame before (the
    first frame is whole), of these the differences to the vertex before, of these those below zero as odd numbers (-1 is 1, 1 is 2, -2 is
    3); then all lower bytes and, of uint16, all upper ones.
    """
    planes = []
    for values in series:
        change = _differences(_differences(np.ascontiguousarray(values), 0), -1)
        folded = np.where(change >> (8 * change.itemsize - 1), ~(change << 1), change << 1).astype(f"<u{change.itemsize}")
        planes += [folded.view(np.uint8).reshape(folded.size, -1)[:, byte].tobytes() for byte in range(folded.itemsize)]
    return zlib.compress(b"".join(planes), LEVEL_OF_ZLIB)


def _differences(values: np.ndarray, axis: int) -> np.ndarray:
    """Along an axis, the first as it is; unsigned, so they wrap around."""
    return np.diff(values, axis=axis, prepend=values.dtype.type(0))
