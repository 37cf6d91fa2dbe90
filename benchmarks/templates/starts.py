#!/usr/bin/env python3
"""Is a surface found again from a template, in whatever state it is? The demo's cloth, at random frames, under another light, turned.

    ./run simulate --output DIR
    ./run exec python benchmarks/templates/starts.py DIR [--starts 20] [--of-frame 0] [--weights light] [--seed 1]

The template is made of one frame. Each start is at another one: darkened, with a ramp of light across it, and with the camera rolled by a
quarter turn, a half turn or not at all. Counted is how many of the following frames (30 a second) pass until the surface is tracked, and
how far it then is from the truth.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from dalf_core import DALF, PinholeCamera, Template
from dalf_core.options import AUTO
from dalf_core.tracking import FeatureTracker, SequentialTracker, SurfaceTracker
from dalf_ros.bags.bag_source import BagError
from dalf_ros.offline.recording import open_recording
from dalf_ros.register import parser as register_parser
from dalf_ros.simulation.recording import MASK_TOPIC
from dalf_ros.simulation.truth import Attachment, GroundTruth

WITHIN = 30                 # frames: a second
TURNS = (None, cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180)
ROLLS = {None: np.eye(3), cv2.ROTATE_90_CLOCKWISE: np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),      # of the optical frame
         cv2.ROTATE_180: np.diag([-1.0, -1, 1])}
STAMP_NS = 1


def another_light(image: np.ndarray) -> np.ndarray:
    """Half as bright at the left, hazy, of less contrast in the dark."""
    ramp = np.linspace(0.55, 1.05, image.shape[1])[None, :, None]
    return (255 * (image / 255.0) ** 1.3 * ramp + 8).clip(0, 255).astype(np.uint8)


def rolled(camera: PinholeCamera, turn: int | None) -> PinholeCamera:
    """The camera whose images are those of `camera` turned by cv2.rotate."""
    if turn is None:
        return camera
    right, bottom = camera.width - 1 - camera.cx, camera.height - 1 - camera.cy
    if turn == cv2.ROTATE_180:
        return PinholeCamera(camera.fx, camera.fy, right, bottom, camera.width, camera.height)
    return PinholeCamera(camera.fy, camera.fx, bottom, camera.cx, camera.height, camera.width)


def start(dalf: DALF, template: Template, frames: list, camera: PinholeCamera, turn: int | None) -> tuple[int | None, object, str]:
    """Frames until the surface is tracked (None: it is not, within a second), the registration, and why not."""
    features, surface = SequentialTracker(FeatureTracker(dalf), AUTO), SurfaceTracker()
    features.adopt(template, STAMP_NS)
    surface.adopt(template, STAMP_NS)
    found, prediction = None, None
    for number, frame in enumerate(frames[:WITHIN]):
        image, depth = (part if turn is None else cv2.rotate(part, turn) for part in (another_light(frame.image), frame.depth_m))
        matched = features.process(image, frame.stamp_ns, None, prediction)
        found = surface.process(matched.matches, depth, rolled(camera, turn))
        prediction = surface.prediction()
        if found.status == "tracked":
            return number, found.registration, ""
    return None, None, "" if found is None else f"{found.status}: {found.reason}"


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 an error told in one line, 130 interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="of ./run simulate or ./run demo")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--of-frame", type=int, default=0, help="that the template is made of")
    parser.add_argument("--weights", help='of DALF: a path, "light" or "official"; default: the built-in ones')
    parser.add_argument("--top-k", type=int, default=800)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    try:
        return run(options)
    except KeyboardInterrupt:
        return 130
    except (BagError, ValueError, OSError, RuntimeError) as error:
        print(f"starts.py: {error}", file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    """Measure, print."""
    truth = GroundTruth.load(options.folder / "truth.npz")
    with open_recording(register_parser().parse_args([str(options.folder / "bag"), "--mask-topic", MASK_TOPIC])) as recording:
        camera, frames = recording.camera().camera, list(recording.frames())
    dalf = DALF(options.weights, top_k=options.top_k)
    origin = frames[options.of_frame]
    template = Template.of_frame("cloth", origin.image, origin.depth_m, camera, origin.mask).with_features(dalf)
    attached = Attachment(truth, template.surface.vertices, options.of_frame)
    rng = np.random.default_rng(options.seed)
    quick, errors = 0, []
    for first in np.sort(rng.choice(len(frames) - WITHIN, options.starts, replace=False)):
        turn = TURNS[rng.integers(len(TURNS))]
        passed, registration, why = start(dalf, template, frames[first:], camera, turn)
        if passed is None:
            print(f"frame {first:3d}, turn {turn}: not tracked, {why}")
            continue
        quick += 1
        off = 1e3 * np.linalg.norm(registration.vertices - attached.positions(first + passed) @ ROLLS[turn].T, axis=1)
        seen = registration.visible & attached.on_cloth
        errors.append((np.sqrt((off[attached.on_cloth] ** 2).mean()), np.sqrt((off[seen] ** 2).mean())))
        print(f"frame {first:3d}, turn {turn}: tracked after {passed} frames, RMSE {errors[-1][0]:.2f} mm, {errors[-1][1]:.2f} seen")
    if errors:
        whole, seen = np.median(errors, axis=0)
        print(f"tracked within a second: {quick} of {options.starts}; RMSE of the median start {whole:.2f} mm, of those seen {seen:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
