#!/usr/bin/env python3
"""Time of feature extraction: ours by each backend and precision, the light network, and the official code, in the same run on the same
image.

    ./run exec python benchmarks/extraction.py [--image FILE] [--official DIR] [--light WEIGHTS] [--size 3840x2160]

DIR is a checkout of the official repository (verlab/DALF_CVPR_2023). Quote the ratios: absolute times are the machine's. `peak` is the
resident memory of a process that does nothing else.
"""
from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
from official import official_extractor

DEFAULT_IMAGE = Path(__file__).parents[1] / "dalf_ros" / "simulation" / "data"
LOW_THRESHOLD = -30.0       # of the heatmap: low enough that every variant has its top_k keypoints


def official(folder: Path, weights: str, image: object, top_k: int) -> Callable[[], int]:
    extractor = official_extractor(folder, weights)
    return lambda: len(extractor.detectAndCompute(image, top_k=top_k, threshold=LOW_THRESHOLD)[0])


def ours(weights: str, image: object, top_k: int, backend: str, precision: str) -> Callable[[], int]:
    from dalf_core import DALF

    extractor = DALF(weights, "cpu", top_k=top_k, threshold=LOW_THRESHOLD, backend=backend, precision=precision)
    return lambda: len(extractor.extract(image))


def size(text: str) -> tuple[int, int]:
    """"WxH" to (W, H)."""
    width, height = text.split("x")
    return int(width), int(height)


def measure(options: argparse.Namespace, variant: str) -> dict:
    """Runs one variant in this process: best wall and CPU seconds of the rounds, keypoints, peak memory."""
    import torch

    torch.set_num_threads(options.threads)
    image = cv2.resize(cv2.imread(str(options.image)), options.size, interpolation=cv2.INTER_AREA)
    run = (official(options.official, options.weights, image, options.top_k) if variant == "official"
           else ours(options.light, image, options.top_k, *variant.split()[1:]) if variant.startswith("light ")
           else ours(options.weights, image, options.top_k, *variant.split()))
    keypoints = run()
    wall, cpu = [], []
    for _ in range(options.rounds):
        started, used = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    return {"wall": min(wall), "cpu": min(cpu), "keypoints": keypoints, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, default=next(DEFAULT_IMAGE.glob("*.jpg"), None), help="resized to --size")
    parser.add_argument("--size", type=size, default=(640, 480), metavar="WxH", help="pixels; default 640x480")
    parser.add_argument("--official", type=Path, help="checkout of the official code")
    parser.add_argument("--weights", default=os.environ.get("DALF_WEIGHTS"), help="the official checkpoint; default $DALF_WEIGHTS")
    parser.add_argument("--light", default="light", metavar="WEIGHTS", help="of the light network; default: the built-in ones")
    parser.add_argument("--top-k", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.weights is None:
        parser.error("name the official checkpoint: --weights FILE, or DALF_WEIGHTS")
    if options.variant:
        print(json.dumps(measure(options, options.variant)))
        return
    variants = ["pytorch float32", "openvino float32", "openvino bfloat16"]
    variants += [f"light {variant}" for variant in variants]
    if options.official:
        variants.insert(0, "official")
    rows = {}
    for variant in variants:
        done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--variant", variant], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{variant} failed:\n{done.stderr}")
        rows[variant] = json.loads(done.stdout.splitlines()[-1])
    base = rows[variants[0]]["wall"]
    print(f"{'':26} {'keypoints':>9} {'wall s':>7} {'CPU s':>7} {'peak GB':>8} {'times as fast':>14}")
    for variant, row in rows.items():
        print(f"{variant:26} {row['keypoints']:9d} {row['wall']:7.2f} {row['cpu']:7.2f} {row['peak']:8.2f} {base / row['wall']:14.1f}")


if __name__ == "__main__":
    main()
