"""A film as if a camera sent it: at its own speed, again and again; whoever is slow misses pictures."""
from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from ..image_registration.video_reader import VideoReader


class LoopedFilm:
    """Iterating gives HxWx3 uint8 BGR pictures for ever. frame(0): the first one. VideoError: it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._film = VideoReader(path)
        self.fps = self._film.fps
        self.frames = None

    def __enter__(self) -> LoopedFilm:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._film.close()

    def frame(self, number: int) -> np.ndarray:
        return self._film.frame(number)

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            began = None        # to open the film anew takes its time
            for picture, due in zip(self._film, self._film.times, strict=False):
                began = time.monotonic() if began is None else began
                late = time.monotonic() - began - due
                if late > 1 / self._film.fps and due < self._film.times[-1]:
                    continue
                time.sleep(max(0.0, -late))
                yield picture
