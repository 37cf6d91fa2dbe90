"""Depth as 16-bit pictures: of a V4L2 camera (Z16, Y16), or of a film (FFV1 gray16, for one). OpenCV reads both."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from .live_video import FALLBACK_FPS, LiveVideo, LiveVideoError, Opened, is_live, v4l2_camera
from .own_speed import at_own_speed

FORMATS = ("Z16 ", "Y16 ")          # V4L2's names; the first that the camera takes
RATES = 0.02                        # share by which the rates of colour and depth may differ
SHAPES = 0.01                       # and their ratios of width to height


class DepthVideoError(RuntimeError):
    """Depth that cannot be read, or does not belong to the colour pictures; the text says why, and the mend."""


def check_kinds(color: str, depth: str) -> None:
    """That both are cameras, or both films, by their names. Raises DepthVideoError."""
    if is_live(color) != is_live(depth):
        raise DepthVideoError(f"{color} and {depth}: one is live, the other is not; both must be cameras, or both films")


class PairedVideo:
    """Colour and depth of one view, together: iterating gives pictures HxWx3 uint8 BGR and depth hxw uint16, as the source numbers it.

    Of two films the pictures of the same number, at their own speed, again and again; of two cameras the newest of both. Depth lies on the
    pixels of colour; its resolution may be another, its shape may not. Use it in a `with` block.

    color: a LiveVideo or image_registration's VideoReader; depth: the name of a camera or film: see check_kinds().
    DepthVideoError: what is no depth, or does not belong together; LiveVideoError: what cannot be read at all.
    """

    def __init__(self, color: Any, depth: str) -> None:
        own = LiveVideo(depth, open_depth_camera(depth)) if is_live(depth) else DepthFilm(Path(depth))
        self._sources: tuple[Any, Any] = color, own
        try:
            self._check(color, own)
        except Exception:
            self.close()
            raise

    def __enter__(self) -> PairedVideo:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the depth camera back; colour is the caller's."""
        self._sources[1].close()

    @property
    def problem(self) -> str:
        """Why a camera broke off; empty: it did not."""
        return next((source.problem for source in self._sources if getattr(source, "problem", "")), "")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the colour pictures."""
        height, width = self._sources[0].frame(0).shape[:2]
        return width, height

    def _check(self, color: Any, depth: Any) -> None:
        """That they can be of one camera. Raises DepthVideoError."""
        image, numbers = color.frame(0), depth.frame(0)
        if abs(image.shape[1] * numbers.shape[0] / (image.shape[0] * numbers.shape[1]) - 1) > SHAPES:
            raise DepthVideoError(f"depth has {numbers.shape[1]}x{numbers.shape[0]} pixels, colour {image.shape[1]}x{image.shape[0]}: they "
                                  "must be of one shape, each pixel of depth where colour has it")
        if abs(color.fps / depth.fps - 1) > RATES:
            raise DepthVideoError(f"depth has {depth.fps:g} pictures a second, colour {color.fps:g}: they must have one rate")

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        color, depth = self._sources
        if isinstance(color, LiveVideo):
            yield from zip(color, depth, strict=False)
            return
        while True:
            yield from at_own_speed(zip(color, depth, strict=False), color.times, color.fps)


class DepthFilm:
    """A film of 16-bit grey pictures; iterating begins anew each time. DepthVideoError: it cannot be read, or has other pictures."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise DepthVideoError(f"{path}: there is no such file")
        film = self._open()
        self.fps = film.get(cv2.CAP_PROP_FPS) or FALLBACK_FPS
        came, first = film.read()
        film.release()
        if not came:
            raise DepthVideoError(f"{path} is no film that can be read, or has no picture")
        self._first = _as_depth(first, str(path), (0, 0))

    def _open(self) -> Any:
        film = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        film.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        return film

    def frame(self, _: int) -> np.ndarray:
        """The first one."""
        return self._first

    def close(self) -> None:
        """Nothing is kept open."""

    def __iter__(self) -> Iterator[np.ndarray]:
        film = self._open()
        try:
            while (read := film.read())[0]:
                yield _as_depth(read[1], str(self._path), (0, 0))
        finally:
            film.release()


def open_depth_camera(name: str) -> Opened:
    """A V4L2 camera's depth, as LiveVideo takes it. Raises LiveVideoError, DepthVideoError."""
    device, camera = v4l2_camera(name)
    camera.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    if not any(camera.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*letters)) for letters in FORMATS):
        camera.release()
        raise DepthVideoError(f"{device} has no depth: it takes neither Z16 nor Y16; v4l2-ctl --list-devices and --list-formats tell which "
                              "device does")
    size = int(camera.get(cv2.CAP_PROP_FRAME_WIDTH)), int(camera.get(cv2.CAP_PROP_FRAME_HEIGHT))

    def read() -> np.ndarray:
        came, picture = camera.read()
        if not came:
            raise LiveVideoError("it gives no more pictures; was it unplugged?")
        return _as_depth(picture, str(device), size)

    return read, camera.release, camera.get(cv2.CAP_PROP_FPS) or FALLBACK_FPS


def _as_depth(picture: np.ndarray, name: str, size: tuple[int, int]) -> np.ndarray:
    """HxW uint16. size: width and height, where bytes come as a row, which OpenCV does with formats that it does not know."""
    numbers = np.squeeze(picture)
    if numbers.dtype == np.uint8 and numbers.ndim == 1 and numbers.size == 2 * size[0] * size[1]:
        return numbers.view("<u2").reshape(size[1], size[0])
    if numbers.dtype != np.uint16 or numbers.ndim != 2:
        bits = f"{8 * numbers.dtype.itemsize}-bit pictures" + (f" of {numbers.shape[2]} channels" if numbers.ndim == 3 else "")
        raise DepthVideoError(f"{name} gives {bits}, and depth is one channel of 16 bits (a camera's Z16 or Y16; a film's gray16, as FFV1 "
                              "keeps it): is it the colour, or a picture of depth?")
    return np.ascontiguousarray(numbers)
