"""What a worker does: one recording, from its address to a folder of results and a row of the table."""
from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dalf_core.files.whole_file import write_whole
from dalf_core.files.whole_folder import whole_folder

from .fetching import fetched
from .sources import Source
from .store import LOG, RECORD, Store

DONE, NOT_FOLLOWED, FAILED = "done", "not_followed", "failed"
KIBIBYTE = 1024
INTERRUPTED = 128       # exit statuses from here on


@dataclass(frozen=True)
class Job:
    """One recording to register. options: of `register`, paths absolute. told: them as records have them. overwrite: results of other
    options are there."""

    name: str
    source: Source
    folder: Path
    options: argparse.Namespace
    told: dict[str, Any]
    options_hash: str
    overwrite: bool = False


def work(job: Job, threads: int) -> dict[str, Any]:
    """As register_one, in a process of its own kind, where no more threads compute than it was given cores."""
    limit_threads(threads)
    return register_one(job)


def limit_threads(threads: int) -> None:
    """Of all libraries that compute. Works on those that are imported later; called once a process has computed, it changes nothing."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(threads)
    import cv2
    import torch

    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)


def register_one(job: Job) -> dict[str, Any]:
    """Register a recording. Returns its record: the row of the table; what goes wrong is told there, and nothing of the run is kept."""
    started = time.time()
    store = Store(job.folder)
    record: dict[str, Any] = {"name": job.name, "source": job.source.told, "source_bytes": job.source.size, "status": FAILED, "error": None,
                              "options_hash": job.options_hash, "host": socket.gethostname(), "started": started}
    log = store.failed / f"{job.name}.txt"
    try:
        if not store.runs.is_dir():
            raise OSError(f"{job.folder} is not there on {record['host']}: --output must be a folder that all machines of the cluster see")
        with whole_folder(store.runs / job.name, store.parts, job.overwrite) as part:
            try:
                record |= _registered(job, part, record)
            except BaseException:
                _keep_log(part / LOG, log)
                raise
        store.forget_failure(job.name)
    except Exception as error:
        there = store.runs / job.name / RECORD
        if isinstance(error, FileExistsError) and there.is_file():      # a worker that had been thought lost was first
            return json.loads(there.read_text(encoding="utf-8"))
        record |= {"error": " ".join(str(error).split()) or type(error).__name__, "seconds": time.time() - started}
    return record


def _registered(job: Job, part: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Fetch and register, everything printed to a log beside the results. Returns what the record did not hold."""
    from ..offline.registration_run import run

    with (part / LOG).open("w", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            with fetched(job.source.address) as path:
                fetch_seconds = time.time() - record["started"]
                options = copy(job.options)
                options.recording, options.output, options.overwrite, options.rerun = path, part, False, None
                status = run(options, _extractor(options.weights, options.device, options.top_k, options.precision))
            if status >= INTERRUPTED:
                raise RuntimeError("interrupted")
        except Exception:
            traceback.print_exc()
            raise
    text = (part / LOG).read_text(encoding="utf-8")
    (part / LOG).write_text(text.replace(str(part), str(job.folder / "runs" / job.name)), encoding="utf-8")
    metrics = _told_as_named(part / "metrics.json", job)
    found = _of_the_table(metrics) | {"status": NOT_FOLLOWED if status else DONE, "error": _last_error(part / LOG) if status else None,
                                      "fetch_seconds": fetch_seconds, "seconds": time.time() - record["started"]}
    found["peak_memory_bytes"] = KIBIBYTE * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found["result_bytes"] = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
    write_whole(part / RECORD, json.dumps(record | found | {"options": job.told}, indent=1).encode())
    return found


@lru_cache(maxsize=1)
def _extractor(weights: str, device: str, top_k: int, precision: str) -> Any:
    """Loading and compiling the network takes seconds: once a process."""
    from dalf_core import DALF

    return DALF(weights or None, device=device, top_k=top_k, precision=precision)


def _told_as_named(path: Path, job: Job) -> dict[str, Any]:
    """metrics.json, in which the recording and the folder are those that the user knows, not the scratch folders of this process."""
    metrics = json.loads(path.read_text(encoding="utf-8"))
    metrics["summary"]["recording"] = metrics["options"]["recording"] = job.source.told
    metrics["options"]["output"] = str(job.folder / "runs" / job.name)
    write_whole(path, (json.dumps(metrics, indent=1) + "\n").encode())
    return metrics


def _of_the_table(metrics: dict[str, Any]) -> dict[str, Any]:
    summary, options, frames = metrics["summary"], metrics["options"], metrics["frames"]
    counts = summary["status"]
    return {"frames": summary["frames"], "tracked": counts.get("tracked", 0), "degraded": counts.get("degraded", 0),
            "lost": counts.get("lost", 0), "matched": counts.get("matched", 0), "tracked_fraction": summary["tracked_fraction"],
            "first_stamp_ns": frames[0]["stamp_ns"], "last_stamp_ns": frames[-1]["stamp_ns"],
            **{name: summary[name] for name in ("median_residual_m", "median_matches", "median_inliers", "frames_per_second")},
            **{name: options[name] for name in ("device", "backend", "precision", "weights_sha256", "version")}}


def _last_error(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("error: ")]
    return lines[-1].removeprefix("error: ") if lines else ""


def _keep_log(source: Path, target: Path) -> None:
    try:
        target.write_bytes(source.read_bytes())
    except OSError:     # a full disk: the record tells the error all the same
        target.unlink(missing_ok=True)
