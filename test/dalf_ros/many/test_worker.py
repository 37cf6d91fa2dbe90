"""One recording in a worker: what is kept, and what becomes of errors. `register` itself is stood in for."""
from __future__ import annotations

import argparse
import errno
import json
import sys
from pathlib import Path

import pytest

from dalf_ros.bags.bag_source import BagError
from dalf_ros.many import worker
from dalf_ros.many.sources import Source
from dalf_ros.many.store import Store, StoreError, differences, options_hash
from dalf_ros.many.worker import Job, register_one
from dalf_ros.offline import registration_run

SUMMARY = {"frames": 1, "status": {"tracked": 1}, "tracked_fraction": 1.0, "median_residual_m": 0.001, "median_matches": 9.0,
           "median_inliers": 8.0, "frames_per_second": 5.0, "recording": "scratch"}
ORIGIN = {"device": "cpu", "backend": "b", "precision": "float32", "weights_sha256": "0", "version": "1.0", "recording": "scratch"}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(worker, "_extractor", lambda *options: None)
    monkeypatch.setattr(registration_run, "run", good_run)
    with Store(tmp_path / "out"):
        pass
    options = argparse.Namespace(weights="", device="cpu", top_k=9, precision="auto")
    told = {"top_k": 9}
    return Job("cloth", Source("/data/cloth.bag", 77), tmp_path / "out", options, told, options_hash(told))


def good_run(options: argparse.Namespace, dalf: object) -> int:
    print("what register prints", options.output)
    metrics = {"summary": SUMMARY, "options": ORIGIN | {"output": "scratch"}, "frames": [{"stamp_ns": 5}]}
    (options.output / "metrics.json").write_text(json.dumps(metrics))
    return 0


def test_what_a_run_leaves(job: Job, tmp_path: Path) -> None:
    (job.folder / "failed" / "cloth.json").write_text("{}")         # it had failed before
    record = register_one(job)
    run = job.folder / "runs" / "cloth"
    assert {path.name for path in run.iterdir()} == {"metrics.json", "log.txt", "run.json"}
    assert (record["status"], record["error"], record["frames"], record["source_bytes"]) == ("done", None, 1, 77)
    assert record["peak_memory_bytes"] > 10 << 20 and record["result_bytes"] > 100
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["options"]["output"] == str(run) and metrics["summary"]["recording"] == "/data/cloth.bag"
    assert (run / "log.txt").read_text() == f"what register prints {run}\n"
    kept, = Store(job.folder).done().values()
    assert kept == record | {"options": {"top_k": 9}} and not list((job.folder / "failed").iterdir())


def test_nothing_followed_is_kept_with_its_reason(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(options: argparse.Namespace, dalf: object) -> int:
        print("error: nothing was followed: no depth", file=sys.stderr)
        return good_run(options, dalf) or 1

    monkeypatch.setattr(registration_run, "run", run)
    record = register_one(job)
    assert (record["status"], record["error"]) == ("not_followed", "nothing was followed: no depth")
    assert (job.folder / "runs" / "cloth" / "metrics.json").is_file()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), BagError("no topic\nwith colour"), MemoryError(),
                                   AssertionError("a fault of the program")])
def test_what_fails_is_a_row_and_leaves_a_log_alone(job: Job, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def run(options: argparse.Namespace, dalf: object) -> int:
        print("this far")
        (options.output / "results").mkdir()
        raise error

    monkeypatch.setattr(registration_run, "run", run)
    record = register_one(job)
    assert record["status"] == "failed" and record["error"] == (" ".join(str(error).split()) or "MemoryError") and record["seconds"] >= 0
    log = (job.folder / "failed" / "cloth.txt").read_text()
    assert log.startswith("this far\n") and type(error).__name__ in log
    assert not list((job.folder / "runs").iterdir()) and not list((job.folder / ".parts").iterdir())


def test_a_disk_that_is_full_at_the_end(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the record is written, after all else."""
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(worker, "write_whole", full)
    assert "No space left" in register_one(job)["error"]
    assert not list((job.folder / "runs").iterdir()) and not list((job.folder / ".parts").iterdir())


def test_the_second_of_two_that_did_the_same_gives_way(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was thought lost, with its machine, may come first all the same."""
    first = register_one(job)
    assert register_one(job)["started"] == first["started"]
    record = json.loads((job.folder / "runs" / "cloth" / "run.json").read_text())
    assert record["started"] == first["started"]


def test_a_machine_that_does_not_see_the_folder(job: Job) -> None:
    for folder in ("runs", "failed", ".parts"):
        (job.folder / folder).rmdir()
    assert "a folder that all machines of the cluster see" in register_one(job)["error"]


def test_two_at_once_in_one_folder(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        (store.parts / "cloth.1.x").mkdir()
        with pytest.raises(StoreError, match="another register-many works in"), Store(tmp_path):
            pass
    with Store(tmp_path) as store:
        assert not list(store.parts.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"), Store(tmp_path / "file" / "out"):
        pass


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "run.json").write_text("{")
    with pytest.raises(StoreError, match=r"runs/a/run.json is damaged .*: delete .*runs/a, then call again"):
        Store(tmp_path).done()


def test_options_that_differ_are_told() -> None:
    assert differences({"a": 1, "b": 2, "old": 3}, {"a": 1, "b": 4}) == "b was 2, is 4; old was 3, is None"
    assert options_hash({"a": 1, "b": 2}) == options_hash({"b": 2, "a": 1}) != options_hash({"a": 1, "b": 3})
