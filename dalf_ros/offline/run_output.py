"""The output folder of a registration run: what lies where, and when it may be written."""
from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from dalf_core.files.whole_file import write_whole

from ..bags.bag_source import BagError


class RunFiles:
    """What lies where in a run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bag = path / "results"
        self.reference = path / "reference.ply"
        self.surfaces = path / "surfaces"
        self.metrics = path / "metrics.json"
        self.sheet = path / "contact_sheet.png"
        self.video = path / "video.mp4"
        self.selection = path / "selection.png"
        self.report = path / "report.html"


class OutputFolder(RunFiles):
    """Paths of the results. Raises BagError when the folder cannot be written, or holds results and overwrite is False.

    keep: what is read, which is never replaced.
    """

    def __init__(self, path: Path, overwrite: bool, keep: Path) -> None:
        super().__init__(path)
        self._mine = (self.bag, self.reference, self.surfaces, self.metrics, self.sheet, self.video, self.selection, self.report)
        read = keep.resolve()
        for item in self._mine:
            if item.resolve() in (read, *read.parents) or read in item.resolve().parents:
                raise BagError(f"the results would replace {keep}, which is to be read; choose another output folder than {path}")
        self._made = [folder for folder in (path, *path.parents) if not folder.exists()]
        try:
            path.mkdir(parents=True, exist_ok=True)
            there = [item.name for item in self._mine if item.exists()]
            if there and not overwrite:
                raise BagError(f"{path} already holds {', '.join(there)}; say --overwrite to replace earlier results")
            probe = path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise BagError(f"the output folder {path} cannot be written: {error.strerror or error}") from error

    def clear(self) -> None:
        """Remove earlier results; done once nothing else can stop the run from starting."""
        self.discard()
        self.surfaces.mkdir()

    def discard(self) -> None:
        """Remove all results, so that a run which failed before its first frame does not block the next."""
        for item in self._mine:
            if item.is_dir():
                shutil.rmtree(item)
            else:
                item.unlink(missing_ok=True)

    def remove_if_empty(self) -> None:
        """Leave no folder behind that was made here and holds nothing, such as after a run that could not start."""
        with suppress(OSError):
            for folder in self._made:
                folder.rmdir()

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """metrics.json, strict JSON: numbers that are not finite become null."""
        write_whole(self.metrics, (json.dumps(_strict(metrics), indent=1) + "\n").encode())

    def list(self) -> str:
        """What was made."""
        made = (self.selection, self.sheet, self.video, self.metrics, self.bag, self.reference, self.surfaces)
        return "\n".join(f"  {item}" for item in made if item.exists())


def summarise(frames: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """The summary of metrics.json. residual_m: of the tracked frames; milliseconds: median by stage."""
    count = len(frames)
    statuses = [frame["status"] for frame in frames]
    tracked = [frame for frame in frames if frame["status"] == "tracked"]
    residuals = np.array([frame["residual_m"] for frame in tracked], float)
    by_stage: dict[str, list[float]] = {}
    for frame in frames:
        for stage, value in frame["milliseconds"].items():
            by_stage.setdefault(stage, []).append(value)
    return {
        "frames": count,
        "status": {status: statuses.count(status) for status in sorted(set(statuses))},
        "tracked_fraction": len(tracked) / count if count else 0.0,
        "median_residual_m": float(np.nanmedian(residuals)) if len(residuals) and np.isfinite(residuals).any() else None,
        "median_matches": float(np.median([frame["matches"] for frame in frames])) if count else 0.0,
        "median_inliers": float(np.median([frame["inliers"] for frame in frames])) if count else 0.0,
        "median_milliseconds": {stage: float(np.median(values)) for stage, values in by_stage.items()},
        "seconds": seconds,
        "frames_per_second": count / seconds if seconds > 0 else 0.0,
    }


def why_nothing_followed(frames: list[dict[str, Any]], has_depth: bool, template: str = "") -> str:
    """Why not a single frame was tracked (or matched, without depth), and what would mend it; empty where one was. template: followed."""
    good = ("tracked", "degraded") if has_depth else ("matched",)
    others = [frame for frame in frames if not frame["is_reference"]]       # a reference is always found in itself
    if any(frame["status"] in good for frame in others or frames):
        return ""
    (status, reason), count = Counter((frame["status"], frame["reason"]) for frame in others or frames).most_common(1)[0]
    gaps = [frame["gap_s"] for frame in frames if frame["status"] == status and frame["gap_s"] is not None]
    mend = f"; does this recording show what {template} does? If it is small in the image, --image-scale 2 helps" if template else ""
    if gaps:
        gap = float(np.median(gaps))
        mend = f"; the nearest is {abs(gap):.3f} s {'later' if gap > 0 else 'earlier'}: " + (
            f"--tolerance {1.5 * abs(gap):.2g} would join them" if abs(gap) < 1 else
            "the stamps are of different clocks, --recording-time joins by the times of recording")
    return f"nothing was followed: {count} of {len(frames)} frames are {status} ({reason or 'no reason is known'}){mend}"


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
