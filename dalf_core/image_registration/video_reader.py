"""Films, frame by frame, as upright BGR pictures. What is wrong with a file is told before the work starts."""
from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

FALLBACK_FPS = 30.0
RATE_AGREES = 0.01          # by how much the header's frame rate may differ from that of the frames' times to be believed

log = logging.getLogger(__name__)


class VideoError(RuntimeError):
    """The film cannot be read; the message says why."""


class VideoReader:
    """The pictures of a film's first video stream. Use it in a `with` block; iterating starts at the first frame each time.

    frames: how many there are, counted. times: when each is shown, (frames,) seconds from the first, as the film's time stamps say; by the
    header's frame rate, with a warning, where it has none. fps: mean frames a second.
    VideoError: no such file, no film, no video stream, a file that was cut off.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._container = self._open()
        try:
            stream = self._stream
            rate = float(stream.average_rate or stream.guessed_rate or FALLBACK_FPS)
            stamps = self._stamps(int(stream.frames))
            self.frames = len(stamps)
            self.times = self._times(stamps, rate)
            self.fps = _mean_rate(self.times, rate)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Harmless when called twice."""
        self._container.close()

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames from the first on: HxWx3 uint8 BGR."""
        import av

        number = 0
        self._rewind()
        try:
            for frame in self._container.decode(self._stream):
                yield np.ascontiguousarray(upright(frame.to_ndarray(format="bgr24"), getattr(frame, "rotation", 0)))
                number += 1
        except av.error.FFmpegError as error:
            raise VideoError(f"{self.path}: frame {number} cannot be decoded: {_reason(error)}") from error

    def frame(self, number: int) -> np.ndarray:
        """Frame `number`, from 0: HxWx3 uint8 BGR. ValueError: there is none."""
        if not 0 <= number < self.frames:
            raise ValueError(f"{self.path} has no frame {number}: its {self.frames} frames are numbered from 0 to {self.frames - 1}")
        for index, picture in enumerate(self):
            if index == number:
                return picture
        raise VideoError(f"{self.path}: frame {number} cannot be decoded: the film ends before it")

    def _open(self) -> Any:
        import av

        if not self.path.is_file():
            raise VideoError(f"{self.path}: " + ("this is no file" if self.path.exists() else "no such file"))
        try:
            container = av.open(str(self.path))
        except (av.error.FFmpegError, OSError) as error:
            raise VideoError(f"{self.path} is no film, or its end is missing: {_reason(error)}") from error
        if not container.streams.video:
            container.close()
            raise VideoError(f"{self.path} has no video stream")
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        return container

    def _rewind(self) -> None:
        """Back to the first frame. A new container, for not every format can seek."""
        self._container.close()
        self._container = self._open()

    def _stamps(self, promised: int) -> list[int | None]:
        """The time stamps of the frames in the file, without decoding them, in units of the stream, as they are stored.

        VideoError when the file holds fewer frames than its header says, or none.
        """
        import av

        stamps: list[int | None] = []
        count, end, broken = 0, 0, ""
        try:
            for packet in self._container.demux(self._stream):
                if packet.size > 0 and not packet.is_corrupt:
                    count += 1
                    end = max(end, (packet.dts or 0) + (packet.duration or 0))
                    if not packet.is_discard:
                        stamps.append(packet.dts if packet.pts is None else packet.pts)
        except av.error.FFmpegError as error:
            broken = f" ({_reason(error)})"
        if not stamps:
            raise VideoError(f"{self.path} holds no frame{broken}")
        if self._container.format.name == "avi":        # whose header counts what the camera dropped, too
            count = max(count, end)
        if broken or count < promised:
            of = f" of {promised}" if promised > count else ""
            raise VideoError(f"{self.path} was cut off: only {count}{of} frames are in it{broken}; copy it again, or cut it to length")
        return stamps

    def _times(self, stamps: list[int | None], rate: float) -> np.ndarray:
        """When the frames are shown, in the order in which they are, seconds from the first."""
        known = [stamp for stamp in stamps if stamp is not None]
        if len(known) < len(stamps) or (len(known) > 1 and min(known) == max(known)):
            log.warning("%s has no time stamps: %g frames a second are assumed", self.path, rate)
            return np.arange(len(stamps)) / rate
        times = np.sort(np.array(known, np.int64)) - min(known)
        return times * float(self._stream.time_base)


def _mean_rate(times: np.ndarray, header_rate: float) -> float:
    """Frames a second: the header's number where the times agree with it."""
    if times[-1] <= 0:
        return header_rate
    measured = (len(times) - 1) / float(times[-1])
    return header_rate if abs(measured - header_rate) <= RATE_AGREES * header_rate else measured


def upright(picture: np.ndarray, degrees: float) -> np.ndarray:
    """A picture (H, W, 3) turned counterclockwise by the degrees that a film's header says, to the nearest quarter turn."""
    return np.rot90(picture, round(degrees / 90) % 4)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
