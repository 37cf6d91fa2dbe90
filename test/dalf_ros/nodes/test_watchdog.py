"""When a silence is told: once, and not while simulated time stands still."""
from __future__ import annotations

from dalf_ros.nodes.synchronizer import Synchronizer
from dalf_ros.nodes.watchdog import PAUSED, SILENT, Watchdog


def told(watch: Watchdog, seconds: range, received=lambda t: 0, clock=lambda t: None) -> list[tuple[int, str]]:
    """What look() says, second by second."""
    return [(t, news) for t in seconds if (news := watch.look(float(t), received(t), clock(t)))]


def test_once_a_silence() -> None:
    watch = Watchdog(5.0, 0.0)
    assert told(watch, range(20)) == [(6, SILENT)] and watch.state == SILENT
    assert told(watch, range(20, 40), lambda t: t) == [] and watch.state == ""
    assert told(watch, range(40, 60), lambda t: 39) == [(45, SILENT)] and watch.silent_s(59.0) == 20


def test_a_clock_that_stands_still() -> None:
    """Data and clock run until 10 and stop; the clock goes on at 30 without data."""
    watch = Watchdog(5.0, 0.0)
    assert told(watch, range(30), lambda t: min(t, 10), lambda t: 1 + min(t, 10)) == [(16, PAUSED)] and watch.state == PAUSED
    assert told(watch, range(30, 50), lambda t: 10, lambda t: t) == [(36, SILENT)] and watch.state == SILENT
    assert told(watch, range(50, 60), lambda t: 11, lambda t: t) == [(56, SILENT)]


def test_a_clock_that_never_came_is_no_pause() -> None:
    assert told(Watchdog(5.0, 0.0), range(20), clock=lambda t: 0) == [(6, SILENT)]


def test_data_that_comes_on_time_is_never_silence() -> None:
    assert told(Watchdog(5.0, 0.0), range(60), lambda t: t // 4, lambda t: 1 + t) == []


def test_stamps_that_do_not_belong_together() -> None:
    synchronizer = Synchronizer("matches", ["depth"], ["image"], tolerance_ns=20_000_000, length_ns=5_000_000_000)
    assert synchronizer.mismatch() == ""
    synchronizer.put("matches", 3_000_000_000, "m")
    assert synchronizer.mismatch() == "of the newest matches, no depth is kept (stamp_tolerance 0.02 s)"
    synchronizer.put("depth", 2_600_000_000, "d")
    assert synchronizer.mismatch() == "of the newest matches, the nearest depth is 0.400 s earlier (stamp_tolerance 0.02 s)"
    synchronizer.put("depth", 3_050_000_000, "d")
    assert "0.050 s later" in synchronizer.mismatch()
