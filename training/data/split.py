"""Which photos are kept for evaluation and never trained on.

A photo alone is judged by its file name. Photos of one source, such as cuts of one picture, stay together: a source is kept only if the
names of all its files say so. Thus less is kept than by the names alone, and nothing that a run split by names alone has learned from.
"""
from __future__ import annotations

import csv
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

HELD_OUT_SHARE = 0.1
TABLE = "sources.tsv"           # which source each photo of its folder is from
COLUMNS = ("file", "source")    # that it must have; others do not count


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
    header, *rows = csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE) if text.strip() else ([],)
    if missing := [name for name in COLUMNS if header.count(name) != 1]:
        raise ValueError(f"{table} must have one column {missing[0]!r}; its first line, with tabs between the columns, names {header}")
    sources: dict[str, list[PurePosixPath]] = defaultdict(list)
    lines: dict[PurePosixPath, int] = {}
    for line, row in enumerate(rows, 2):
        if not row:
            continue
        cells = dict(zip(header, row))
        if len(row) != len(header) or not all(cells[name].strip() for name in COLUMNS):
            raise ValueError(f"{table}, line {line}: must hold {len(header)} cells with tabs between them, {' and '.join(COLUMNS)} not empty")
        file = PurePosixPath(cells["file"])
        if file in lines:
            raise ValueError(f"{table}, line {line}: {file} is listed on line {lines[file]}, too; a photo has one source")
        lines[file] = line
        sources[cells["source"]].append(file)
    return dict(sources)
