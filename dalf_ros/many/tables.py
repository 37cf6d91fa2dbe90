"""runs.parquet, one row a recording, and frames.parquet, one row a frame."""
from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dalf_core.files.whole_file import whole_file

RUNS, FRAMES = "runs.parquet", "frames.parquet"
# of metrics.json, each a column milliseconds_...
STAGES = ("extract", "second_look", "keyframes", "match", "verify", "carry", "reference", "register", "write")

# name: type of pyarrow. Lengths in metres, stamps in nanoseconds, `started` in UTC; what a failed run has not is null.
RUN_COLUMNS = {"name": "string", "source": "string", "status": "string", "error": "string", "frames": "int64", "tracked": "int64",
               "degraded": "int64", "lost": "int64", "matched": "int64", "tracked_fraction": "float64", "median_residual_m": "float64",
               "median_matches": "float64", "median_inliers": "float64", "frames_per_second": "float64", "first_stamp_ns": "int64",
               "last_stamp_ns": "int64", "seconds": "float64", "fetch_seconds": "float64", "host": "string", "attempts": "int64",
               "peak_memory_bytes": "int64", "source_bytes": "int64", "result_bytes": "int64", "options_hash": "string", "device": "string",
               "backend": "string", "precision": "string", "weights_sha256": "string", "version": "string", "started": "timestamp"}
FRAME_COLUMNS = {"name": "string", "frame": "int64", "stamp_ns": "int64", "status": "string", "reason": "string", "gap_s": "float64",
                 "matches": "int64", "verified": "int64", "inliers": "int64", "residual_m": "float64", "is_reference": "bool_",
                 "milliseconds": "float64", **{f"milliseconds_{stage}": "float64" for stage in STAGES}}


def write_runs(folder: Path, records: Iterable[dict[str, Any]]) -> Path:
    """One row a record, by name. Raises OSError."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = [record | {"started": _microseconds(record.get("started"))} for record in sorted(records, key=lambda record: record["name"])]
    with whole_file(folder / RUNS) as partial:
        parquet.write_table(pa.Table.from_pylist(rows, _schema(RUN_COLUMNS)), partial)
    return folder / RUNS


def write_frames(folder: Path, runs: dict[str, Path]) -> Path:
    """runs: by name, the folders of the runs; their metrics.json are read one after the other, each a row group. Raises OSError."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = _schema(FRAME_COLUMNS)
    with whole_file(folder / FRAMES) as partial, parquet.ParquetWriter(partial, schema) as writer:
        for name, run in sorted(runs.items()):
            frames = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["frames"]
            writer.write_table(pa.Table.from_pylist([_frame(name, number, frame) for number, frame in enumerate(frames)], schema))
    return folder / FRAMES


def _frame(name: str, number: int, frame: dict[str, Any]) -> dict[str, Any]:
    stages = frame["milliseconds"]
    return frame | {"name": name, "frame": number, "milliseconds": sum(stages.values())} | {
        f"milliseconds_{stage}": stages.get(stage) for stage in STAGES}


def _schema(columns: dict[str, str]) -> Any:
    import pyarrow as pa

    types = {"timestamp": pa.timestamp("us", tz="UTC")}
    return pa.schema([(name, types.get(kind) or getattr(pa, kind)()) for name, kind in columns.items()])


def _microseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(1e6 * seconds)
