"""The fixed matching benchmark: photos kept from training, each with a warped copy of itself, at three levels.

A pair depends on its photos, its level and its number alone. The levels (difficulty.LEVELS) are set such that the original reading of
the official weights scores on them as it did where its faults were first measured; see docs/benchmarks.md.
"""
from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..data.difficulty import LEVELS
from ..data.pairs import random_pairs, to_image, to_tensor
from ..data.photos import TABLE, Split, find_photos, read_photo
from ..data.warps import Warp
from .repetition import repeats_itself

SIZE = (640, 480)
TOP_K = 2048        # keypoints an image


@dataclass(frozen=True)
class BenchmarkPair:
    """One pair. image_a, image_b: HxWx3 uint8 BGR. warp: the true map, a single one in float64. photo: where A comes from."""

    level: str
    number: int
    photo: Path
    image_a: np.ndarray
    image_b: np.ndarray
    warp: Warp


def benchmark_photos(folder: str | os.PathLike, most: int | None = None) -> list[Path]:
    """The photos of a folder that are kept for evaluation, in an order that mixes kinds; the first `most` of them.

    Tiled textures and the like are left out: of two copies none is the right one. ValueError: fewer than two, a broken table of sources.
    """
    found, split = find_photos(folder), Split(folder)
    kept = sorted(filter(split.holds_out, found), key=lambda path: (zlib.crc32(path.name.encode()), path))
    photos = list(itertools.islice((path for path in kept if not repeats_itself(read_photo(path, SIZE))), most))
    if len(photos) < 2:
        raise ValueError(f"{folder} holds {len(photos)} photos that are kept for evaluation; at least 2 are needed (about one in ten is "
                         f"kept, unless it repeats itself; with {TABLE}, a source is kept if the names of all its photos say so)")
    return photos


def benchmark_pairs(folder: str | os.PathLike, level: str, count: int, first: int = 0) -> Iterator[BenchmarkPair]:
    """`count` pairs of a level ("easy", "medium", "hard") from a folder of photos, from number `first` on.

    Where there are more pairs than photos, these come again, warped in another way. ValueError: see benchmark_photos; an unknown level.
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {tuple(LEVELS)}, not {level!r}")
    photos = benchmark_photos(folder, first + count + 1)
    for number in range(first, first + count):
        yield make_pair(photos[number % len(photos)], photos[(number + 1) % len(photos)], level, number)


def make_pair(photo: Path, background: Path, level: str, number: int) -> BenchmarkPair:
    """One pair of the benchmark. The background is seen where the warped photo is not."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{level} {number}".encode()))
    image_a = read_photo(photo, SIZE)
    pairs = random_pairs(to_tensor([image_a]), to_tensor([read_photo(background, SIZE)]), SIZE, LEVELS[level], generator)
    return BenchmarkPair(level, number, photo, image_a, to_image(pairs.images_b[0]), pairs.warp.to(dtype=torch.float64))
