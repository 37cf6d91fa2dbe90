"""Where dots and lines of motion are."""
from __future__ import annotations

import numpy as np

from dalf_core.drawing.draw import MOST_LINES
from dalf_core.drawing.draw_motion import draw_flow, draw_kept
from dalf_core.drawing.palette import BAD, GOOD


def test_a_dot_at_the_end_and_a_line_from_the_start():
    image = np.zeros((100, 200), np.uint8)
    picture = draw_flow(image, np.array([[20.0, 50], [120, 30]]), np.array([[60.0, 50], [150, 30]]))
    bright = picture.max(axis=2)
    assert picture.shape == (100, 200, 3) and bright[50, 20:60].min() > 60 and bright[30, 120:150].min() > 60
    assert np.count_nonzero(bright[45:56, 60] > 60) >= 3 and np.count_nonzero(bright[45:56, 25] > 60) <= 2     # the dot is at the end
    assert bright[60:].max() == 0 and image.max() == 0           # the image that was given stays as it is


def test_many_matches_all_have_dots_but_not_all_have_lines():
    x, y = np.meshgrid(np.arange(5, 400, 10.0), np.arange(5, 300, 10.0))
    end = np.stack([x, y], axis=-1).reshape(-1, 2)
    start = end + [0.0, 4.0]
    bright = draw_flow(np.zeros((300, 400, 3), np.uint8), start, end).max(axis=2)
    at = end.astype(int)
    lines = np.count_nonzero(bright[at[:, 1] + 4, at[:, 0]] > 60)
    assert len(end) > 1000 and (bright[at[:, 1], at[:, 0]] > 60).all() and 0 < lines <= MOST_LINES


def test_kept_matches_are_blue_and_dropped_ones_orange():
    start, end = np.array([[20.0, 50], [120, 30]]), np.array([[60.0, 50], [150, 30]])
    picture = draw_kept(np.zeros((100, 200), np.uint8), start, end, np.array([True, False]))
    assert tuple(picture[50, 60]) == GOOD and tuple(picture[30, 150]) == BAD            # the dots
    assert picture[50, 40, 0] > 2 * picture[50, 40, 2] > 0 == picture[30, 135, 0] < picture[30, 135, 2]
    assert draw_kept(np.zeros((5, 5), np.uint8), start[:0], end[:0], np.zeros(0, bool)).max() == 0
