"""Joining by stamp, without ROS."""
from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from dalf_ros.nodes.synchronizer import Synchronizer, TimeBuffer, size_of

MS = 1_000_000


def synchronizer(**options) -> Synchronizer:
    return Synchronizer("matches", ["depth"], ["image"], **{"tolerance_ns": 10 * MS, "length_ns": 1000 * MS, **options})


def test_exact_stamp_joins_at_once() -> None:
    j = synchronizer()
    assert j.put("depth", 100 * MS, "d") is None
    assert j.put("image", 100 * MS, "i") is None
    assert j.put("matches", 100 * MS, "m") == {"matches": "m", "depth": "d", "image": "i"}


def test_the_newest_that_belong_together_without_a_primary() -> None:
    """They stay, for the primary may come; what stands alone, or comes too early for another, does not count."""
    j = Synchronizer("matches", ["depth"], ["image", "info"], tolerance_ns=10 * MS, length_ns=1000 * MS)
    assert j.newest("image", "depth") is None
    for stamp in (100, 200, 300):
        j.put("image", stamp * MS, f"i{stamp}")
        if stamp < 300:
            j.put("depth", stamp * MS, f"d{stamp}")
    j.put("info", 100 * MS, "c100")
    for _ in range(2):
        assert j.newest("image", "depth", optional=("info",)) == {"image": "i200", "depth": "d200", "info": None}
    assert j.put("matches", 200 * MS, "m") == {"matches": "m", "depth": "d200", "image": "i200", "info": None}


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
    """By time, and by bytes: a second of one, three images of the other."""
    j = synchronizer(max_bytes=3_100_000)
    for number in range(1000):
        j.put("matches", number * 33 * MS, number)
    assert len(j._pending) == 31
    for number in range(1000):
        j.put("image", number * 33 * MS, number, 500_000)
        j.put("depth", number * 33 * MS + 15 * MS, number, 1_000_000)
    assert len(j._buffers["depth"]) == 3 and len(j._buffers["image"]) == 3 and j.bytes < 5e6
    buffer = TimeBuffer(1000 * MS, 10)
    buffer.put(0, "larger than all there may be", 100)
    assert buffer.find(0, 0) and buffer.put(1, "the next", 100) == [0] and len(buffer) == 1


def test_what_is_older_than_what_was_joined_is_forgotten() -> None:
    j = synchronizer(length_ns=60_000 * MS)
    for number in range(100):
        j.put("depth", number * 33 * MS, number, 1_000_000)
        j.put("image", number * 33 * MS, number, 1_000_000)
    assert j.put("matches", 97 * 33 * MS, "m") == {"matches": "m", "depth": 97, "image": 97}
    assert [len(j._buffers[role]) for role in ("depth", "image")] == [3, 3]
    j.clear()
    assert j.bytes == 0


def test_what_is_left_out_is_told() -> None:
    """A mask for every second image, then none; an image that is merely overtaken is only counted."""
    told: list[tuple[str, str]] = []
    j = Synchronizer("image", ["mask"], [], tolerance_ns=10 * MS, length_ns=1000 * MS, given_up=lambda *why: told.append(why))
    for number in range(4):
        j.put("mask", number * 66 * MS, number)
        assert j.put("image", number * 66 * MS, number) == {"image": number, "mask": number}
        assert j.put("image", (number * 66 + 33) * MS, number) is None
    assert told == [("mask", "the nearest mask is 0.033 s earlier")] * 3
    told.clear()
    for number in range(50):
        j.put("image", (1000 + number * 33) * MS, number)
    assert len(told) == 20 and told[-1] == ("mask", f"the nearest mask is {(1000 + 18 * 33 - 198) / 1000:.3f} s earlier")
    told.clear()
    skipped = j.skipped
    j.clear()
    j.put("mask", 10_000 * MS, "a")
    j.put("mask", 10_033 * MS, "b")
    j.put("image", 10_000 * MS, "a")
    assert told == [] and j.skipped == skipped


def test_a_full_buffer_is_named() -> None:
    told: list[str] = []
    j = synchronizer(max_bytes=2_100_000, given_up=lambda role, why: told.append(why))
    for number in range(9):
        j.put("depth", number * 33 * MS, number, 1_000_000)
    assert j.put("matches", 33 * MS, "m") is None
    assert "0.198 s later (older ones were forgotten, as buffer_megabytes demands)" in j.mismatch()
    j.put("matches", 8 * 33 * MS, "m")
    assert told == ["the nearest depth is 0.198 s later (older ones were forgotten, as buffer_megabytes demands)"]


def test_bytes_of_a_message() -> None:
    import array

    assert size_of(SimpleNamespace(data=array.array("B", bytes(7)))) == 7 == size_of(SimpleNamespace(data=np.zeros(7, np.uint8)))
    assert size_of(SimpleNamespace()) == 0


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
