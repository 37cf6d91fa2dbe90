"""A rate by a clock that the test sets."""
from __future__ import annotations

import pytest

from dalf_core.viewing import frame_rate
from dalf_core.viewing.frame_rate import OVER_S, FrameRate


def test_rate_and_silence(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(frame_rate.time, "monotonic", lambda: now[0])
    rate = FrameRate()
    now[0] += 2
    assert rate.hz == 0 and rate.silent_s == 2
    rate.tick()
    assert rate.hz == 0 and rate.silent_s == 0
    for _ in range(100):
        now[0] += 0.125
        rate.tick()
    assert rate.hz == pytest.approx(8)
    for _ in range(20):
        now[0] += 0.5
        rate.tick()
    assert rate.hz == pytest.approx(2)              # what was quicker is forgotten
    now[0] += OVER_S + 0.1
    assert rate.hz == 0 and rate.silent_s == pytest.approx(OVER_S + 0.1)
