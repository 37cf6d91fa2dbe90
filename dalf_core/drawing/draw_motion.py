"""The image with its matches: where each was in the reference, and where it is."""
from __future__ import annotations

import numpy as np

from .draw import _dots, _lines, _spread, as_bgr, flow_colors
from .palette import BAD, GOOD


def draw_flow(image: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The image (BGR) with a dot at `end` (M, 2) pixels, and at most 150 lines to it from `start` (M, 2), coloured by their motion."""
    picture = as_bgr(image)
    colors = flow_colors(start, end)
    _lines(picture, start, end, colors, _spread(np.asarray(start), np.ones(len(start), bool)))
    _dots(picture, end, colors, max(2.0, picture.shape[0] / 250))
    return picture


def draw_kept(image: np.ndarray, start: np.ndarray, end: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """As draw_flow, but blue where kept (M,) bool is true and orange, below, where it is not; at most 150 lines of each."""
    picture, start, end, kept = as_bgr(image), np.asarray(start), np.asarray(end), np.asarray(kept, bool)
    for color, rows in ((BAD, ~kept), (GOOD, kept)):
        colors = np.tile(np.array(color, np.uint8), (len(start), 1))
        _lines(picture, start, end, colors, _spread(start, rows))
        _dots(picture, end[rows], colors[rows], max(1.5, picture.shape[0] / 320))
    return picture
