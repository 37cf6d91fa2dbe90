"""A film as if a camera sent it: at its own speed, again and again; whoever is slow misses pictures."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from ..image_registration.video_reader import VideoReader
from ..recordings.own_speed import at_own_speed


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
            yield from at_own_speed(self._film, self._film.times, self._film.fps)
