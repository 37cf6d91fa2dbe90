"""Photos brought to one size and kept in one file, so that a training run reads each of them from disk once."""
from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dalf_core.files.picture_file import decode_picture
from dalf_core.files.user_cache import cache_folder
from dalf_core.files.whole_file import whole_file, write_whole
from dalf_core.progress_bar import progress_bar

from .photos import Split, find_photos, fitted

VERSION = 1             # of how photos are brought to size
LEAST_PHOTOS = 2        # to learn from: behind one photo the next is seen
AT_ONCE = 64            # photos read ahead: bounds the memory, and the time until an interruption takes hold
LEFTOVER_AGE = 600.0    # seconds since a cache that is being made was last written to; older ones were abandoned


@dataclass(frozen=True)
class PhotoCache:
    """Photos of one size. pixels: (N, H, W, 3) uint8 BGR, on disk. names: (N,) relative to the folder. skipped: name and reason.

    key: of the photos' names and lengths, and of the size; a copied folder keeps it. held_out: names of those kept for validation.
    unlisted: how many stand in no table of sources, though there is one.
    """

    pixels: np.ndarray
    names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    key: str
    held_out: frozenset[str] = frozenset()
    unlisted: int = 0

    def training(self) -> np.ndarray:
        """Indices of the photos to learn from. ValueError: fewer than two."""
        found = np.flatnonzero([name not in self.held_out for name in self.names])
        if len(found) < LEAST_PHOTOS:
            kept = len(self.names) - len(found)
            raise ValueError(f"there are {len(found)} photos to learn from (of {len(self.names)} that can be used, {kept} are kept for "
                             f"validation); at least {LEAST_PHOTOS} are needed, some hundreds are better")
        return found

    def validation(self) -> np.ndarray:
        """Indices of the photos kept for validation; there may be none."""
        return np.flatnonzero([name in self.held_out for name in self.names])


def open_photos(folder: Path, size: tuple[int, int], least: tuple[int, int], cache: Path | None = None,
                progress: bool = True) -> PhotoCache:
    """The photos of a folder at size (width, height), from the cache if they are there, made otherwise.

    Photos that cannot be read or are smaller than `least` are skipped, with a reason. cache: folder for the files, by default in the
    user's cache. ValueError: no folder, no usable photo, a broken table of sources. OSError: the cache cannot be written, e.g. because
    the disk is full.
    """
    paths, split = find_photos(folder), Split(folder)
    key = _key(folder, paths, size, least)
    base = (cache or cache_folder() / "photos") / f"{key}-{_digest([path.stat().st_mtime_ns for path in paths])}"
    described, pixels = base.with_suffix(".json"), base.with_suffix(".npy")
    if not (described.is_file() and pixels.is_file()):
        try:
            base.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(base.parent)
            _make(folder, paths, size, least, described, pixels, progress)
        except OSError as error:
            raise OSError(f"the photos' cache {base.parent} cannot be written: {error.strerror or error}; "
                          "name another folder with --cache") from error
    content = json.loads(described.read_text(encoding="utf-8"))
    skipped = tuple((name, reason) for name, reason in content["skipped"])
    if not content["names"]:
        raise ValueError(f"none of the {len(paths)} photos in {folder} can be used: {'; '.join(map(' '.join, skipped[:3]))}")
    names = content["names"]
    return PhotoCache(np.load(pixels, mmap_mode="r"), tuple(names), skipped, key,
                      frozenset(name for name in names if split.holds_out(folder / name)), len(split.unlisted(paths)))


def _key(folder: Path, paths: list[Path], size: tuple[int, int], least: tuple[int, int]) -> str:
    return _digest([VERSION, size, least, [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths]])


def _digest(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:20]


def _make(folder: Path, paths: list[Path], size: tuple[int, int], least: tuple[int, int], described: Path, pixels: Path,
          progress: bool) -> None:
    """Write the two files of a cache entry; the one with the names last. Interrupted, it leaves nothing that would be taken for one."""
    names, skipped = [], []
    with whole_file(pixels) as partial, open(partial, "wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(paths), size[1], size[0], 3)}
        np.lib.format.write_array_header_1_0(stream, header)
        made = _all_fitted(paths, size, least)
        for path, photo in progress_bar(zip(paths, made), "Photos", len(paths), disable=not progress, unit="photo"):
            name = path.relative_to(folder).as_posix()
            if isinstance(photo, str):
                skipped.append((name, photo))
            else:
                names.append(name)
                stream.write(photo.tobytes())
        stream.truncate()
        stream.seek(0)
        np.lib.format.write_array_header_1_0(stream, {**header, "shape": (len(names), size[1], size[0], 3)})
    write_whole(described, json.dumps({"folder": str(folder.resolve()), "names": names, "skipped": skipped}).encode())


def _remove_leftovers(folder: Path) -> None:
    """Files of processes that were killed while they made a cache."""
    for path in folder.glob(".*.part*"):
        if time.time() - path.stat().st_mtime > LEFTOVER_AGE:
            path.unlink(missing_ok=True)


def _all_fitted(paths: list[Path], size: tuple[int, int], least: tuple[int, int]) -> Iterator[np.ndarray | str]:
    """_fitted for each of the paths, by several threads."""
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(paths), AT_ONCE):
            yield from pool.map(lambda path: _fitted(path, size, least), paths[first:first + AT_ONCE])


def _fitted(path: Path, size: tuple[int, int], least: tuple[int, int]) -> np.ndarray | str:
    """A photo at size (width, height), uint8 BGR; or why it cannot be used. Upright photos are laid down."""
    try:
        photo = decode_picture(np.fromfile(path, np.uint8))
    except (OSError, ValueError) as error:
        return str(error)
    if photo.shape[0] > photo.shape[1]:
        photo = cv2.rotate(photo, cv2.ROTATE_90_CLOCKWISE)
    height, width = photo.shape[:2]
    if width < least[0] or height < least[1]:
        return f"{width}x{height} is smaller than the crop, {least[0]}x{least[1]} (setting crop_size)"
    return fitted(photo, size)
