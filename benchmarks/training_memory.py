#!/usr/bin/env python3
"""Memory that one batch of training takes at its peak, forward and backward, for the modes of a config as they are, or for others.

    ./run exec python benchmarks/training_memory.py --images DIR [--modes ts1 ts-fl end2end-fl] [--precision auto float32] [--set pairs=3]

On the CPU: the bytes of all tensors that live at once, by the profiler's record of allocations, less those that lived before. They are the
same on a GPU, but for the scratch memory of its libraries. The pairs are easy ones and the weights official, so that most slots for matches
are filled.
"""
from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from dalf_training.checkpoint import RunFolder
from dalf_training.config import CONFIGS, PRECISIONS, load_config
from dalf_training.data.photo_cache import open_photos
from dalf_training.data.photo_loader import PhotoLoader
from dalf_training.distributed import World
from dalf_training.modes import MODES, prepare, train_parts
from dalf_training.trainer import Trainer

from dalf_core.weights import load_network

EASY = ("difficulty=0.7", "rotation=20")


def peak_bytes(work: Callable[[], object]) -> int:
    """The most bytes of CPU tensors made in `work` that live at once."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profile:
        work()
    events = profile.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    live = most = 0
    for _, change in changes:
        live += change
        most = max(most, live)
    return most


def measure(options: argparse.Namespace, mode: str, precision: str, scratch: Path) -> tuple[int, float, int]:
    """Pairs of the batch, matches a pair, and peak bytes."""
    config = load_config(CONFIGS / "default.yaml", [*EASY, f"precision={precision}", *options.settings], mode)
    cache = open_photos(options.images, config.photo_size, config.crop_size, options.cache or scratch, progress=False)
    trainer = Trainer(config, cache, RunFolder(scratch / "run"), World(0, 1, torch.device("cpu")), load_network(options.weights)[0])
    for parameter in prepare(trainer.network, MODES[mode], config.dropout):
        parameter.grad = torch.zeros_like(parameter)
    train_parts(trainer.network, MODES[mode])
    with PhotoLoader(cache, cache.training(), config, 0, 0, torch.device("cpu")) as loader:
        batch = loader.batch(0)
    matches = []

    def work() -> None:
        outcome, _ = trainer._batch(config, batch)
        outcome.loss.backward()
        matches.append(float(outcome.measures[2]))

    most = peak_bytes(work)
    return config.pairs, matches[0], most


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", type=Path, required=True, help="folder of photos")
    p.add_argument("--weights", default=os.environ.get("DALF_WEIGHTS", "official"), help="default $DALF_WEIGHTS, else the official ones")
    p.add_argument("--modes", nargs="+", choices=tuple(MODES), default=["ts1", "ts-fl", "end2end-fl"])
    p.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["auto", "float32"])
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help="a setting of the trainer; repeatable")
    p.add_argument("--cache", type=Path, help="folder of the resized photos; default: a temporary one")
    return p


def main() -> None:
    options = parser().parse_args()
    print(f"{'mode':18} {'precision':10} {'pairs':>5} {'matches a pair':>14} {'peak GB':>8}")
    with tempfile.TemporaryDirectory() as scratch:
        for mode in options.modes:
            for precision in options.precision:
                pairs, matches, most = measure(options, mode, precision, Path(scratch))
                print(f"{mode:18} {precision:10} {pairs:5} {matches:14.0f} {most / 1e9:8.2f}", flush=True)


if __name__ == "__main__":
    main()
