#!/usr/bin/env python3
"""Throughput of training, in image pairs a second: ours, and the original's step, in the same run on the same machine.

    ./run exec python benchmarks/training.py --images DIR [--official DIR] [--modes ts1 ts-fl] [--device cuda]

The official checkout (verlab/DALF_CVPR_2023) runs its own train.py as it stands, but for the device, the number of photos it loads and its
choice of photos rich in corners. Both train at 300x200 with the original's number of pairs, and from the same start: random weights in
stage ts1, the official checkpoint in ts-fl. A step is everything: photos, warps, network, losses, gradients, optimiser, records.
Quote the ratios: absolute times are the machine's. On a machine with other work, the CPU seconds are the steadier ones.
"""
from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

PAIRS = {"ts1": 12, "ts-fl": 6}             # of the original
SIZE = (300, 200)
PHOTOS = 24
# what the original's train.py is changed in: text, replacement
CHANGES = {"torch.device('cuda')": "torch.device('{device}')", "if not torch.cuda.is_available()": "if False", "3_000": str(PHOTOS),
           "num_test_imgs = 100": "num_test_imgs = 1"}


class Enough(Exception):
    """All steps were timed."""


class Stopwatch:
    """Called at every step's end; keeps wall and CPU seconds of each, and raises Enough after the last."""

    def __init__(self, steps: int, synchronise: Callable[[], None]) -> None:
        self.steps, self.synchronise = steps, synchronise
        self.times = [self._now()]

    def _now(self) -> tuple[float, float]:
        self.synchronise()
        return time.perf_counter(), sum(os.times()[:2])

    def __call__(self) -> None:
        self.times.append(self._now())
        if len(self.times) > self.steps:
            raise Enough

    def best(self) -> dict[str, float]:
        """Least seconds of a step."""
        wall, cpu = zip(*((b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(self.times)))
        return {"wall": min(wall), "cpu": min(cpu)}


def run_original(options: argparse.Namespace, mode: str, photos: Path, scratch: Path, stopwatch: Stopwatch) -> None:
    """train.py of the official checkout, its progress bar replaced by the stopwatch."""
    import cv2
    import tqdm

    source = (options.official / "train.py").read_text()
    for text, replacement in CHANGES.items():
        if text not in source:
            sys.exit(f"{options.official}/train.py holds no {text!r}: it is not the version this benchmark was written for")
        source = source.replace(text, replacement.format(device=options.device))
    stand_in_for_torchvision()
    cv2.FastFeatureDetector_create = lambda *_: types.SimpleNamespace(detect=lambda _: range(10_000))
    tqdm.tqdm = lambda items=None, **_: Bar(items, stopwatch)
    os.chdir(options.official)
    sys.path.insert(0, str(options.official))
    sys.argv = ["train.py", "-m", mode, "-dpath", f"{photos}/*", "-log", str(scratch), "-s", str(scratch), "-pre", str(options.weights)]
    exec(compile(source, "train.py", "exec"), {"__name__": "__main__"})


class Bar:
    """Stands for the original's progress bars: over its photos, and around its steps."""

    def __init__(self, items: object, stopwatch: Stopwatch) -> None:
        self.items, self.stopwatch = items, stopwatch

    def __iter__(self) -> Iterator[object]:
        return iter(self.items)         # type: ignore[call-overload]

    def __enter__(self) -> Bar:
        self.stopwatch.times = self.stopwatch.times[-1:]
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def set_description(self, _: str) -> None:
        pass

    def update(self, _: int) -> None:
        self.stopwatch()


def stand_in_for_torchvision() -> None:
    """The original draws patches side by side with it, every 200 steps, and imports more than it uses."""
    import torch

    def make_grid(images: torch.Tensor, **_: object) -> torch.Tensor:
        return torch.cat(list(images), dim=2).expand(3, -1, -1)

    for name in ("torchvision", "torchvision.transforms", "torchvision.utils"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["torchvision.utils"].make_grid = make_grid                      # type: ignore[attr-defined]
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]       # type: ignore[attr-defined]


def run_ours(options: argparse.Namespace, mode: str, photos: Path, scratch: Path, stopwatch: Stopwatch) -> None:
    """The trainer as the command runs it."""
    import torch
    from dalf_training.checkpoint import RunFolder
    from dalf_training.config import TrainingConfig
    from dalf_training.data.photo_cache import open_photos
    from dalf_training.distributed import World
    from dalf_training.memory import keep_freed_memory
    from dalf_training.trainer import Trainer

    from dalf_core.features.network import DalfNetwork
    from dalf_core.weights import load_network

    keep_freed_memory()
    config = TrainingConfig(mode=mode, pairs=PAIRS[mode] * options.times, accumulate=1, steps=10_000, crop_size=SIZE, matches=1000,
                            compile=options.compile, validation_pairs=3, precision=options.precision)
    cache = open_photos(photos, config.photo_size, config.crop_size, scratch / "cache", progress=False)
    network = DalfNetwork() if mode == "ts1" else load_network(options.weights)[0]
    stopwatch.times = stopwatch.times[-1:]
    with RunFolder(scratch / "run") as folder:
        Trainer(config, cache, folder, World(0, 1, torch.device(options.device)), network).run(lambda: bool(stopwatch()))


def measure(options: argparse.Namespace, who: str, mode: str) -> dict[str, float]:
    """One variant in this process: pairs a second, CPU seconds a pair, peak GPU memory in GB."""
    import torch

    torch.set_num_threads(options.threads)
    on_gpu = options.device.startswith("cuda")
    stopwatch = Stopwatch(options.steps, torch.cuda.synchronize if on_gpu else lambda: None)
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch) / "photos"
        photos.mkdir()
        found = sorted(path for path in options.images.resolve().rglob("*") if path.suffix.lower() in (".webp", ".jpg", ".png"))
        for path in found[:PHOTOS + 8]:
            (photos / path.name).symlink_to(path)
        try:
            (run_original if who == "original" else run_ours)(options, mode, photos, Path(scratch), stopwatch)
        except Enough:
            pass
    pairs, best = PAIRS[mode] * (options.times if who == "ours" else 1), stopwatch.best()
    memory = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else 0.0
    return {"pairs_per_second": pairs / best["wall"], "cpu_per_pair": best["cpu"] / pairs, "memory": memory}


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", type=Path, required=True, help="folder of at least 40 photos")
    p.add_argument("--official", type=Path, help="checkout of the official code")
    p.add_argument("--weights", default=os.environ.get("DALF_WEIGHTS"), help="the official checkpoint; default $DALF_WEIGHTS")
    p.add_argument("--modes", nargs="+", choices=tuple(PAIRS), default=list(PAIRS))
    p.add_argument("--device", default="cpu")
    p.add_argument("--precision", default="auto")
    p.add_argument("--compile", action="store_true", help="torch.compile our network")
    p.add_argument("--times", type=int, default=1, help="our batches are so many times as large as the original's")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=5, help="timed steps; the fastest counts")
    p.add_argument("--variant", nargs=2, help=argparse.SUPPRESS)
    return p


def main() -> None:
    options = parser().parse_args()
    if options.weights is None:
        parser().error("name the official checkpoint: --weights FILE, or DALF_WEIGHTS")
    options.weights = Path(options.weights).resolve()
    options.official = options.official and options.official.resolve()
    if options.variant:
        print("\n" + json.dumps(measure(options, *options.variant)))
        return
    print(f"{'':16} {'pairs/s':>8} {'CPU s a pair':>13} {'GPU GB':>7} {'times as fast':>14}")
    for mode in options.modes:
        base = None
        for who in ("original", "ours") if options.official else ("ours",):
            done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--variant", who, mode], capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{who} {mode} failed:\n{done.stderr}")
            row = json.loads(done.stdout.splitlines()[-1])
            base = base or row
            print(f"{who + ' ' + mode:16} {row['pairs_per_second']:8.2f} {row['cpu_per_pair']:13.2f} {row['memory']:7.1f} "
                  f"{row['pairs_per_second'] / base['pairs_per_second']:14.1f}", flush=True)


if __name__ == "__main__":
    main()
