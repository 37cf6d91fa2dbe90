"""How far the demo's named points are from the true cloth, and whether their covariance says so."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from dalf_core.templates.named_points import FollowedPoint
from dalf_core.tracking.wanted_points import WantedPoint
from dalf_core.types import TRACKED

from ..conversions.messages import stamp_ns
from ..conversions.point_messages import points_of
from ..simulation.truth import Attachment, GroundTruth
from .evaluation import percentile

# u, v of the cloth; the hand passes before "middle"
PLACES = {"upper_left": (0.22, 0.25), "upper_right": (0.78, 0.30), "middle": (0.50, 0.58), "lower_left": (0.20, 0.80)}
STEP_M = 0.0025             # along x of a point's frame, to either side: what tells where x truly points later


@dataclass(frozen=True)
class PointError:
    """One point in one tracked frame against the truth. degrees: the angle of the turn between its frame and the true one.

    normalised: sqrt(e' C^-1 e / 3); NaN without covariance. seen: the camera truly sees it; said_seen: the message says so.
    """

    name: str
    error_m: float
    degrees: float
    normalised: float
    seen: bool
    said_seen: bool


def wanted_of(truth: GroundTruth) -> tuple[WantedPoint, ...]:
    """The places by the pixels at which the first image truly shows them."""
    vertex = [int(np.linalg.norm(truth.uv - place, axis=1).argmin()) for place in PLACES.values()]
    pixels = truth.camera.project(truth.vertices[0][vertex].astype(float))
    return tuple(WantedPoint(name, (round(float(x), 1), round(float(y), 1))) for name, (x, y) in zip(PLACES, pixels))


def compare_points(messages: Iterable[Any], status: dict[int, str], truth: GroundTruth) -> list[PointError]:
    """SurfacePoints messages in the order of their frames against the truth; those of tracked frames.

    A point is tied to the true cloth where its reference's own frame has it. status: of the frames by their stamps, nanoseconds.
    """
    tied: dict[int, tuple[tuple[str, ...], Attachment]] = {}
    found: list[PointError] = []
    for message in messages:
        stamp, reference = stamp_ns(message.header), stamp_ns(message.reference_header)
        points = points_of(message)
        if stamp == reference and points:
            ahead = [STEP_M * point.rotation[:, 0] for point in points]
            places = [point.position + shift for shift_of in (0, 1, -1) for point, shift in zip(points, np.multiply(ahead, shift_of))]
            tied[reference] = tuple(point.name for point in points), Attachment(truth, np.array(places, np.float32), truth.frame(stamp))
        elif reference in tied and status.get(stamp) == TRACKED:
            found += _errors(points, *tied[reference], truth.frame(stamp))
    return found


def _errors(points: Sequence[FollowedPoint], names: tuple[str, ...], attachment: Attachment, frame: int) -> list[PointError]:
    count, places, normals, seen = len(names), attachment.positions(frame), attachment.normals(frame), attachment.visible(frame)
    by_name = {name: number for number, name in enumerate(names)}
    out = []
    for point in points:
        if point.name not in by_name:
            continue
        k = by_name[point.name]
        error, normal = point.position - places[k], normals[k]
        x = places[k + count] - places[k + 2 * count]
        x = x - (x @ normal) * normal
        x /= np.linalg.norm(x)
        turn = np.stack([x, np.cross(normal, x), normal], axis=1).T @ point.rotation
        known = np.isfinite(point.covariance).all()
        normalised = float(np.sqrt(error @ np.linalg.solve(point.covariance, error) / 3)) if known else float("nan")
        degrees = float(np.degrees(Rotation.from_matrix(turn).magnitude()))
        out.append(PointError(point.name, float(np.linalg.norm(error)), degrees, normalised, bool(seen[k]), point.visible))
    return out


def text_of(errors: Sequence[PointError]) -> str:
    """Lines for the screen: each point, then all; median and 95th percentile where the camera truly sees them, and of the others."""
    lines = ["named points against ground truth in tracked frames, median / 95th percentile:"]
    groups = {name: [error for error in errors if error.name == name] for name in PLACES} | {"all": list(errors)}
    for name, group in groups.items():
        seen, hidden = [e for e in group if e.seen], [e for e in group if not e.seen]
        lines.append(f"  {name + ':':12} {_row(seen)} in {len(seen)} frames that show it"
                     + (f"; {_row(hidden)} in {len(hidden)} that do not" if hidden else ""))
    agree = np.mean([error.seen == error.said_seen for error in errors]) if errors else float("nan")
    lines.append(f"  error over its covariance, sqrt(e' C^-1 e / 3): median {_normalised(errors, True):.2f} where it is seen, "
                 f"{_normalised(errors, False):.2f} where not (0.89 of a normal distribution); `visible` is right in {agree:.0%}")
    return "\n".join(lines)


def _row(errors: Sequence[PointError]) -> str:
    millimetres, degrees = (np.array([getattr(error, name) for error in errors]) for name in ("error_m", "degrees"))
    return (f"{1e3 * percentile(millimetres, 50):.1f} / {1e3 * percentile(millimetres, 95):.1f} mm, "
            f"{percentile(degrees, 50):.1f} / {percentile(degrees, 95):.1f} degrees")


def _normalised(errors: Sequence[PointError], seen: bool) -> float:
    values = np.array([error.normalised for error in errors if error.seen == seen])
    return percentile(values[np.isfinite(values)], 50)
