"""Words have bands of their own; the legend's colours are those of the picture."""
from __future__ import annotations

import numpy as np

from dalf_core.drawing.palette import BACKGROUND, BAD, GOOD, INK, direction_colors
from dalf_core.drawing.panels import MOTION, band, band_height, capital_height, compose, legend_band, motion_wheel


def test_the_pictures_stay_whole_below_their_titles():
    left, right = np.full((400, 300, 3), 77, np.uint8), np.full((380, 200), 99, np.uint8)
    high = band_height(capital_height(400))
    picture = compose([left, right], ["left", "right"], "47 of 62 matches kept", [(GOOD, "kept"), (BAD, "dropped")])
    assert picture.shape == (400 + 3 * high, 500, 3)
    assert (picture[2 * high:2 * high + 400, :300] == 77).all() and (picture[2 * high:2 * high + 380, 300:] == 99).all()
    words = (np.abs(picture.astype(int) - INK).max(axis=2) < 60)
    assert words[:high].any() and words[high:2 * high, :300].any() and words[high:2 * high, 300:].any() and words[-high:].any()
    assert compose([left], ["only"]).shape == (400 + high, 300, 3)


def test_the_legend_shows_its_colours_and_breaks_its_lines():
    legend = legend_band([(GOOD, "kept"), (BAD, "dropped")], 400, 10)
    assert len(legend) == band_height(10)
    for color in (GOOD, BAD):
        assert np.count_nonzero((legend == color).all(axis=2)) == 100       # a square of 10 pixels
    good, bad = (np.nonzero((legend == color).all(axis=2))[1].mean() for color in (GOOD, BAD))
    assert good < bad - 50
    assert len(legend_band([(GOOD, "kept"), (BAD, "dropped")], 90, 10)) == 2 * band_height(10)


def test_the_wheel_has_the_colours_of_the_directions():
    wheel = motion_wheel(41)
    for x, y in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        expected = direction_colors(np.array([np.arctan2(y, x)]), np.array([18 / 20.5]))[0]
        assert np.array_equal(wheel[20 + 18 * y, 20 + 18 * x], expected)
    assert (wheel[20, 20] == 255).all() and tuple(wheel[0, 0]) == BACKGROUND
    legend = legend_band([(MOTION, "motion")], 300, 10)
    top = (band_height(10) - 20) // 2
    assert np.array_equal(legend[top:top + 20, 5:25], motion_wheel(20))


def test_words_follow_the_size_of_the_picture_and_stay_within():
    assert capital_height(100) < capital_height(720) < capital_height(1000) and capital_height(100_000) == capital_height(10_000)
    written = (band("a long title " * 10, 200, 12) != BACKGROUND).any(axis=(0, 2))
    assert written.any() and not written[190:].any()
    assert (band("", 50, 9) == BACKGROUND).all()


def test_a_caption_is_never_cut():
    """Whatever its width, the last letter is whole: a band that is too narrow shows the same words, smaller."""
    for text in ("frame 0, 0.00 s: tracked, 2048 of 2048 matches kept", "frame 12, 3.25 s: degraded, 17 of 99 matches kept"):
        for width in range(300, 500, 7):
            written = (band(text, width, 15) != BACKGROUND).any(axis=(0, 2))
            assert written.any() and not written[width - 8:].any(), (text, width)
