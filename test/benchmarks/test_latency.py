"""The latency benchmark's table and samples; its processes, briefly, where ROS is."""
from __future__ import annotations

import subprocess
import sys

import latency
import pytest


def reports(median_ms: float = 4.0, received: int = 600) -> tuple[dict, dict]:
    sent = {"sent": 600, "matches": {"median": 0.6, "p95": 1.2, "cpu": 0.5}, "features": {"median": 1.1, "p95": 1.6, "cpu": 1.0}}
    return sent, {"arrived": [median_ms] * 600, "converted": [median_ms + 2] * 600, "overwritten": 0,
                  "received": {"image": 600, "depth": received}}


def test_table_says_what_is_met() -> None:
    assert "NO" not in "\n".join(latency.table(*reports()))
    late = latency.table(*reports(median_ms=11.0))
    assert late[1].endswith("NO") and late[2].endswith("NO") and late[-2].endswith("yes")
    lost = latency.table(*reports(received=599))
    assert lost[-2].endswith("NO") and "99.8%" in lost[-2]


def test_samples_are_as_large_as_said() -> None:
    from dalf_ros.conversions.messages import feature_array, header, match_array

    assert len(match_array(latency.sample_matches(), "camera")["distance"]) == 2000
    assert len(feature_array(latency.sample_features(), header(0, ""))["descriptors"]) == 2048 * 128 * 4


def test_two_processes(ros_domain: int) -> None:
    pytest.importorskip("rclpy")
    done = subprocess.run([sys.executable, latency.__file__, "--seconds", "3", "--rounds", "5"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "of 90 pairs" in done.stdout and "MatchArray" in done.stdout
