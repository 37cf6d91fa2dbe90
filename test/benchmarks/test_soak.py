"""The soak benchmark's judgement and picture, on numbers made up."""
from __future__ import annotations

from pathlib import Path

import pytest
import soak

MINUTES = 5


def rows(**changes: float) -> list[dict]:
    """A steady run; changes: what is added to a field of registration_node, in proportion to the time after the first minute."""
    made = []
    for second in range(60 * MINUTES):
        for process in (*soak.NODES, "play"):
            row = {"seconds": float(second), "process": process, "memory_mb": 500.0, "private_mb": 300.0, "threads": 12, "files": 20,
                   "rate_hz": 4.0 if process != "play" else float("nan"), "latency_ms": 200.0, "dropped": 26.0 * second}
            if second < 30:
                row["memory_mb"] = 300.0          # before everything is loaded
            if process == "registration_node":
                for field, change in changes.items():
                    row[field] += change * max(0.0, second - 60) / (60 * MINUTES - 60)
            made.append(row)
    return made


def test_a_steady_run_is_steady() -> None:
    lines, steady = soak.table(rows())
    assert steady and len(lines) == 4
    assert "500.0 -> 500.0" in lines[1] and "4.00" in lines[1] and "6214" in lines[1]


@pytest.mark.parametrize(("change", "is_steady"), [({"memory_mb": 8.0}, True), ({"memory_mb": 20.0}, False), ({"memory_mb": -20.0}, False),
                                                   ({"threads": 1.0}, False), ({"files": 3.0}, False)])
def test_growth_is_found(change: dict, is_steady: bool) -> None:
    made = rows(**change)
    assert soak.judge(made, "registration_node")["steady"] == is_steady
    assert soak.judge(made, "feature_node")["steady"]
    assert soak.table(made)[1] == is_steady


def test_picture_and_samples(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    soak.draw(rows(), tmp_path / "soak.png")
    soak.write(rows(), tmp_path / "soak.csv")
    assert (tmp_path / "soak.png").read_bytes()[:4] == b"\x89PNG"
    assert len((tmp_path / "soak.csv").read_text().splitlines()) == 3 * 60 * MINUTES + 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["soak.csv", "soak.png"]


def test_a_process_of_this_machine_is_sampled(tmp_path: Path) -> None:
    process = soak.Process("play", ["--help"], tmp_path / "play.log")
    try:
        found = soak.usage(process)
    except (RuntimeError, KeyError, OSError):       # it may have ended already
        found = None
    assert process.stop() is not None
    assert found is None or (found["threads"] >= 1 and found["files"] >= 3)
    with pytest.raises(RuntimeError, match="play ended with"):
        soak.usage(process)
