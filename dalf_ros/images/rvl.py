"""RVL, the lossless code for depth images of Wilson, "Fast Lossless Depth Image Compression", ISS 2017: its decoder.

A stream of whole numbers in groups of four bits, three of the number (lowest first) and one that says whether more follow, the
groups packed from the top into little-endian 32-bit words. It tells in turn: how many zeros come, how many other pixels come, and for
each of these how far it differs from the last one that was not zero (0, -1, 1, -2, ... as 0, 1, 2, 3, ...).
"""
from __future__ import annotations

import numpy as np

from dalf_core.compiled import njit
from dalf_core.files.picture_file import MOST_PIXELS


class RvlError(ValueError):
    """Bytes that are no RVL of an image of the given size."""


def decode(data: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) uint16 of the coded bytes (N,) uint8. Raises RvlError when they do not give exactly that many pixels."""
    if not 0 < width * height <= MOST_PIXELS:
        raise RvlError(f"has {width}x{height} pixels by its header, and at most {MOST_PIXELS / 1e6:.0f} million are decoded")
    words = np.frombuffer(data[: data.size // 4 * 4].tobytes(), "<u4").astype(np.uint32)
    out = np.zeros(width * height, np.uint16)
    if not _decode(words, out):
        raise RvlError(f"ends before, or goes on after, the last of {width}x{height} pixels")
    return out.reshape(height, width)


@njit
def _number(words, at):
    """The number that begins at group `at`, and the group after it; -1 beyond the end."""
    value, shift = 0, 0
    while at < 8 * len(words) and shift < 32:
        group = (np.int64(words[at >> 3]) >> (28 - 4 * (at & 7))) & 15
        at += 1
        value |= (group & 7) << shift
        shift += 3
        if group < 8:
            return value, at
    return -1, at


@njit
def _decode(words, out):
    at, pixel, last = 0, 0, 0
    while pixel < len(out):
        zeros, at = _number(words, at)
        others, at = _number(words, at)
        if zeros < 0 or others < 0 or pixel + zeros + others > len(out) or (zeros == 0 and others == 0):
            return False
        pixel += zeros
        for _ in range(others):
            code, at = _number(words, at)
            if code < 0:
                return False
            last += -((code + 1) >> 1) if code & 1 else code >> 1
            out[pixel] = last & 0xFFFF
            pixel += 1
    return True
