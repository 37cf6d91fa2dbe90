"""Sampling of small patches through affine maps, from images packed for it."""
from __future__ import annotations

import numpy as np

from ..compiled import njit

HALF = 8                    # a patch reaches so many pixels to each side of its centre
SIDE = 2 * HALF + 1
SIZE = SIDE * SIDE
LEAST_CONTRAST = 2.0        # grey values, standard deviation of a patch that can be aligned
_BYTE = np.uint32(255)


@njit
def packed(image: np.ndarray) -> np.ndarray:
    """Of an image (H, W) uint8 each pixel with those right of, below and beside both, in the four bytes of a uint32 (H, W).

    Bilinear interpolation reads one number instead of four. The last row and column have no such neighbours: they are 0.
    """
    height, width = image.shape
    out = np.zeros((height, width), np.uint32)
    for y in range(height - 1):
        for x in range(width - 1):
            top = np.uint32(image[y, x]) | (np.uint32(image[y, x + 1]) << np.uint32(8))
            low = np.uint32(image[y + 1, x]) | (np.uint32(image[y + 1, x + 1]) << np.uint32(8))
            out[y, x] = top | (low << np.uint32(16))
    return out


@njit
def sampling_room():
    """What sample() works in: of each pixel of a patch its place in the packed image, how far beyond it, and what is there."""
    return np.empty(SIZE, np.int32), np.empty(SIZE, np.float32), np.empty(SIZE, np.float32), np.empty(SIZE, np.uint32)


@njit(fastmath={"reassoc", "contract", "arcp"})
def sample(four, x, y, a, room, out):
    """The patch around (x, y) through the affine `a`, of zero mean and unit contrast; its contrast, or 0 where it cannot be had.

    four: (H, W) uint32, packed(). out: (SIZE,) float32 receives the patch. In three passes, since only the second, which reads from
    anywhere, cannot be vectorised.
    """
    height, width = four.shape
    reach_x = HALF * (abs(a[0, 0]) + abs(a[0, 1]))
    reach_y = HALF * (abs(a[1, 0]) + abs(a[1, 1]))
    if not (x - reach_x >= 0.0 and y - reach_y >= 0.0 and x + reach_x < width - 1.001 and y + reach_y < height - 1.001):
        return 0.0
    _places(width, x, y, a, room)
    place, beyond_x, beyond_y, found = room
    pixels = four.reshape(height * width)
    for k in range(SIZE):
        found[k] = pixels[np.uint32(place[k])]
    total = np.float32(0.0)
    squares = np.float32(0.0)
    for k in range(SIZE):
        bytes_ = found[k]
        left = np.float32(np.int32(bytes_ & _BYTE))
        right = np.float32(np.int32((bytes_ >> np.uint32(8)) & _BYTE))
        low_left = np.float32(np.int32((bytes_ >> np.uint32(16)) & _BYTE))
        low_right = np.float32(np.int32(bytes_ >> np.uint32(24)))
        top = left + beyond_x[k] * (right - left)
        low = low_left + beyond_x[k] * (low_right - low_left)
        out[k] = top + beyond_y[k] * (low - top)
        total += out[k]
        squares += out[k] * out[k]
    mean = total / np.float32(SIZE)
    contrast = np.sqrt(max(squares / np.float32(SIZE) - mean * mean, np.float32(0.0)))
    if contrast < LEAST_CONTRAST:
        return 0.0
    scale = np.float32(1.0) / contrast
    for k in range(SIZE):
        out[k] = (out[k] - mean) * scale
    return contrast


@njit(fastmath={"reassoc", "contract", "arcp"})
def _places(width, x, y, a, room):
    place, beyond_x, beyond_y, _ = room
    for v in range(SIDE):
        row_x = x + a[0, 1] * np.float32(v - HALF) - a[0, 0] * np.float32(HALF)
        row_y = y + a[1, 1] * np.float32(v - HALF) - a[1, 0] * np.float32(HALF)
        for u in range(SIDE):
            k = v * SIDE + u
            at_x = row_x + np.float32(u) * a[0, 0]
            at_y = row_y + np.float32(u) * a[1, 0]
            column, row = np.int32(at_x), np.int32(at_y)
            beyond_x[k] = at_x - np.float32(column)
            beyond_y[k] = at_y - np.float32(row)
            place[k] = row * np.int32(width) + column
