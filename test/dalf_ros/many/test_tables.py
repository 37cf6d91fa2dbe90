"""The tables, read back."""
from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from dalf_ros.many.tables import FRAME_COLUMNS, RUN_COLUMNS, write_frames, write_runs

parquet = pytest.importorskip("pyarrow.parquet")


def frame(stamp: int, status: str, residual: float | None) -> dict:
    return {"stamp": stamp / 1e9, "stamp_ns": stamp, "status": status, "reason": "", "gap_s": None, "matches": 9, "verified": 8,
            "inliers": 7, "residual_m": residual, "is_reference": False, "milliseconds": {"extract": 30.0, "match": 2.5}}


def test_runs(tmp_path: Path) -> None:
    good = {"name": "b", "source": "/b", "status": "done", "frames": 3, "median_residual_m": 0.001, "started": 1_700_000_000.25,
            "options": {}}
    bad = {"name": "a", "source": "s3://x/a", "status": "failed", "error": "no colour", "host": "m1"}
    table = parquet.read_table(write_runs(tmp_path, [good, bad]))
    assert table.column_names == list(RUN_COLUMNS)
    first, second = table.to_pylist()
    assert (first["name"], first["error"], first["frames"], first["started"]) == ("a", "no colour", None, None)
    assert (second["frames"], second["median_residual_m"], second["error"]) == (3, 0.001, None)
    assert second["started"] == datetime.fromtimestamp(1_700_000_000.25, timezone.utc)
    assert parquet.read_table(write_runs(tmp_path, [])).num_rows == 0
    assert [path.name for path in tmp_path.iterdir()] == ["runs.parquet"]


def test_frames(tmp_path: Path) -> None:
    stamp = 1_700_000_000_123_456_789           # more digits than a float holds
    for name, frames in (("b", [frame(stamp, "tracked", 0.002), frame(stamp + 1, "lost", None)]), ("a", [frame(5, "matched", None)])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps({"frames": frames}))
    table = parquet.read_table(write_frames(tmp_path, {name: tmp_path / name for name in "ba"}))
    assert table.column_names == list(FRAME_COLUMNS)
    rows = table.to_pylist()
    assert [(row["name"], row["frame"], row["stamp_ns"]) for row in rows] == [("a", 0, 5), ("b", 0, stamp), ("b", 1, stamp + 1)]
    assert rows[1]["milliseconds"] == 32.5 and rows[1]["milliseconds_extract"] == 30.0 and rows[1]["milliseconds_write"] is None
    assert (rows[1]["residual_m"], rows[2]["residual_m"], rows[2]["is_reference"]) == (0.002, None, False)
