"""The rule for stamps, without ROS."""
from __future__ import annotations

from types import SimpleNamespace

from dalf_ros.conversions.messages import stamp_ns
from dalf_ros.conversions.stamps import StampGuard, has_restarted, set_missing_stamp

MS = 1_000_000


def test_stamp_guard() -> None:
    guard = StampGuard()
    assert [guard.check(t * MS) for t in (1000, 1033, 1033, 1010, 1066, 100, 133)] == [
        "new", "new", "repeated", "late", "new", "restarted", "new"]


def test_a_clock_that_is_set_back_by_two_seconds_restarts_and_disorder_does_not() -> None:
    assert has_restarted(8_000 * MS, 10_000 * MS) and not has_restarted(9_600 * MS, 10_000 * MS)
    assert not has_restarted(0, None) and not has_restarted(10**18, 0)


def test_a_missing_stamp_is_that_of_the_arrival() -> None:
    message = SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0)))
    assert set_missing_stamp(message, 1_700_000_000_123_456_789) and stamp_ns(message.header) == 1_700_000_000_123_456_789
    assert not set_missing_stamp(message, 5) and stamp_ns(message.header) == 1_700_000_000_123_456_789
