"""Short H.264 films of what was seen: made under a temporary name, so that a file that is there is a whole one."""
from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

TICK = Fraction(1, 90_000)      # seconds, of films whose pictures have times of their own


class VideoWriter:
    """Writes BGR pictures as an H.264 mp4 (yuv420p, index at the front) that browsers and players open.

    path: the file to make, taken over if it exists. fps: pictures a second, where `write` is not told their times.
    quality: x264's constant rate factor, 0 best to 51. keyframes_every: so many pictures at most, for films that are read in any order.
    The first picture sets the size (odd sizes are padded by a repeated row or column); later ones are resized to it. Use it in a
    `with` block: leaving it in any way, Ctrl-C included, finishes the film with what was written. Without a picture there is no file.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float = 30.0, quality: int = 20,
                 keyframes_every: int | None = None) -> None:
        if not np.isfinite(fps) or fps <= 0:
            raise ValueError(f"fps = {fps}: a film needs a positive number of pictures a second")
        self.path = Path(path)
        self.frames = 0
        self._fps = Fraction(fps).limit_denominator(1000)
        self._quality, self._keyframes_every = quality, keyframes_every
        self._partial = self.path.with_name(f".{self.path.stem}.{os.getpid()}.part.mp4")
        self._container = None
        self._stream = None
        self._size = (0, 0)
        self._stamp = -1
        self._time_base = 1 / self._fps

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def write(self, bgr: np.ndarray, time_s: float | None = None) -> None:
        """Append one picture: HxWx3 uint8 BGR, or HxW uint8 grey.

        time_s: when it is shown, seconds from the first picture; given for every picture of a film, or for none. Times that do not grow
        are put one tick after the last.
        """
        import av

        picture = _as_bgr(bgr)
        if self._container is None:
            self._open(picture, 1 / self._fps if time_s is None else TICK)
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        height, width = picture.shape[:2]
        if height % 2 or width % 2:
            picture = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")
        self._stamp = self.frames if time_s is None else max(self._stamp + 1, round(time_s / self._time_base))
        frame.pts = self._stamp
        frame.time_base = self._time_base
        for packet in self._stream.encode(frame):  # type: ignore[attr-defined]
            self._container.mux(packet)  # type: ignore[attr-defined]
        self.frames += 1

    def close(self) -> None:
        """Finish the film and give it its name. Harmless when called twice."""
        if self._container is None:
            return
        container, stream = self._container, self._stream
        self._container = self._stream = None
        try:
            for packet in stream.encode(None):
                container.mux(packet)
            container.close()
        except BaseException:
            self._partial.unlink(missing_ok=True)
            raise
        os.replace(self._partial, self.path)

    def _open(self, picture: np.ndarray, time_base: Fraction) -> None:
        import av

        self._time_base = time_base
        self.path.parent.mkdir(parents=True, exist_ok=True)
        height, width = picture.shape[:2]
        self._size = (width, height)
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "+faststart"})
        stream = container.add_stream(codec, rate=self._fps)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = time_base
        if self._keyframes_every is not None:
            stream.codec_context.gop_size = self._keyframes_every
        if codec == "libx264":
            stream.options = {"crf": str(self._quality), "preset": "veryfast"}
        else:
            stream.bit_rate = 8 * stream.width * stream.height
        self._container, self._stream = container, stream


def _as_bgr(picture: np.ndarray) -> np.ndarray:
    """HxWx3 uint8 from a BGR or grey picture; anything else is an error that says what it was."""
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3):
        raise ValueError(f"a picture must be HxWx3 or HxW uint8, not {picture.shape} {picture.dtype}")
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.ndim == 2 else picture
