"""Latencies as text."""
from __future__ import annotations

import numpy as np

from dalf_ros.nodes.node_statistics import Statistics, latencies


def test_median_and_worst() -> None:
    assert latencies(np.array([0.01, 0.03, 0.02])) == {"latency_median_ms": "20.0", "latency_worst_ms": "30.0"}


def test_a_recording_that_begins_again_gives_no_negative_latency() -> None:
    """The frames that were in work when /clock jumped back by five seconds."""
    assert latencies(np.array([0.01, 0.03, -4.97, 0.02])) == {"latency_median_ms": "20.0", "latency_worst_ms": "30.0"}


def test_what_cannot_be_known_is_said() -> None:
    assert latencies(np.array([-0.004, -0.006]))["latency_median_ms"].startswith("unknown: stamps are 5.0 ms ahead of this clock")
    assert "not of this clock" in latencies(np.array([1e9, 1e9]))["latency_median_ms"]
    statistics = Statistics()
    statistics.done(-1.0, 5.0)
    assert "-" not in statistics.summary()["latency_median_ms"] and statistics.summary()["processing_median_ms"] == "5.0"
