"""How far the followed surface of a registration run is from the truth, frame by frame: numbers and a plot."""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dalf_core.drawing.palette import SERIES
from dalf_core.files.whole_file import write_whole
from dalf_core.types import TRACKED

from ..bags.bag_source import BagSource
from ..bags.bag_writer import bag_topic
from ..conversions import messages, topics
from ..simulation.occluder import PASSES_S
from ..simulation.truth import Attachment, GroundTruth

GOOD, VISIBLE, BAD = SERIES[0], SERIES[1], SERIES[5]
PHASES = (("gathered", 0.5, 2.3), ("hand passes", *PASSES_S), ("corner folded over", 3.5, 5.1))    # seconds


@dataclass(frozen=True)
class FrameError:
    """One frame against the truth. rmse_m, visible_rmse_m, p95_m: metres over the vertices on the cloth; NaN where there is none.
    visible_share: 0..1, how much of the true cloth the camera sees."""

    time_s: float
    status: str
    rmse_m: float
    visible_rmse_m: float
    p95_m: float
    visible_share: float


@dataclass(frozen=True)
class Summary:
    """A whole run. Errors in millimetres, pooled over the tracked frames. frames: of the recording; followed: with a surface."""

    frames: int
    followed: int
    tracked_share: float
    vertices: int
    vertices_on_cloth: int
    reference_offset_mm: float
    rmse_mm: float
    visible_rmse_mm: float
    p95_mm: float
    median_frame_rmse_mm: float

    def text(self) -> str:
        """Lines for the screen."""
        return (f"tracked {self.tracked_share:.0%} of {self.frames} frames; {self.vertices_on_cloth} of {self.vertices} vertices on it\n"
                f"error against ground truth in tracked frames, mm: RMSE {self.rmse_mm:.2f} over all vertices, "
                f"{self.visible_rmse_mm:.2f} over those seen; 95th percentile {self.p95_mm:.2f}; RMSE of the median frame "
                f"{self.median_frame_rmse_mm:.2f}\n"
                f"(the reference itself is {self.reference_offset_mm:.2f} mm RMS from the true cloth: depth noise)")


def evaluate(registration: Path, truth: GroundTruth) -> tuple[Summary, list[FrameError]]:
    """Compare the results of `register` in a folder with the truth. Raises RuntimeError when there is no surface in them."""
    return compare(*results_of(registration), truth)


def results_of(registration: Path) -> tuple[list[Any], dict[int, str]]:
    """SurfaceMesh messages of a folder that `register` wrote, and the status of every frame by its stamp in nanoseconds."""
    entries = json.loads((registration / "metrics.json").read_text(encoding="utf-8"))["frames"]
    with BagSource(registration / "results") as bag:
        meshes = [bag.deserialize(raw) for raw in bag.messages([bag_topic(topics.REFERENCE), bag_topic(topics.MESH)])]
    return meshes, {entry["stamp_ns"]: entry["status"] for entry in entries}


def named_points_of(registration: Path) -> list[Any]:
    """SurfacePoints messages of a folder that `register` wrote, in the order of their frames."""
    with BagSource(registration / "results") as bag:
        return [bag.deserialize(raw) for raw in bag.messages([bag_topic(topics.NAMED_POINTS)])]


def surfaces(meshes: Iterable[Any], truth: GroundTruth) -> Iterator[tuple[int, np.ndarray, Attachment]]:
    """Of every SurfaceMesh message its stamp in nanoseconds, its vertices, and how its reference is tied to the truth.

    A message with triangles is a reference; the others belong to the one before them that has their topology_id and reference stamp.
    """
    attachments: dict[tuple[int, int], Attachment] = {}
    for message in meshes:
        vertices, stamp = messages.mesh_of(message)["vertices"], messages.stamp_ns(message.header)
        key = message.topology_id, messages.stamp_ns(message.reference_header)
        if len(message.triangles):
            attachments[key] = Attachment(truth, vertices, truth.frame(stamp))
        elif key in attachments:
            yield stamp, vertices, attachments[key]


