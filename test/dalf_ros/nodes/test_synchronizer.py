"""Joining by stamp, without ROS."""
from __future__ import annotations

from dalf_ros.nodes.synchronizer import MAX_PENDING, StampGuard, Synchronizer, TimeBuffer

MS = 1_000_000


def synchronizer(**options) -> Synchronizer:
    return Synchronizer("matches", ["depth"], ["image"], **{"tolerance_ns": 10 * MS, "length_ns": 1000 * MS, **options})


def test_exact_stamp_joins_at_once() -> None:
    j = synchronizer()
    assert j.put("depth", 100 * MS, "d") is None
    assert j.put("image", 100 * MS, "i") is None
    assert j.put("matches", 100 * MS, "m") == {"matches": "m", "depth": "d", "image": "i"}


def test_depth_may_come_last() -> None:
    j = synchronizer()
    assert j.put("matches", 100 * MS, "m") is None
    assert j.put("depth", 100 * MS, "d") == {"matches": "m", "depth": "d", "image": None}


def test_exact_is_preferred_to_nearer_in_time_of_arrival() -> None:
    j = synchronizer()
    j.put("depth", 95 * MS, "early")
    assert j.put("matches", 100 * MS, "m") is None          # a better one may still come
    assert j.put("depth", 100 * MS, "exact")["depth"] == "exact"


def test_nearest_within_tolerance_once_a_later_one_is_there() -> None:
    j = synchronizer()
    j.put("depth", 96 * MS, "near")
    j.put("matches", 100 * MS, "m")
    assert j.put("depth", 129 * MS, "far")["depth"] == "near"


def test_nothing_within_tolerance() -> None:
    j = synchronizer()
    j.put("depth", 80 * MS, "a")
    j.put("depth", 120 * MS, "b")
    assert j.put("matches", 100 * MS, "m") is None


def test_matches_a_second_late_still_find_their_depth() -> None:
    j = synchronizer(length_ns=5000 * MS)
    for number in range(60):
        j.put("depth", number * 33 * MS, number)
    assert j.put("matches", 10 * 33 * MS, "m")["depth"] == 10


def test_newest_of_the_waiting_wins() -> None:
    j = synchronizer()
    for number in range(3):
        assert j.put("matches", (100 + 33 * number) * MS, number) is None
    j.put("depth", 300 * MS, "x")
    assert j.put("depth", 133 * MS, "d1")["matches"] == 1
    assert j.skipped == 1


def test_both_sides_are_bounded() -> None:
    j = synchronizer()
    for number in range(1000):
        j.put("matches", number * 33 * MS, number)
    assert len(j._pending) == MAX_PENDING
    buffer = TimeBuffer(1000 * MS)
    for number in range(1000):
        buffer.put(number * 33 * MS, number)
    assert len(buffer) == 31


def test_a_restart_empties_the_buffers() -> None:
    j = synchronizer(length_ns=60_000 * MS)
    for number in range(100):
        j.put("depth", number * 33 * MS, "first round")
    j.put("depth", 0, "second round")
    assert j.put("matches", 33 * MS, "m") is None
    assert j.put("matches", 0, "m")["depth"] == "second round"


def test_a_stamp_is_kept_once() -> None:
    """A recording in a loop, of which only the first images are kept: they are not kept again with every round."""
    buffer = TimeBuffer(1000 * MS)
    for round_number in range(100):
        for number in range(4):
            buffer.put(number * 33 * MS, (round_number, number))
    assert len(buffer) == 4
    assert buffer.find(33 * MS, 0) == (99, 1)


def test_a_role_can_be_dropped() -> None:
    j = synchronizer()
    j.put("depth", 0, "d")
    j.put("image", 0, "i")
    j.drop("image")
    assert j.put("matches", 0, "m") == {"matches": "m", "depth": "d", "image": None}


def test_stamp_guard() -> None:
    guard = StampGuard()
    assert [guard.check(t * MS) for t in (1000, 1033, 1033, 1010, 1066, 100, 133)] == [
        "new", "new", "repeated", "late", "new", "restarted", "new"]
