"""The image with its matches: where each was in the reference, and where it is."""
from __future__ import annotations

import cv2
import numpy as np

from .draw import SUBPIXEL_BITS, _dots, _fixed_point, _spread, as_bgr, flow_colors


def draw_flow(image: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The image (BGR) with a dot at `end` (M, 2) pixels, and at most 150 lines to it from `start` (M, 2), coloured by their motion."""
    picture = as_bgr(image)
    colors = flow_colors(start, end)
    for index in _spread(np.asarray(start), np.ones(len(start), bool)):
        a, b = _fixed_point(np.stack([start[index], end[index]]))
        cv2.line(picture, a, b, tuple(int(c) for c in colors[index]), 1, cv2.LINE_AA, SUBPIXEL_BITS)
    _dots(picture, end, colors, max(2.0, picture.shape[0] / 250))
    return picture
