"""What is told again, and when."""
from __future__ import annotations

import pytest

from dalf_ros.nodes.complaints import MAX_REASONS, Complaints


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_reason_is_told_every_few_seconds(clock: list[float]) -> None:
    """Whatever its numbers."""
    told = []
    complaints = Complaints()
    for _ in range(13):
        told.append(complaints.is_news(f"image of {clock[0]:.1f} pixels", False))
        clock[0] += 1
    assert [at for at, news in enumerate(told) if news] == [0, 5, 10]
    assert complaints.is_news("another", False)


def test_what_holds_is_told_once_until_something_good_comes(clock: list[float]) -> None:
    complaints = Complaints()
    assert complaints.is_news("depth is in frame a2", True) and not complaints.is_news("depth is in frame a2", True)
    clock[0] += 1000
    assert not complaints.is_news("depth is in frame a2", True) and complaints.is_news("depth is in frame a3", True)
    complaints.good()
    clock[0] += 6
    assert complaints.is_news("depth is in frame a2", True)


def test_what_is_remembered_is_bounded() -> None:
    complaints = Complaints()
    for number in range(3 * MAX_REASONS):
        assert complaints.is_news("x" * (number % 90) + chr(300 + number), False)
    assert len(complaints._told) <= MAX_REASONS + 1
