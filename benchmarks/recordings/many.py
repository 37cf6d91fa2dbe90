#!/usr/bin/env python3
"""`register-many` against a loop over `register`, on the same recordings, on this machine; and whether the results are the same.

    ./run exec python benchmarks/recordings/many.py [--recordings 12] [--frames 6] [--work DIR] [-- OPTIONS OF register]

The recordings are pieces of the demo's simulated cloth. Both ways start from nothing, each through ./run, and take the same options, after
`--`. The first, untimed run of one recording fills the caches of compiled code. Compared are metrics.json without its times, meshes, and
every message of the results bags, bit for bit, but for the time that /status tells. The load of the machine is told before and after.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RUN = str(ROOT / "run")
OPTIONS = ["--image-scale", "0.5", "--top-k", "500", "--no-video"]
STATUS = "/status"


def make_recordings(folder: Path, count: int, frames: int) -> list[Path]:
    """Bags of so many frames each, one after the other in the simulated motion."""
    from dalf_ros.bags.bag_source import BagSource
    from dalf_ros.bags.bag_writer import BagWriter
    from dalf_ros.simulate import simulate

    bag, made = simulate(folder / "whole", count * frames), []
    with BagSource(bag) as source:
        messages = list(source.messages())
    stamps = sorted({message.time_ns for message in messages})
    for number in range(count):
        piece = set(stamps[number * frames:(number + 1) * frames])
        made.append(folder / "pieces" / f"piece_{number:02d}")
        if made[-1].exists():
            continue
        made[-1].parent.mkdir(exist_ok=True)
        with BagWriter(made[-1]) as writer:
            for message in messages:
                if message.time_ns in piece:
                    writer.write_raw(message.topic, message.type, message.time_ns, message.data)
    return made


def timed(title: str, *commands: list[str]) -> float:
    """Seconds for the commands, one after the other."""
    before, started = os.getloadavg()[0], time.perf_counter()
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    seconds = time.perf_counter() - started
    print(f"{title}: {seconds:.1f} s (load {before:.1f} before, {os.getloadavg()[0]:.1f} after)", flush=True)
    return seconds


def content(folder: Path) -> dict[str, Any]:
    """All results of a run but how long they took."""
    from dalf_ros.bags.bag_source import BagSource

    frames = json.loads((folder / "metrics.json").read_text())["frames"]
    found: dict[str, Any] = {"frames": [{name: value for name, value in frame.items() if name != "milliseconds"} for frame in frames]}
    found |= {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.ply")}
    digests: dict[str, Any] = {}
    with BagSource(folder / "results") as source:
        for raw in source.messages():
            data = raw.data
            if raw.topic == STATUS:
                message = source.deserialize(raw)
                message.milliseconds = 0.0
                data = repr(message).encode()
            digests.setdefault(raw.topic, hashlib.sha256()).update(data)
    return found | {topic: digest.hexdigest() for topic, digest in digests.items()}


def summary(folder: Path) -> str:
    """Of the table: what one recording cost."""
    from pyarrow import parquet

    runs = parquet.read_table(folder / "runs.parquet").to_pylist()
    frames = sum(run["frames"] for run in runs)
    memory, written = max(run["peak_memory_bytes"] for run in runs), sum(run["result_bytes"] for run in runs)
    seconds = sorted(run["seconds"] for run in runs)
    return (f"{frames} frames; seconds of a recording: median {seconds[len(seconds) // 2]:.1f}, first {max(seconds):.1f}; largest process "
            f"{memory / 2 ** 20:.0f} MiB; {written / frames / 1e3:.0f} kB of results a frame")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 the results are the same, 1 they are not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=12)
    parser.add_argument("--frames", type=int, default=6, help="of each")
    parser.add_argument("--work", type=Path, help="folder for recordings and results; a temporary one when not given")
    parser.add_argument("options", nargs="*", default=OPTIONS, metavar="OPTION", help=f"of register, after --: {' '.join(OPTIONS)}")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="dalf_many_") as temporary:
        work = (given.work or Path(temporary)).resolve()
        bags = make_recordings(work, given.recordings, given.frames)
        stamp = f"{time.time():.0f}"
        loop, many = work / f"loop_{stamp}", work / f"many_{stamp}"
        timed("one recording, to fill caches", [RUN, "register", str(bags[0]), "--output", str(work / f"warm_{stamp}"), *given.options])
        looped = timed(f"a loop over register, {len(bags)} recordings",
                       *([RUN, "register", str(bag), "--output", str(loop / bag.name), *given.options] for bag in bags))
        together = timed("register-many", [RUN, "register-many", *map(str, bags), "--output", str(many), *given.options])
        print(f"ratio {looped / together:.2f}; {summary(many)}")
        other = [bag.name for bag in bags if content(loop / bag.name) != content(many / "runs" / bag.name)]
        print(f"results differ in: {', '.join(other)}" if other else "results are the same, bit for bit")
    return int(bool(other))


if __name__ == "__main__":
    sys.exit(main())
