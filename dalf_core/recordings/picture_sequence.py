"""Pictures in a row, as a film is."""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from ..files.picture_file import read_picture
from .folder_layout import COLOR, PICTURES, folder_below, pictures_in

FPS = 30.0


class PictureSequence:
    """Reads like image_registration.video_reader.VideoReader: frames, times (frames,) seconds from the first, fps; iterating gives HxWx3
    uint8 or uint16 BGR pictures. OSError names a picture that cannot be read when its turn comes."""

    def __init__(self, paths: Sequence[Path], fps: float = FPS) -> None:
        self.paths, self.fps = list(paths), fps
        self.frames = len(self.paths)
        self.times = np.arange(self.frames) / fps

    def __enter__(self) -> PictureSequence:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def __iter__(self) -> Iterator[np.ndarray]:
        return (read_picture(path) for path in self.paths)

    def frame(self, number: int) -> np.ndarray:
        """Frame `number`, from 0: HxWx3 BGR. ValueError: there is none."""
        if not 0 <= number < self.frames:
            raise ValueError(f"there is no frame {number}: the {self.frames} pictures are numbered from 0 to {self.frames - 1}")
        return read_picture(self.paths[number])


def find_pictures(name: Path) -> list[Path] | None:
    """The pictures that a folder (or its color/, rgb/, …), a pattern (rgb_%03d.png) or a glob (*.png) names, by number; None for a file.

    ValueError: none is there.
    """
    if name.is_dir():
        found = pictures_in(folder_below(name, COLOR) or name, PICTURES)
    elif "%" in name.name:
        pattern = re.sub(r"%0?(\d*)d", lambda number: rf"\d{{{number[1] or 1},}}", re.escape(name.name))
        found = [path for path in pictures_in(name.parent, PICTURES) if re.fullmatch(pattern, path.name)] if name.parent.is_dir() else []
    elif re.search(r"[*?\[]", name.name) and not name.exists():
        found = [path for path in pictures_in(name.parent, PICTURES) if path.match(name.name)] if name.parent.is_dir() else []
    else:
        return None
    if not found:
        raise ValueError(f"{name}: there are no pictures ({', '.join(PICTURES)})")
    return found
