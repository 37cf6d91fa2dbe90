#!/usr/bin/env python3
"""What do three objects at once cost beside one? The demo's cloth cut into three strips, each a template with its own registration.

    ./run simulate --output DIR
    ./run exec python benchmarks/templates/objects.py DIR [--frames 120] [--rounds 3] [--weights light]

Frames are given one after the other, as fast as they are followed; DALF looks in the background, as in the nodes, and registrations run
on a thread each. A round is the first strip alone, then all three, so that both meet the same machine; times are those of a frame.
"""
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from dalf_core import DALF, PinholeCamera, Template
from dalf_core.options import MAX_VERTICES
from dalf_core.templates.coarser_surface import vertices_of_one
from dalf_core.tracking import SurfaceTracker
from dalf_core.tracking.background_tracker import background_executor
from dalf_core.tracking.several_objects import SeveralObjects
from dalf_ros.bags.bag_source import BagError
from dalf_ros.offline.recording import open_recording
from dalf_ros.register import parser as register_parser
from dalf_ros.simulation.recording import MASK_TOPIC

STRIPS = 3
FIRST_LOOK_S = 5.0          # at most: as long DALF may take for the first frame, which is not timed


def strips(dalf: DALF, frame: object, camera: PinholeCamera) -> dict[str, Template]:
    """The cloth of one frame from left to right, each a template with features."""
    columns = np.flatnonzero(frame.mask.any(axis=0))
    edges = np.linspace(columns[0], columns[-1] + 1, STRIPS + 1).round().astype(int)
    found = {}
    for number, (left, right) in enumerate(zip(edges, edges[1:])):
        mask = np.zeros_like(frame.mask)
        mask[:, left:right] = frame.mask[:, left:right]
        found[f"strip{number}"] = Template.of_frame(f"strip{number}", frame.image, frame.depth_m, camera, mask).with_features(dalf)
    return found


def follow(dalf: DALF, templates: dict[str, Template], frames: Sequence, camera: PinholeCamera) -> tuple[list[float], float]:
    """Milliseconds of each frame, and the share of surfaces that are tracked."""
    executor = background_executor()
    named = {name: (template, 1 + number) for number, (name, template) in enumerate(templates.items())}
    objects = SeveralObjects(dalf, named, executor)
    most = vertices_of_one(MAX_VERTICES.default, len(templates))
    surfaces = {name: SurfaceTracker(max_vertices=most) for name in templates}
    for name, (template, stamp) in named.items():
        surfaces[name].adopt(template, stamp)
    lanes = ThreadPoolExecutor(len(templates), "registration")

    def register(name: str, results: list, depth: np.ndarray) -> bool:
        status = ""
        for result in results:
            if result.frame is not None and result.frame.matches is not None:
                status = surfaces[name].process(result.frame.matches, depth, camera).status
        prediction = surfaces[name].prediction()
        if prediction is not None:
            objects.predict(name, prediction)
        return status == "tracked"

    taken, tracked = [], []
    try:
        objects.process(frames[0].image, frames[0].stamp_ns)
        deadline = time.monotonic() + FIRST_LOOK_S
        while any(lane.is_looking for lane in objects.lanes.values()) and time.monotonic() < deadline:
            time.sleep(0.01)
        for frame in frames[1:]:
            started = time.perf_counter()
            results = objects.process(frame.image, frame.stamp_ns)
            work = [lanes.submit(register, name, some, frame.depth_m) for name, some in results.items()]
            tracked += [done.result() for done in work]
            taken.append(1e3 * (time.perf_counter() - started))
    finally:
        executor.shutdown()
        objects.close()
        lanes.shutdown()
    return taken, float(np.mean(tracked))


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 an error told in one line, 130 interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="of ./run simulate or ./run demo")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", help='of DALF: a path, "light" or "official"; default: the built-in ones')
    options = parser.parse_args(arguments)
    try:
        return run(options)
    except KeyboardInterrupt:
        return 130
    except (BagError, ValueError, OSError, RuntimeError) as error:
        print(f"objects.py: {error}", file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    """Measure, print."""
    with open_recording(register_parser().parse_args([str(options.folder / "bag"), "--mask-topic", MASK_TOPIC])) as recording:
        camera, frames = recording.camera().camera, list(recording.frames())[:options.frames]
    cv2.setNumThreads(1)        # as the nodes do
    dalf = DALF(options.weights)
    templates = strips(dalf, frames[0], camera)
    columns = "round", "one object, ms a frame, median / 95th", "tracked", "three objects", "tracked", "ratio of medians", "of means"
    print(f"| {' | '.join(columns)} |\n|" + "---|" * len(columns))
    ratios = []
    for number in range(options.rounds):
        one, held_one = follow(dalf, {"strip1": templates["strip1"]}, frames, camera)
        all_three, held = follow(dalf, templates, frames, camera)
        ratios.append((np.median(all_three) / np.median(one), np.mean(all_three) / np.mean(one)))
        print(f"| {number + 1} | {np.median(one):.0f} / {np.percentile(one, 95):.0f} | {held_one:.0%} | {np.median(all_three):.0f} / "
              f"{np.percentile(all_three, 95):.0f} | {held:.0%} | {ratios[-1][0]:.2f} | {ratios[-1][1]:.2f} |", flush=True)
    print("median of the rounds: {:.2f} of medians, {:.2f} of means".format(*np.median(ratios, axis=0)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
