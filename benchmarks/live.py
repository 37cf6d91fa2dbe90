#!/usr/bin/env python3
"""A recording played through the real nodes at its real speed, each a process of its own: how often, how old, how good, at what cost.

    ./run demo --no-live --output out/demo
    ./run exec python benchmarks/live.py out/demo [--scene turned] [--rate 1.0] [--tracker] [--set top_k:=800] [--json live.json]
    ./run exec python benchmarks/live.py RECORDING.mcap --mask-topic /camera/object_mask --set image_scale:=2.0

The recording is a folder of `./run demo` or `./run simulate` (bag/ and truth.npz), or any recording with colour, depth and camera_info;
without a truth the errors are left out. What is measured and how: docs/benchmarks.md, "Live".
"""
from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from tqdm import tqdm

from dalf_core.files.whole_file import write_whole
from dalf_ros import register
from dalf_ros.bags.bag_source import BagError, BagSource
from dalf_ros.demo.live import LiveError, LiveSetup, run_live
from dalf_ros.demo.live_report import LiveReport, measure
from dalf_ros.demo.played_recording import PlayedRecording
from dalf_ros.simulation.recording import MASK_TOPIC
from dalf_ros.simulation.scenes import SCENES, covers, record_scene
from dalf_ros.simulation.truth import GroundTruth

PLAIN = SCENES[0]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recording", type=Path, help="folder with bag/ and truth.npz, or a recording")
    p.add_argument("--scene", choices=SCENES, default=PLAIN, help="made from the simulated cloth, see benchmarks/tracking.py; kept in "
                   "--output (default: %(default)s, the recording as it is)")
    p.add_argument("--rate", type=float, default=1.0, help="speed, 1 = as recorded (default)")
    p.add_argument("--loops", type=int, default=1, help="play it so often; the nodes begin anew each time (default: 1)")
    p.add_argument("--tracker", action="store_true", help="both nodes in one process, not in two as the launch files have them")
    p.add_argument("--mask-topic", help=f"'' for none (default: {MASK_TOPIC} where the recording has it)")
    p.add_argument("--set", action="append", default=[], metavar="NAME:=VALUE", help="parameter of the nodes; may be repeated")
    p.add_argument("--offline", action="store_true", help="follow it offline too, every frame, where there is no registration/ beside it")
    p.add_argument("--output", type=Path, default=Path("out/live"), help="folder for logs, scenes and offline runs (default: %(default)s)")
    p.add_argument("--json", type=Path, metavar="FILE", help="the numbers, too")
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 measured, 2 an error, 130 interrupted."""
    options = parser().parse_args(args)
    try:
        report = benchmark(options)
    except KeyboardInterrupt:
        return 130
    except (BagError, LiveError, OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report.table())
    if options.json:
        write_whole(options.json, (json.dumps(report.as_dict(), indent=1) + "\n").encode())
    return 0


def benchmark(options: argparse.Namespace) -> LiveReport:
    """Play and measure."""
    parameters = dict(_assignment(words) for words in options.set)
    logs = options.output / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    folder = options.recording if options.scene == PLAIN else scene(options.scene, options.recording, options.output)
    bag = folder / "bag" if (folder / "bag").is_dir() else folder
    truth = GroundTruth.load(folder / "truth.npz") if (folder / "truth.npz").is_file() else None
    mask = _mask_topic(bag) if options.mask_topic is None else options.mask_topic
    offline = offline_run(folder, bag, mask, options) if truth else None
    played = PlayedRecording.read(bag, mask)
    setup = LiveSetup(played, options.rate, not options.tracker, options.loops, parameters)
    print(f"{bag}, {options.scene if truth else 'no truth'}, rate {options.rate:g}, {'tracker' if options.tracker else 'two processes'}, "
          f"mask {mask or 'none'}, {' '.join(options.set) or 'default parameters'}, offline {offline or 'not run'}")
    return measure(run_live(setup, logs), played, options.rate, truth, covers(options.scene), offline)


def scene(name: str, source: Path, output: Path) -> Path:
    """The scene's folder; made when it is not there. Raises ValueError when it was made from another recording."""
    target, mark = output / name, output / name / "source.txt"
    written = source / "truth.npz"
    if not written.is_file():
        raise ValueError(f"{source} has no truth.npz: scenes are made from what ./run demo or ./run simulate writes")
    origin = f"{written.resolve()} {written.stat().st_mtime_ns}\n"
    if mark.is_file():
        if mark.read_text() != origin:
            raise ValueError(f"{target} was made from another recording ({mark}): delete it or give another --output")
        return target
    shutil.rmtree(target, ignore_errors=True)       # of a run that was interrupted
    target.mkdir(parents=True)
    with tqdm(desc=f"making {name}", unit="frame") as bar:
        record_scene(name, source, target, progress=lambda: bar.update() and None)
    mark.write_text(origin)
    return target


def offline_run(folder: Path, bag: Path, mask: str, options: argparse.Namespace) -> Path | None:
    """The folder of an offline run over the same recording; None where there is none and none is asked for. Raises RuntimeError."""
    beside, own = folder / "registration", options.output / options.scene / "registration"
    if (beside / "metrics.json").is_file():
        return beside
    if not options.offline:
        return None
    words = [str(bag), "--output", str(own), "--overwrite"] + (["--mask-topic", mask] if mask else [])
    shared = {"top_k", "image_scale", "weights", "device"}
    for name, value in map(_assignment, options.set):
        words += [f"--{name.replace('_', '-')}", value] if name in shared else []
    if register.main(words) != 0:
        raise RuntimeError("following the recording offline failed, see above")
    return own


def _mask_topic(bag: Path) -> str:
    with BagSource(bag) as source:
        return MASK_TOPIC if MASK_TOPIC in source.topics else ""


def _assignment(words: str) -> tuple[str, str]:
    name, separator, value = words.partition(":=")
    if not (name and separator and value):
        raise ValueError(f"--set {words}: write NAME:=VALUE")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
