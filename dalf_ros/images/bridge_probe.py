"""Tries cv_bridge, in a process of its own, since it may end that: prints each encoding that it converts as image_conversion does."""
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from cv_bridge import CvBridge

from .bridge import ENCODINGS
from .image_conversion import LAYOUT, to_bgr

SIZE, PADDING = (8, 12), (0, 5)         # rows and columns; bytes at the end of each row, no multiple of a pixel's


def main() -> None:
    """Random pixels of every encoding, with rows as they are and padded."""
    bridge, random = CvBridge(), np.random.default_rng(0)
    for encoding in ENCODINGS:
        channels = LAYOUT[encoding][1]
        pixels = random.integers(0, 256, (*SIZE, channels)[:2 + (channels > 1)], np.uint8)
        expected = to_bgr(pixels, encoding).astype(int)
        if all(_is(expected, bridge, _message(pixels, encoding, padding)) for padding in PADDING):
            print(encoding, flush=True)


def _is(expected: np.ndarray, bridge: CvBridge, message: SimpleNamespace) -> bool:
    try:
        found = np.asarray(bridge.imgmsg_to_cv2(message, "bgr8"))
    except Exception:                   # whatever it is, this encoding is not for cv_bridge
        return False
    return found.shape == expected.shape and int(np.abs(found.astype(int) - expected).max()) <= 1      # rounding of YUV


def _message(pixels: np.ndarray, encoding: str, padding: int) -> SimpleNamespace:
    rows = pixels.reshape(len(pixels), -1)
    data = np.hstack([rows, np.full((len(rows), padding), 77, np.uint8)])
    return SimpleNamespace(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, is_bigendian=0, step=data.shape[1],
                           data=data.reshape(-1))


if __name__ == "__main__":
    main()
