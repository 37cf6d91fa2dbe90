#!/usr/bin/env python3
"""Is the covariance of named points honest? Some hundred points all over the demo's cloth, in every third frame, against the truth.

    ./run simulate --output DIR
    ./run exec python benchmarks/recordings/uncertainty.py DIR [--points 300] [--every 3] [--of-frame 0] [--weights light]

Points are named by pixels of the reference, as `register --track-point` does. Each has the error of the reference's own depth at its pixel,
one draw for the whole recording: of a few points the result says little. whitened: C^-1/2 e, whose three components of a normal
distribution are within 1 in 68 %, within 2 in 95 %; normalised: sqrt(e' C^-1 e / 3), whose median would be .89.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from dalf_core import DALF
from dalf_core.templates.named_points import PointError
from dalf_core.tracking import FeatureTracker, SurfaceTracker
from dalf_core.types import TRACKED
from dalf_ros.bags.bag_source import BagError
from dalf_ros.offline.recording import open_recording
from dalf_ros.register import parser as register_parser
from dalf_ros.simulation.recording import MASK_TOPIC
from dalf_ros.simulation.truth import Attachment, GroundTruth


def name_points(surface: SurfaceTracker, count: int) -> None:
    """Name so many pixels of the reference, at random over it."""
    xy = surface.registration.camera.project(surface.reference_vertices.astype(float))
    for number in np.random.default_rng(0).permutation(len(xy))[:count]:
        try:
            surface.points.add_at_reference_pixel(f"p{number}", tuple(xy[number].round(1)), surface.registration)
        except PointError:      # at the border a pixel may have no reading
            continue


def follow(folder: Path, weights: str | None, of_frame: int, every: int, count: int) -> np.ndarray:
    """Rows of points on the cloth, all frames in one array: error in metres, normalised error, whitened components, whether the camera
    sees it. Raises ValueError where the reference has no surface, or no frame after it is tracked."""
    truth = GroundTruth.load(folder / "truth.npz")
    features, surface = FeatureTracker(DALF(weights)), SurfaceTracker()
    attachment, found = None, []
    with open_recording(register_parser().parse_args([str(folder / "bag"), "--mask-topic", MASK_TOPIC])) as recording:
        camera = recording.camera().camera
        for number, frame in enumerate(recording.frames()):
            if number < of_frame:
                continue
            matches = features.process(frame.image, frame.stamp_ns, frame.mask).matches
            if matches is None:
                raise ValueError(f"frame {number} has too few keypoints")
            result = surface.process(matches, frame.depth_m, camera, frame.image, frame.mask)
            if attachment is None:
                if surface.registration is None:
                    raise ValueError(f"frame {of_frame} cannot be the reference: {result.reason}")
                name_points(surface, count)
                attachment = Attachment(truth, surface.points.positions.astype(np.float32), truth.frame(frame.stamp_ns))
            elif result.status == TRACKED and number % every == 0:
                covariance = surface.registration.covariance(surface.points.positions)
                points = surface.points.follow(result.registration, covariance)
                found.append(_judged(points, attachment, truth.frame(frame.stamp_ns))[attachment.on_cloth])
    if not found:
        raise ValueError(f"no frame after frame {of_frame} was tracked and judged: take another --of-frame or --every")
    return np.concatenate(found)


def _judged(points: list, attachment: Attachment, number: int) -> np.ndarray:
    error = np.array([point.position for point in points]) - attachment.positions(number)
    lower = np.linalg.cholesky(np.array([point.covariance for point in points]))
    white = np.linalg.solve(lower, error[..., None])[..., 0]
    return np.column_stack([np.linalg.norm(error, axis=1), np.sqrt((white**2).mean(axis=1)), white, attachment.visible(number)])


def table(rows: np.ndarray) -> str:
    """Of those the camera sees, and of the others."""
    columns = "points that the camera", "errors", "mm, median / 95th", "normalised, median", "whitened within 1", "within 2"
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for title, seen in (("sees", True), ("does not see", False)):
        part = rows[rows[:, -1] == seen]
        if len(part):
            white = np.abs(part[:, 2:5])
            millimetres = 1e3 * np.percentile(part[:, 0], [50, 95])
            lines.append(f"| {title} | {len(part)} | {millimetres[0]:.1f} / {millimetres[1]:.1f} | {np.median(part[:, 1]):.2f} "
                         f"| {(white < 1).mean():.0%} | {(white < 2).mean():.0%} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 an error told in one line, 130 interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="of ./run simulate or ./run demo")
    parser.add_argument("--points", type=int, default=300)
    parser.add_argument("--every", type=int, default=3, metavar="N", help="judge every N-th frame (%(default)s)")
    parser.add_argument("--of-frame", type=int, default=0, metavar="N", help="the reference (%(default)s)")
    parser.add_argument("--weights", help='of DALF: a path, "light" or "official"; default: the built-in ones')
    options = parser.parse_args(arguments)
    if min(options.points, options.every) < 1:
        parser.error("--points and --every are at least 1")
    try:
        print(table(follow(options.folder, options.weights, options.of_frame, options.every, options.points)))
    except KeyboardInterrupt:
        return 130
    except (BagError, ValueError, OSError, RuntimeError) as error:
        print(f"uncertainty.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
