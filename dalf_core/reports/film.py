"""The film of a run inside its report: as browsers play it, small enough to be in one file."""
from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..image_registration.video import VideoWriter
from ..image_registration.video_reader import VideoError, VideoReader

MAX_BYTES = 6_000_000
SMALL_WIDTH, SMALL_QUALITY = 1600, 26       # of a film that is larger: pixels, x264's constant rate factor
PLAYED = ("h264",)                          # by every browser, in an mp4
THUMBNAIL_WIDTH = 420


@dataclass(frozen=True)
class Film:
    """data: an mp4 of H.264. pictures: how many. fps: of them a second. frames: which frame of the run each shows, None: that is not
    known. note: empty, or how it differs from the file."""

    data: bytes
    pictures: int
    fps: float
    frames: list[int] | None = None
    note: str = ""


def read_film(path: Path, frames: Sequence[dict[str, Any]], most: int) -> Film:
    """The film of a run, made smaller where its file has more than MAX_BYTES; frames, most: as for film_frames().

    Raises VideoError: it cannot be read, or browsers do not play it; OSError.
    """
    with VideoReader(path) as film:
        if (codec := _codec(path)) not in PLAYED:
            raise VideoError(f"{path.name} is encoded as {codec}, which browsers do not play")
        whose = film_frames(frames, film.frames, most)
        if path.stat().st_size <= MAX_BYTES:
            return Film(path.read_bytes(), film.frames, film.fps, whose)
        return Film(_smaller(film), film.frames, film.fps, whose, f"(made smaller: {path.name} beside this page is sharper)")


def film_frames(frames: Sequence[dict[str, Any]], pictures: int, most: int) -> list[int] | None:
    """Which frame each picture of a run's film shows; None where that cannot be told.

    frames: of metrics.json; those that were processed have their time of writing there. The film has every k-th of them, k such that
    there were at most about `most` pictures; the recording told how many frames there would be, which may have been too many.
    """
    shown = np.array([number for number, frame in enumerate(frames) if "write" in frame["milliseconds"]], int)
    expected = max(1, -(-len(frames) // most))
    for stride in sorted(range(1, len(frames) + 1), key=lambda stride: abs(stride - expected)):
        if (shown % stride == 0).sum() == pictures:
            return shown[shown % stride == 0].tolist()
    return None


def thumbnail(film: Path, sheet: Path) -> bytes | None:
    """A small JPEG: the film's middle picture, else the top of the contact sheet; None where there is neither."""
    picture = _middle(film) if film.is_file() else None
    if picture is None and sheet.is_file():
        picture = _top(cv2.imread(str(sheet)))
    if picture is None:
        return None
    height = max(1, round(picture.shape[0] * THUMBNAIL_WIDTH / picture.shape[1]))
    return cv2.imencode(".jpg", cv2.resize(picture, (THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA))[1].tobytes()


def _top(sheet: np.ndarray | None) -> np.ndarray | None:
    """About the first row of six."""
    return None if sheet is None else sheet[:max(1, sheet.shape[0] // 6)]


def _middle(film: Path) -> np.ndarray | None:
    """BGR; None of what is no film."""
    import av

    try:
        with av.open(str(film)) as container:
            stream = container.streams.video[0]
            middle = (stream.duration or 0) // 2
            container.seek(middle, stream=stream)       # to the whole picture before it
            for frame in container.decode(stream):
                if frame.pts is None or frame.pts >= middle:
                    return frame.to_ndarray(format="bgr24")
    except (av.error.FFmpegError, OSError, IndexError):
        pass
    return None


def _codec(path: Path) -> str:
    import av

    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.name


def _smaller(film: VideoReader) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "film.mp4"
        with VideoWriter(target, fps=film.fps, quality=SMALL_QUALITY) as writer:
            for picture in film:
                scale = min(1.0, SMALL_WIDTH / picture.shape[1])
                writer.write(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        return target.read_bytes()
