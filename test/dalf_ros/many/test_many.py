"""`register-many` itself: on two machines of a cluster, both played by this one, with processes killed; and alone, with bad input."""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from dalf_ros.many import command as many
from dalf_ros.many.cluster import LOCAL, NOT_STARTED, OBJECT_STORE_BYTES, QUIET

parquet = pytest.importorskip("pyarrow.parquet")
QUICK = ("--weights", "light", "--top-k", "100", "--no-video", "--no-depth", "--memory", "500M")


@pytest.fixture(scope="module")
def recordings(scene: type, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five good ones of which two have the same name, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("recordings")
    for name in ("monday/cloth", "tuesday/cloth", "foam", "paper", "rubber"):
        (folder / name).parent.mkdir(exist_ok=True)
        scene.write_bag2(folder / name, scene.messages(3, (scene.color, scene.depth, scene.info)))
    (folder / "broken.mcap").write_bytes(b"\x89MCAP0\r\nnot a recording")
    return folder


NAMES = ["broken", "foam", "monday-cloth", "paper", "rubber", "tuesday-cloth"]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster of two machines with a core each, which hear the loopback alone."""
    for name, value in {**QUIET, **LOCAL, "RAY_AUTH_TOKEN": "of-the-test-" + 32 * "0"}.items():
        monkeypatch.setenv(name, value)
    pytest.importorskip("ray")
    from ray._private.node import Node
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES, "memory": 2 << 30}
    with patch.multiple(Node, **{name: lambda *_, **__: None for name in NOT_STARTED}):
        made = Cluster(initialize_head=True, head_node_args=size | {"include_dashboard": False})
        made.add_node(**size)
    yield made.address
    made.shutdown()


class Driver:
    """A `register-many` in a process of its own."""

    def __init__(self, *arguments: object) -> None:
        words = [sys.executable, "-m", "dalf_ros.many", *map(str, arguments)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def until(self, found: Callable[[], object], seconds: float = 120.0) -> object:
        deadline = time.monotonic() + seconds
        while not (thing := found()):
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return thing

    def end(self, number: int = 0, seconds: float = 120.0) -> tuple[int, str]:
        """Exit status and output; after a signal, if one is given."""
        if number:
            self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, output


def running(session: int) -> list[str]:
    """Programs of a session, but for those that have ended and were not asked yet how."""
    listed = subprocess.run(["ps", "-eo", "sid,stat,args"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[1:]
    return [line for line in listed if line.split()[0] == str(session) and line.split()[1][0] != "Z"]


def done(output: Path) -> set[str]:
    return {path.name for path in (output / "runs").glob("*")}


@pytest.mark.slow
def test_killed_workers_and_a_killed_driver(cluster: str, recordings: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    words = (recordings, "--output", output, "--address", cluster, *QUICK)
    first = Driver(*words)
    # the process that works at a good recording, which its folder names, is killed; another one does it
    begun = first.until(lambda: [path.name for path in (output / ".parts").glob("*") if not path.name.startswith("broken")])
    name, process, _ = begun[0].rsplit(".", 2)
    assert name not in done(output)
    os.kill(int(process), signal.SIGKILL)
    first.until(lambda: len(done(output)) >= 2)
    assert first.end(signal.SIGKILL)[0] == -signal.SIGKILL and not (output / "runs.parquet").exists()
    assert len(done(output)) < 5, "all were done before the driver was killed: make the recordings longer"
    assert not (output / "failed" / f"{name}.json").exists()            # it was given to another process, or waits for one
    kept = {path: path.stat().st_mtime_ns for path in output.glob("runs/*/metrics.json")}

    status, text = Driver(*words).end()
    assert status == 1 and f"6 recordings: {len(kept)} registered already, {6 - len(kept)} to do" in text, text
    assert {path: path.stat().st_mtime_ns for path in kept} == kept                         # not done again
    runs = parquet.read_table(output / "runs.parquet").to_pylist()
    assert [run["name"] for run in runs] == NAMES
    for run in runs[1:]:
        assert (run["status"], run["error"], run["frames"], run["matched"]) == ("done", None, 3, 3)
        assert Path(run["source"]) == recordings / run["name"].replace("-", "/")
    assert runs[0]["status"] == "failed" and runs[0]["error"] in text and (output / "failed" / "broken.txt").is_file()
    frames = parquet.read_table(output / "frames.parquet").to_pylist()
    assert [(row["name"], row["frame"]) for row in frames] == [(name, number) for name in NAMES[1:] for number in range(3)]
    assert {row["stamp_ns"] for row in frames if row["frame"] == 0} == {1_700_000_000_000_000_000}
    assert all(row["status"] == "matched" and row["verified"] > 20 for row in frames)
    assert not list((output / ".parts").iterdir())


def test_ctrl_c_leaves_nothing_behind(recordings: Path, tmp_path: Path) -> None:
    """On a cluster of its own, which ends with it. (test/network has one that goes through.)"""
    output = tmp_path / "out"
    driver = Driver(recordings / "foam", "--output", output, *QUICK)
    driver.until(lambda: list((output / ".parts").glob("*")))
    status, text = driver.end(signal.SIGINT)
    assert status == 130 and "the same call goes on from there" in text and "Traceback" not in text, text
    assert not list((output / ".parts").iterdir()) and parquet.read_table(output / "runs.parquet").num_rows == len(done(output))
    deadline = time.monotonic() + 60        # the raylet's children end a moment after it
    while running(driver.process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running(driver.process.pid)


@pytest.mark.parametrize(("arguments", "message"), [
    (["nothing_*.bag"], "nothing matches nothing_*.bag"),
    (["a.bag", "--address", "127.0.0.1:9"], "--address 127.0.0.1:9 does not answer"),
    (["a.bag", "--address", "nowhere"], "expected host:port"),
    (["a.bag", "--address", "ray://127.0.0.1:10001"], "is of a Ray client"),
    (["a.bag", "--device", "cuda"], "--device cuda needs --gpus-per-recording"),
    (["a.bag", "--cpus-per-recording", "0"], "--cpus-per-recording must be at least 0.1"),
    (["a.bag", "--cpus-per-recording", "1.5"], "must be a whole number"),
    (["a.bag", "--max-frames", "0"], "--max-frames must be at least 1"),
    (["a.bag", "--memory", "much"], "'much' is no amount of memory"),
    (["a.bag", "--weights", "nowhere.pth"], "no such file")])
def test_what_cannot_be_is_told_in_one_line(arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                            command) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, errors = command(many.main, *arguments, "--output", tmp_path / "out")
    assert status == 2 and message in errors and "Traceback" not in errors


def test_other_options_are_refused(tmp_path: Path, command, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the records of what was done; nothing is registered here, and nothing is begun."""
    given = many.parser().parse_args([str(tmp_path / "a.bag"), "--output", str(tmp_path / "out"), "--top-k", "100"])
    options = many._run_options(given)
    (tmp_path / "a.bag").write_bytes(b"12345")
    run = tmp_path / "out" / "runs" / "a"
    run.mkdir(parents=True)
    record = {"name": "a", "source": str(tmp_path / "a.bag"), "source_bytes": 5, "status": "done", "frames": 1,
              "options": many.options_of(options)}
    (run / "run.json").write_text(json.dumps(record))
    (run / "metrics.json").write_text('{"frames": []}')
    words = (tmp_path / "a.bag", "--output", tmp_path / "out")
    assert command(many.main, *words, "--top-k", 100)[0] == 0
    status, _, errors = command(many.main, *words, "--top-k", 200)
    assert status == 2 and re.search(r"1 recording in .* registered otherwise \(a: top_k was 100, is 200\): give --overwrite", errors)
    (tmp_path / "a.bag").write_bytes(b"123456")
    status, _, errors = command(many.main, *words, "--top-k", 100)
    assert status == 2 and "the recording had 5 bytes, and has 6" in errors
