"""Pictures that come by themselves: a webcam, or a stream from the network. Whoever is slow misses some, and always gets the newest."""
from __future__ import annotations

import glob
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

FALLBACK_FPS = 30.0
SILENCE_S = 10.0        # without a picture: the source has failed
URL = re.compile(r"(rtsps?|rtmps?|https?|udp|tcp|srt|rtp)://", re.IGNORECASE)


class LiveVideoError(RuntimeError):
    """The camera or stream cannot be read; the message says why."""


def is_live(name: str) -> bool:
    """Whether a name is a camera (`0`, `/dev/video0`) or a stream (`rtsp://…`, `http://…`), not a file; a file named 0 is `./0`."""
    return bool(URL.match(name) or name.isdigit() or name.startswith("/dev/video"))


class LiveVideo:
    """A camera's or stream's newest pictures, HxWx3 uint8 BGR. Use it in a `with` block.

    Reads like image_registration.video_reader.VideoReader, except that it ends only when the stream does: frames is None, and times grows
    as pictures are taken: seconds from the first one, by the clock. left_out: pictures that came and were not taken, for newer ones did.
    A stream that breaks off, or is silent for ten seconds, ends there too; problem then says why, else it is empty.
    LiveVideoError: no such camera or stream, or not even a first picture.

    opened: what reads the pictures, where that is not a camera's or stream's usual way; they may then be of another kind.
    """

    frames = None

    def __init__(self, name: str, opened: Opened | None = None) -> None:
        self.name = name
        self.times: list[float] = []
        self.left_out = 0
        self._read, self._close, self.fps = opened or (_open_stream(name) if URL.match(name) else _open_camera(name))
        self._news = threading.Condition()
        self._newest: tuple[np.ndarray, float] | None = None
        self._first: np.ndarray | None = None
        self._began = 0.0
        self._over, self.problem = False, ""
        self._thread = threading.Thread(target=self._receive, name="camera", daemon=True)
        self._thread.start()

    def __enter__(self) -> LiveVideo:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the camera back. Harmless when called twice."""
        self._over = True
        self._thread.join(SILENCE_S)

    def frame(self, number: int) -> np.ndarray:
        """Frame 0, which iterating gives too. ValueError: of a live source no other can be asked for."""
        if number != 0:
            raise ValueError(f"{self.name} is live: only its first frame, 0, can be the reference")
        if self._first is None:
            taken = self._take()
            if taken is None:
                raise LiveVideoError(self.problem or f"{self.name} ended before its first picture")
            self._first, self._began = taken
        return self._first

    def __iter__(self) -> Iterator[np.ndarray]:
        """The first frame, then at each step the newest."""
        first = self.frame(0)
        self.times.append(0.0)
        yield first
        while (taken := self._take()) is not None:
            self.times.append(taken[1] - self._began)
            yield taken[0]

    def _take(self) -> tuple[np.ndarray, float] | None:
        """The newest picture, once there is one that was not taken, and when it came; None at the end of the stream."""
        with self._news:
            if not self._news.wait_for(lambda: self._newest is not None or self._over, SILENCE_S):
                self.problem = f"{self.name}: no picture for {SILENCE_S:g} s; is it still connected?"
            taken, self._newest = self._newest, None
        return taken

    def _receive(self) -> None:
        """On its own thread: read on, whatever becomes of the pictures."""
        try:
            while not self._over and (picture := self._read()) is not None:
                with self._news:
                    self.left_out += self._newest is not None
                    self._newest = (picture, time.monotonic())
                    self._news.notify_all()
        except Exception as error:      # of any kind, of foreign code: told where pictures are asked for
            self.problem = f"{self.name} broke off: {_reason(error)}"
        finally:
            self._close()
            with self._news:
                self._over = True
                self._news.notify_all()


Opened = tuple[Callable[[], Any], Callable[[], None], float]        # reads the next picture (None: the end); closes; frames a second


def camera_device(name: str) -> Path:
    """The device file of a camera by number or name. Raises LiveVideoError where it is not there, or not to be read."""
    device = Path(f"/dev/video{name}" if name.isdigit() else name)
    if not device.exists():
        there = ", ".join(sorted(glob.glob("/dev/video*")))
        raise LiveVideoError(f"there is no camera {device}" + (f"; there are {there}" if there else ": no camera is connected")
                             + (f" (a file of that name: ./{name})" if name.isdigit() else ""))
    if not os.access(device, os.R_OK | os.W_OK):
        raise LiveVideoError(f"{device} may not be read: sudo usermod -aG video $USER, then log in again")
    return device


def v4l2_camera(name: str) -> tuple[Path, Any]:
    """A camera by number or device file: its device, and OpenCV's VideoCapture. Raises LiveVideoError."""
    import cv2

    device = camera_device(name)
    camera = cv2.VideoCapture(str(device), cv2.CAP_V4L2)
    if not camera.isOpened():
        raise LiveVideoError(f"{device} gives no pictures: it is in use by another program, or is no camera")
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return device, camera


def _open_camera(name: str) -> Opened:
    """A camera by number or device file, through OpenCV."""
    import cv2

    _, camera = v4l2_camera(name)

    def read() -> np.ndarray:
        came, picture = camera.read()
        if not came:
            raise LiveVideoError("it gives no more pictures; was it unplugged?")
        return picture

    return read, camera.release, camera.get(cv2.CAP_PROP_FPS) or FALLBACK_FPS


def _open_stream(url: str) -> Opened:
    """A stream from the network, through FFmpeg."""
    import av

    options = {"rtsp_transport": "tcp"} if url.lower().startswith("rtsp") else {}
    try:
        container = av.open(url, timeout=SILENCE_S, options=options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise LiveVideoError(f"{url} cannot be opened: {_reason(error)}") from error
    if not container.streams.video:
        container.close()
        raise LiveVideoError(f"{url} has no video in it")
    stream = container.streams.video[0]
    pictures = container.decode(stream)

    def read() -> np.ndarray | None:
        frame = next(pictures, None)
        return None if frame is None else np.ascontiguousarray(frame.to_ndarray(format="bgr24"))

    return read, container.close, float(stream.average_rate or stream.guessed_rate or FALLBACK_FPS)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