def compare(meshes: Iterable[Any], status: dict[int, str], truth: GroundTruth) -> tuple[Summary, list[FrameError]]:
    """SurfaceMesh messages, each reference before its frames, against the truth.

    status: by sensor stamp in nanoseconds, for every frame that was processed. Raises RuntimeError when no frame was tracked.
    """
    attachment, pooled, pooled_visible, frames = None, [], [], []
    for stamp, vertices, attachment in surfaces(meshes, truth):
        if stamp not in status:
            continue
        number = truth.frame(stamp)
        error, visible = attachment.errors(vertices, number)
        frames.append(FrameError((stamp - int(truth.stamps_ns[0])) * 1e-9, status[stamp], rms(error), rms(error[visible]),
                                 percentile(error, 95), float(truth.visible[number].mean())))
        if status[stamp] == TRACKED:
            pooled.append(error)
            pooled_visible.append(error[visible])
    if attachment is None or not pooled:
        raise RuntimeError("no frame was tracked: there is nothing to compare with the ground truth")
    every, offset = np.concatenate(pooled), attachment.offset_m[attachment.on_cloth]
    median = float(np.median([frame.rmse_m for frame in frames if frame.status == TRACKED]))
    return Summary(len(status), len(frames), len(pooled) / len(status), len(attachment.offset_m), len(offset), 1e3 * rms(offset),
                   1e3 * rms(every), 1e3 * rms(np.concatenate(pooled_visible)), 1e3 * percentile(every, 95), 1e3 * median), frames


def write_errors(path: Path, summary: Summary, frames: list[FrameError]) -> None:
    """The numbers as JSON; what is not a number becomes null."""
    rows = [{key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in asdict(frame).items()}
            for frame in frames]
    write_whole(path, (json.dumps({"summary": asdict(summary), "frames": rows}, indent=1) + "\n").encode())


def plot_errors(path: Path, summary: Summary, frames: list[FrameError]) -> None:
    """Error over time, with the share of the cloth that is seen; frames that are not tracked are marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    time = np.array([frame.time_s for frame in frames])
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for values, label, color in (([f.p95_m for f in frames], "95th percentile, all vertices", "#9a9a9a"),
                                 ([f.rmse_m for f in frames], "RMSE, all vertices", GOOD),
                                 ([f.visible_rmse_m for f in frames], "RMSE, visible vertices", VISIBLE)):
        upper.plot(time, 1e3 * np.array(values), label=label, color=color, linewidth=1.6)
    for name, begin, end in PHASES:
        upper.axvspan(begin, end, color="#000000", alpha=0.06, linewidth=0)
        upper.text((begin + end) / 2, 0.98, name, transform=upper.get_xaxis_transform(), ha="center", va="top", fontsize=8, color="#606060")
    failed = np.array([frame.status != TRACKED for frame in frames])
    if failed.any():
        upper.plot(time[failed], 1e3 * np.array([f.rmse_m for f in frames])[failed], "x", color=BAD, label="not tracked")
    upper.set_ylabel("error / mm")
    upper.set_ylim(bottom=0)
    upper.grid(alpha=0.3)
    upper.legend(loc="center left", fontsize=9)
    upper.set_title(f"Simulated cloth: RMSE {summary.rmse_mm:.2f} mm, visible {summary.visible_rmse_mm:.2f} mm, "
                    f"tracked {summary.tracked_share:.0%} of {summary.frames} frames", fontsize=11)
    lower.fill_between(time, 100 * np.array([f.visible_share for f in frames]), color=GOOD, alpha=0.25, linewidth=0)
    lower.set_ylabel("cloth seen / %")
    lower.set_ylim(0, 100)
    lower.set_xlabel("time / s")
    lower.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def rms(values: np.ndarray) -> float:
    """Root mean square; NaN of none."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if len(values) else float("nan")


def percentile(values: np.ndarray, percent: float) -> float:
    """NaN of none."""
    return float(np.percentile(values, percent)) if len(values) else float("nan")
