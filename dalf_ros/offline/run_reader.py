"""A finished run, read back from its folder for a report."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2

from dalf_core.image_registration.video_reader import VideoError
from dalf_core.reports.film import Film, read_film
from dalf_core.reports.run_report import MeshSequence, RunReport

from ..bags.bag_source import BagError
from .mesh_reader import read_surfaces
from .point_reader import read_points
from .run_output import RunFiles
from .run_pictures import FILM_PICTURES

JPEG_QUALITY = 85
NUMBERS = ("matches", "verified", "inliers", "stamp", "stamp_ns")      # of each frame of metrics.json


def is_run(folder: Path) -> bool:
    """Whether `register` was at work there, be it without coming to its end."""
    files = RunFiles(folder)
    return files.metrics.is_file() or (files.bag.is_dir() and files.surfaces.is_dir())


def read_metrics(folder: Path) -> dict[str, Any]:
    """metrics.json. Raises BagError where the folder holds no finished run, or another program's file of that name."""
    path = RunFiles(folder).metrics
    if not path.is_file():
        raise BagError(f"{folder} has no metrics.json: " + (
            "the run there did not come to its end; register its recording again with --overwrite" if is_run(folder) else
            "no run of ./run register is there, nor in a folder below it" if folder.is_dir() else "there is no such folder"))
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        frames = metrics["frames"]
        if not frames or not all(isinstance(frame["status"], str) and all(isinstance(frame[name], (int, float)) for name in NUMBERS)
                                 for frame in frames) or not isinstance(metrics["summary"], dict):
            raise ValueError("no frames, or frames without status and numbers")
        for frame in frames:        # what runs of earlier versions may lack
            frame.setdefault("reason", "")
            frame.setdefault("residual_m", None)
            frame.setdefault("milliseconds", {})
    except (ValueError, KeyError, TypeError) as error:
        raise BagError(f"{path} is not what ./run register writes ({error}); register the recording again with --overwrite") from error
    return metrics


def read_run(folder: Path) -> RunReport:
    """All that a report shows. What is missing beside metrics.json is told in its notes. Raises BagError."""
    files, metrics = RunFiles(folder), read_metrics(folder)
    frames, notes = metrics["frames"], []
    if metrics["summary"].get("interrupted"):
        notes.append("The run was interrupted: the recording may go on after its last frame.")
    sequences = _surfaces(files, frames, notes)
    points = read_points(files.bag, [frame["stamp_ns"] for frame in frames]) if sequences else {}
    return RunReport(run_name(folder, metrics), frames, metrics["summary"], metrics.get("options", {}), sequences, _sheet(files),
                     _film(files, frames, notes), notes, points)


def run_name(folder: Path, metrics: dict[str, Any]) -> str:
    """The folder's name, and the recording's where that is another."""
    own, recording = folder.resolve().name, Path(str(metrics["summary"].get("recording", ""))).stem
    return own if recording in ("", own) else f"{own}: {recording}"


def _surfaces(files: RunFiles, frames: list[dict[str, Any]], notes: list[str]) -> list[MeshSequence]:
    if all(frame["status"] == "matched" for frame in frames):       # a recording without depth
        return []
    try:
        surfaces = read_surfaces(files.bag, [frame["stamp_ns"] for frame in frames])
    except BagError as error:
        notes.append(f"There is no surface to show: {error}")
        return []
    if surfaces.damaged:
        notes.append(f"Of the results: {surfaces.damaged}")
    if surfaces.every > 1:
        notes.append(f"The surface is shown in one frame in {surfaces.every}, to keep this page small; results/ has it in all.")
    if not surfaces.sequences:
        notes.append("There is no surface to show: none was followed.")
    return surfaces.sequences


def _sheet(files: RunFiles) -> bytes | None:
    """The contact sheet as JPEG: a fifth of the PNG's bytes."""
    picture = cv2.imread(str(files.sheet)) if files.sheet.is_file() else None
    return None if picture is None else cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _film(files: RunFiles, frames: list[dict[str, Any]], notes: list[str]) -> Film | None:
    if not files.video.is_file():
        return None
    try:
        return read_film(files.video, frames, FILM_PICTURES)
    except (VideoError, OSError) as error:
        notes.append(f"The film is not shown: {error}")
        return None
