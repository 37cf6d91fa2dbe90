"""A finished run, read back as an episode of a dataset."""
from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dalf_core.datasets.episode import STATUSES, DatasetError, Episode, EpisodeFrame
from dalf_core.drawing.draw import as_bgr
from dalf_core.types import LOST, WAITING

from .mesh_reader import read_surfaces
from .point_reader import read_points
from .recording import open_recording
from .run_output import RunFiles
from .run_reader import read_metrics

UNSEEN = ("unreadable", "no_image")        # frames without a picture are none of an episode


def read_episode(folder: Path, defaults: Callable[[Path], argparse.Namespace], recordings: Path | None = None) -> Episode:
    """The run of one folder. defaults: register's options for a recording. recordings: where the recording lies if it was moved.

    Raises BagError: no finished run; DatasetError: no surface was followed.
    """
    files, metrics = RunFiles(folder), read_metrics(folder)
    frames = [frame for frame in metrics["frames"] if frame["status"] not in UNSEEN]
    stamps = [int(frame["stamp_ns"]) for frame in frames]
    surfaces = read_surfaces(files.bag, stamps, thinned=False)
    if not surfaces.sequences:
        raise DatasetError(f"{folder}: no surface was followed there, so there is nothing to learn from")
    sequence = max(surfaces.sequences, key=lambda one: len(one.frames))
    notes = [f"of {len(surfaces.sequences)} reference surfaces the one with the most frames is taken"] * (len(surfaces.sequences) > 1)
    vertices = np.full((len(frames), *sequence.reference.shape), np.nan, np.float32)
    visible = np.zeros(vertices.shape[:2], bool)
    vertices[sequence.frames], visible[sequence.frames] = sequence.vertices, sequence.visible
    followed = np.isin(np.arange(len(frames)), sequence.frames)
    status = np.array([_code(frame["status"], has_surface) for frame, has_surface in zip(frames, followed)], np.uint8)
    residual = np.array([np.nan if frame["residual_m"] is None else frame["residual_m"] for frame in frames], np.float32)
    images = _images(metrics["options"], defaults, recordings, set(stamps))
    return Episode(folder.resolve().name, np.array(stamps, np.int64), status, residual, sequence.reference, sequence.triangles,
                   sequence.colors, vertices, visible, read_points(files.bag, stamps), images, tuple(notes))


def _code(status: str, has_surface: bool) -> int:
    """Index of STATUSES; frames that could not be used are lost where a surface is known."""
    if not has_surface:
        return STATUSES.index(WAITING)
    return STATUSES.index(status if status in STATUSES else LOST)


def _images(options: dict[str, Any], defaults: Callable[[Path], argparse.Namespace], recordings: Path | None, stamps: set[int]) -> Any:
    """Reads the recording's frames anew; None where it is not there any more."""
    path = Path(str(options.get("recording", "")))
    if recordings is not None:
        path = recordings / path.name
    if not options.get("recording") or not path.exists():
        return None
    return partial(_frames, _as_given(options, defaults(path)), stamps)


def _frames(given: argparse.Namespace, stamps: set[int]) -> Iterator[EpisodeFrame]:
    """What the recording holds of these stamps. Raises BagError, DatasetError."""
    with open_recording(given) as recording:
        for frame in recording.frames():
            if frame.image is None or frame.stamp_ns not in stamps:
                continue
            if frame.depth_m is not None and (frame.depth_m.ndim != 2 or (frame.depth_frame_id or frame.frame_id) != frame.frame_id):
                raise DatasetError(f"{given.recording}: depth is a cloud, or not aligned with colour: leave it out (--no-depth)")
            yield EpisodeFrame(as_bgr(frame.image), frame.depth_m)


def _as_given(options: dict[str, Any], given: argparse.Namespace) -> argparse.Namespace:
    """With the options of the run, by which its recording is read as it was then."""
    for name in ("color_topic", "depth_topic", "camera_info_topic", "mask_topic", "no_depth", "no_check_frames", "recording_time",
                 "depth_scale", "tolerance", "fps"):
        setattr(given, name, options.get(name, getattr(given, name)))
    if isinstance(told := options.get("intrinsics"), str):
        given.intrinsics = Path(told)
    return given
