#!/usr/bin/env python3
"""Tracking through DALF's own matches, against ground truth: the demo's cloth, the cloth covered for ten frames, the cloth turned away.

    ./run demo --no-live --output out/demo
    ./run exec python benchmarks/tracking.py out/demo [--sequences cloth,covered,turned] [--max-keyframes 8,0]

cloth: the demo's recording as it is. covered: a grey card is held before the camera for ten frames, twice. turned: the first second and a
half of the cloth's motion, slowed, while it turns away by 75 degrees, is covered there, and turns back. rolled: the same, turning away
by 60 degrees and in the image plane by 150. Errors are of all
vertices on the cloth, hidden ones too, and of those seen, against where they truly are, so that sliding along the cloth counts in full. A
frame counts as recovered when it is tracked and the RMSE of what is seen is under 5 mm.
"""
from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dalf_core import DALF
from dalf_core.options import SECOND_LOOK, add_options
from dalf_core.tracking import FeatureTracker, SurfaceFrame, SurfaceTracker
from dalf_core.types import TRACKED, Features
from dalf_ros.bags.bag_reader import RgbdFrame
from dalf_ros.bags.bag_source import BagError
from dalf_ros.simulation.scenes import SCENES, TURNED_BY, TURNED_FRAMES, covered, covers, recorded, turned
from dalf_ros.simulation.truth import Attachment, GroundTruth

RECOVERED_MM = 5.0


@dataclass(frozen=True)
class Row:
    """One frame: status, RMSE in mm over the vertices on the cloth and over those seen, landmarks given and kept."""

    status: str
    rmse_mm: float
    seen_mm: float
    matches: int
    inliers: int


class RememberedFeatures:
    """DALF that extracts every image only once: several runs see the same images."""

    def __init__(self, dalf: DALF) -> None:
        self._dalf = dalf
        self._found: dict[bytes, Features] = {}

    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        key = blake2b(image.tobytes() + (b"" if mask is None else mask.tobytes())).digest()
        if key not in self._found:
            self._found[key] = self._dalf.extract(image, mask)
        return self._found[key]


def _turned(name: str, truth: GroundTruth, seed: int) -> tuple[list[RgbdFrame], GroundTruth]:
    with tqdm(total=TURNED_FRAMES, desc="camera", unit="frame") as bar:
        return turned(name, truth, seed, lambda: bar.update() and None)


def follow(name: str, frames: list[RgbdFrame], truth: GroundTruth, dalf: RememberedFeatures, max_keyframes: int,
           second_look: str) -> list[Row]:
    """Both halves of the session over a sequence, every frame."""
    features, surfaces = FeatureTracker(dalf, max_keyframes=max_keyframes, second_look=second_look), SurfaceTracker()
    attachment, rows = None, []
    title = f"{name}, {max_keyframes} keyframes"
    for number, frame in enumerate(tqdm(covered(frames, covers(name)), total=len(frames), desc=title, unit="frame")):
        found = features.process(frame.image, frame.stamp_ns, frame.mask)
        surface = surfaces.process(found.matches, frame.depth_m, truth.camera, frame.image, frame.mask)
        if surface.is_reference:
            attachment = Attachment(truth, surfaces.reference_vertices, number)
        rows.append(_row(surface, attachment, number))
    return rows


def _row(surface: SurfaceFrame, attachment: Attachment, number: int) -> Row:
    errors, visible = attachment.errors(surface.registration.vertices, number)
    return Row(surface.status, _rms_mm(errors), _rms_mm(errors[visible]), surface.matches, surface.inliers)


def _rms_mm(metres: np.ndarray) -> float:
    return 1e3 * float(np.sqrt(np.mean(metres**2))) if len(metres) else float("nan")


def report(name: str, max_keyframes: int, rows: list[Row]) -> str:
    """One line of the table. Covered frames are left out: nothing is to be seen in them."""
    hidden = covers(name)
    shown = [row for number, row in enumerate(rows) if not any(number in span for span in hidden)]
    all_mm, seen_mm = np.array([(row.rmse_mm, row.seen_mm) for row in shown if row.status == TRACKED]).T
    back = ", ".join(_recovery(rows[span.stop:]) for span in hidden) or "-"
    return (f"| {name} | {max_keyframes} | {len(shown)} | {np.mean([row.status == TRACKED for row in shown]):.1%} | "
            f"{np.median(seen_mm):.2f} / {np.mean(seen_mm):.2f} | {np.median(all_mm):.2f} / {np.mean(all_mm):.2f} | {back} |")


def _recovery(after: list[Row]) -> str:
    """Which frame after the cover had gone was the first good one, counted from 1."""
    good = [row.status == TRACKED and row.seen_mm < RECOVERED_MM for row in after]
    return str(good.index(True) + 1) if any(good) else "never"


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="output folder of ./run demo")
    parser.add_argument("--sequences", default=",".join(SCENES), help="which of them (default: %(default)s)")
    parser.add_argument("--max-keyframes", default="8,0", help="numbers of keyframes to compare (default: %(default)s)")
    parser.add_argument("--top-k", type=int, default=800, help="at most so many keypoints an image (default: %(default)s)")
    add_options(parser, SECOND_LOOK)
    parser.add_argument("--weights", help="checkpoint: a path, or 'official'; the default one when not given")
    parser.add_argument("--seed", type=int, default=0, help="of the sensor's noise in `turned` and `rolled` (default: %(default)s)")
    options = parser.parse_args(args)
    names = options.sequences.split(",")
    if not set(names) <= set(SCENES):
        parser.error(f"--sequences: choose from {', '.join(SCENES)}")
    try:
        truth = GroundTruth.load(options.demo / "truth.npz")
        plain = recorded(options.demo / "bag") if set(names) & {"cloth", "covered"} else []
        dalf = RememberedFeatures(DALF(options.weights, top_k=options.top_k))
        table = []
        for name in names:
            frames, exact = _turned(name, truth, options.seed) if name in TURNED_BY else (plain, truth)
            for count in map(int, options.max_keyframes.split(",")):
                table.append(report(name, count, follow(name, frames, exact, dalf, count, options.second_look)))
    except (BagError, OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("RMSE mm over the tracked frames, median / mean.\n")
    print("| sequence | keyframes | frames | tracked | what is seen | all vertices | recovered in frame |")
    print("| -------- | --------- | ------ | ------- | ------------ | ------------ | ------------------ |")
    print("\n".join(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
