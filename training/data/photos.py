"""Photos on disk: which there are, and which of them are kept for evaluation and never trained on.

A photo alone is judged by its file name. Photos of one source, such as cuts of one picture, stay together: a source is kept only if the
names of all its files say so. Thus less is kept than by the names alone, and nothing that a run split by names alone has learned from.
"""
from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from dalf_core.files.picture_file import read_picture

SUFFIXES = {".webp", ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
HELD_OUT_SHARE = 0.1
TABLE = "sources.tsv"           # which source each photo of its folder is from
COLUMNS = ("file", "source")    # that it must have; others do not count


def find_photos(folder: str | os.PathLike) -> list[Path]:
    """The photos in a folder and the folders below it, in order of their names. ValueError: there is no such folder, or no photo in it."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; name one that holds photos")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise ValueError(f"{folder} holds no photos ({', '.join(sorted(SUFFIXES))})")
    return found


def held_out(path: str | os.PathLike) -> bool:
    """Whether the name of a photo says that it is kept: about one in ten, by a hash of the file name alone, without its folders."""
    digest = hashlib.sha256(Path(path).name.encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2 ** 32


class Split:
    """The photos of a folder parted by their sources, as the tables in it and in the folders below tell.

    A table decides by what it lists, not by what is on disk, so that a part of the folder is parted like the whole. Photos in no table
    are judged by their names. ValueError: a table that is broken, with its line.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.tables = sorted(Path(folder).rglob(TABLE))
        self._kept: dict[Path, bool] = {}
        for table in self.tables:
            for files in read_sources(table).values():
                kept = all(held_out(file) for file in files)
                for file in files:
                    path = table.parent / file
                    if path in self._kept:
                        raise ValueError(f"{table}: {file} is listed in a table of another folder, too; list it once")
                    self._kept[path] = kept

    def holds_out(self, photo: Path) -> bool:
        """Whether a photo, a path that begins with the folder, is kept for evaluation."""
        return self._kept[photo] if photo in self._kept else held_out(photo)

    def unlisted(self, photos: Iterable[Path]) -> list[Path]:
        """The photos that stand in none of the tables, though there are some."""
        return [photo for photo in photos if photo not in self._kept] if self.tables else []


def read_sources(table: Path) -> dict[str, list[PurePosixPath]]:
    """The files of each source, relative to the table's folder. ValueError: the table is broken; OSError: it cannot be read.

    The table is UTF-8 text with tabs between its columns, without quotes. The first line names the columns.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{table} is not UTF-8: {error.reason} at byte {error.start}; save it as UTF-8") from error
    header, *rows = (line.split("\t") for line in text.split("\n"))        # read_text has made every end of a line one of these
    if missing := [name for name in COLUMNS if header.count(name) != 1]:
        raise ValueError(f"{table} must have one column {missing[0]!r}; its first line, with tabs between the columns, names {header}")
    sources: dict[str, list[PurePosixPath]] = defaultdict(list)
    lines: dict[PurePosixPath, int] = {}
    for line, row in enumerate(rows, 2):
        if row == [""]:
            continue
        cells = dict(zip(header, row))
        if len(row) != len(header) or not all(cells[name].strip() for name in COLUMNS):
            raise ValueError(f"{table}, line {line}: must hold {len(header)} cells with tabs between them, "
                             f"{' and '.join(COLUMNS)} not empty")
        file = PurePosixPath(cells["file"])
        if file in lines:
            raise ValueError(f"{table}, line {line}: {file} is listed on line {lines[file]}, too; a photo has one source")
        lines[file] = line
        sources[cells["source"]].append(file)
    return dict(sources)


def read_photo(path: str | os.PathLike, size: tuple[int, int]) -> np.ndarray:
    """A photo as HxWx3 uint8 BGR of size (width, height): its middle, cut to that shape and resized. OSError: it cannot be read."""
    return fitted(read_picture(Path(path)), size)


def fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle of an image in the shape of size (width, height), resized to it."""
    height, width = image.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    cut_width, cut_height = min(width, round(size[0] / scale)), min(height, round(size[1] / scale))
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    cut = image[top:top + cut_height, left:left + cut_width]
    return cv2.resize(cut, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
