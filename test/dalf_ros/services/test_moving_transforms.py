"""Transforms between stamps against their closed form, and what is refused."""
from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dalf_ros.services.moving_transforms import MovingTransforms, TransformError

MS, S = 1_000_000, 1_000_000_000
START = 1_700_000_000 * S
TILT = Rotation.from_euler("xyz", [0.3, -0.2, 0.5])


def message(parent: str, child: str, stamp: int, translation, rotation: Rotation) -> SimpleNamespace:
    t, q = (SimpleNamespace(**dict(zip(names, values))) for names, values in (("xyz", translation), ("xyzw", rotation.as_quat())))
    header = SimpleNamespace(frame_id=parent, stamp=SimpleNamespace(sec=stamp // S, nanosec=stamp % S))
    return SimpleNamespace(transforms=[SimpleNamespace(header=header, child_frame_id=child,
                                                       transform=SimpleNamespace(translation=t, rotation=q))])


def turning(stamp: int) -> tuple[list[float], Rotation]:
    """A flange that goes along x at 1 m/s and turns about z at 2 rad/s."""
    seconds = (stamp - START) / S
    return [seconds, 0.5, 0.0], Rotation.from_rotvec([0, 0, 2 * seconds])


def moving(stamps, history_s: float = 10.0, tolerance_s: float = 0.02) -> MovingTransforms:
    made = MovingTransforms(history_s, tolerance_s)
    made.add_static(message("flange", "/camera", 0, [0.1, 0.2, 0.3], TILT))
    for stamp in stamps:
        made.add(message("base", "flange", stamp, *turning(stamp)))
    return made


def assert_at(made: MovingTransforms, asked: int, stamp: int) -> None:
    """The camera in the base, asked for at one stamp, is where it is at another."""
    found, (position, turn) = made.find("camera", "/base", asked), turning(stamp)
    np.testing.assert_allclose(found.rotation, (turn * TILT).as_matrix(), atol=1e-9)
    np.testing.assert_allclose(found.translation, turn.apply([0.1, 0.2, 0.3]) + position, atol=1e-9)
    back = made.find("base", "camera", asked)
    np.testing.assert_allclose(back.after(found).rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(back.after(found).translation, 0, atol=1e-12)


def test_between_stamps_and_at_them() -> None:
    made = moving([START, START + 100 * MS, START + 50 * MS, START + 400 * MS])     # one of them late
    for offset in (0, 13, 50, 77, 100, 321, 400):
        assert_at(made, START + offset * MS, START + offset * MS)


def test_beyond_the_stamps_the_nearest_holds_no_farther_than_the_tolerance() -> None:
    made = moving([START, START + 100 * MS])
    assert_at(made, START + 119 * MS, START + 100 * MS)
    assert_at(made, START - 19 * MS, START)
    for offset, words in ((121, "the newest on /tf is of 1700000000.100 s"), (-21, "the oldest on /tf is of 1700000000.000 s")):
        with pytest.raises(TransformError, match="no transform from camera to base at .* of flange in base " + words):
            made.find("camera", "base", START + offset * MS)


def test_what_nothing_connects() -> None:
    made = moving([START])
    made.add_static(message("map", "table", 0, [0, 0, 0], TILT))
    for source, target, words in (("camera", "nowhere", "nothing has come of nowhere"), ("camera", "map", "nothing connects them"),
                                  ("a", "b", "nothing has come of a and b")):
        with pytest.raises(TransformError, match=f"no transform from {source} to {target}: {words}"):
            made.find(source, target, START)
    np.testing.assert_array_equal(made.find("camera", "camera", 5).translation, 0)      # no need of TF
    with pytest.raises(TransformError):
        made.add(message("a", "b", 1, [0, 0, 0], TILT))
        made.add(message("b", "a", 1, [0, 0, 0], TILT))     # a ring
        made.find("a", "base", 1)


def test_what_lies_above_both_frames_is_not_asked() -> None:
    """base in the map is of long ago: nobody needs it."""
    made = moving([START])
    made.add(message("map", "base", START - 8 * S, [0, 0, 0], TILT))
    assert_at(made, START, START)


def test_between_branches_of_the_tree() -> None:
    """The table stands beside the robot: neither frame lies above the other."""
    made, seen, stamp = moving([START, START + 100 * MS]), np.array([0.3, -0.2, 0.7]), START + 40 * MS
    made.add_static(message("base", "table", 0, [1.0, -2.0, 0.4], TILT))
    position, turn = turning(stamp)
    in_base = turn.apply(TILT.apply(seen) + [0.1, 0.2, 0.3]) + position
    found = made.find("camera", "table", stamp)
    np.testing.assert_allclose(found.rotation @ seen + found.translation, TILT.inv().apply(in_base - [1.0, -2.0, 0.4]), atol=1e-9)


def test_wrong_numbers_are_left_out() -> None:
    made = moving([START, START + 100 * MS])
    made.add(message("base", "flange", START + 50 * MS, [np.nan, 0, 0], TILT))
    assert_at(made, START + 50 * MS, START + 50 * MS)


def test_a_clock_that_is_set_back_forgets_what_was_newer() -> None:
    made = moving([START + 5 * S, START + 6 * S, START + 2 * S])
    assert_at(made, START + 2 * S, START + 2 * S)
    with pytest.raises(TransformError):
        made.find("camera", "base", START + 3 * S)      # not between this run's stamp and the last run's


def test_what_is_older_than_the_history_is_forgotten() -> None:
    made = moving([START + second * S for second in range(5)], history_s=2.0)
    assert_at(made, START + 2 * S, START + 2 * S)
    with pytest.raises(TransformError, match="the oldest"):
        made.find("camera", "base", START + S)


def test_another_parent_replaces_the_old_one() -> None:
    made = moving([START])
    made.add(message("gripper", "flange", START, [0, 0, 1], TILT))
    with pytest.raises(TransformError, match="nothing"):
        made.find("camera", "base", START)
    assert made.find("flange", "gripper", START).translation[2] == 1


def test_what_is_on_its_way_is_waited_for() -> None:
    made = moving([START])
    late = threading.Timer(0.05, lambda: made.add(message("base", "flange", START + 100 * MS, *turning(START + 100 * MS))))
    late.start()
    found = made.find("flange", "base", START + 50 * MS, patience_s=20.0)
    late.join()
    np.testing.assert_allclose(found.translation, [0.05, 0.5, 0], atol=1e-9)
    started = time.monotonic()
    for stamp in (START - S, START + 5 * S):        # what will not come is not waited for
        with pytest.raises(TransformError):
            made.find("flange", "base", stamp, patience_s=20.0)
    assert time.monotonic() - started < 15
