"""The rule for images of another resolution, without ROS."""
from __future__ import annotations

import pytest

from dalf_ros.conversions.image_size import SizeGuard, commonest_size


def test_one_of_another_size_is_skipped_and_two_in_a_row_begin_anew() -> None:
    guard = SizeGuard()
    assert guard.check(640, 480) == "" and guard.check(640, 480) == ""
    with pytest.raises(ValueError, match="an image of 320x240, not 640x480 is skipped"):
        guard.check(320, 240)
    assert guard.check(640, 480) == ""
    for other in ((320, 240), (800, 600)):          # two of different sizes are two odd ones
        with pytest.raises(ValueError, match="skipped"):
            guard.check(*other)
    assert guard.check(800, 600) == "images are now 800x600, not 640x480: tracking starts anew" and guard.size == (800, 600)
    assert guard.check(800, 600) == ""


def test_a_size_that_is_known_from_the_start() -> None:
    with pytest.raises(ValueError, match="an image of 320x240, not 640x480"):
        SizeGuard((640, 480)).check(320, 240)


def test_the_commonest_size() -> None:
    assert commonest_size([(4, 3), (8, 6), (8, 6)]) == (8, 6) and commonest_size([(4, 3), (8, 6)]) == (4, 3)
    assert commonest_size([]) is None
