"""What libraries of the retrieval benchmark hold and what they are asked: bent photos, or the pictures of VeRLab's benchmark."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from dalf_training.data.difficulty import LEVELS
from dalf_training.data.photos import TABLE, Split, find_photos, read_photo, read_sources
from dalf_training.evaluation.benchmark import SIZE, benchmark_photos, make_pair
from dalf_training.evaluation.tps_benchmark import find_objects

BACKGROUNDS = 40            # photos of collections that no library holds anything of
VOCABULARY = 60             # others of them, from which visual words are learnt
CUTS = ((1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (4, 3), (4, 4))      # columns and rows a photo is cut into where more are needed


@dataclass(frozen=True)
class Picture:
    """A picture to make a template of. place: what it shows; pictures of one place are equally right.

    image: (H, W, 3) uint8 BGR. mask: (H, W) bool; None: all of it.
    """

    name: str
    place: str
    image: np.ndarray
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Query:
    """A picture to ask with. level: the line of the table that it counts in. known: whether libraries hold its place."""

    level: str
    name: str
    place: str
    known: bool
    image: np.ndarray


@dataclass(frozen=True)
class Photos:
    """Photos to ask with and to fill libraries with. place: what a photo may share with others, by its name: the folder of its source.

    known: kept from training, in every library; unknown: kept from training, of collections that no library holds anything of.
    backgrounds, vocabulary: of those collections too, trained on.
    """

    known: list[Path]
    unknown: list[Path]
    fillers: list[Path]
    backgrounds: list[Path]
    vocabulary: list[Path] = field(default_factory=list)
    place: dict[str, str] = field(default_factory=dict)

    def where(self, photo: Path) -> str:
        """Its place; its name where no table tells its source."""
        return self.place.get(photo.name, photo.name)


def chosen(folder: Path, without: str) -> Photos:
    """The photos of a folder; those whose names begin with `without` are left out. Collections are known and unknown by turns."""
    table, split = folder / TABLE, Split(folder)
    sources = read_sources(table) if table.is_file() else {}
    source = {str(file): PurePosixPath(name) for name, files in sources.items() for file in files}
    collection = {name: path.parts[0] for name, path in source.items()}
    kept = [path for path in benchmark_photos(folder) if not (without and path.name.startswith(without))]
    strange = set(sorted({collection.get(path.name, path.name) for path in kept})[1::2])
    unknown = [path for path in kept if collection.get(path.name, path.name) in strange]
    trained = [path for path in find_photos(folder) if not split.holds_out(path) and path not in kept
               and not (without and path.name.startswith(without))]
    trained = [trained[i] for i in np.random.default_rng(0).permutation(len(trained))]
    nowhere = [path for path in trained if collection.get(path.name) in strange]
    return Photos([path for path in kept if path not in unknown], unknown, [path for path in trained if path not in nowhere],
                  nowhere[:BACKGROUNDS] or trained[:BACKGROUNDS], nowhere[BACKGROUNDS:BACKGROUNDS + VOCABULARY],
                  {name: str(path.parent) for name, path in source.items()})


def library_pictures(photos: Photos, size: int) -> list[Picture]:
    """`size` pictures: the known photos whole, then fillers. ValueError: there are too few photos."""
    known = [Picture(path.name, photos.where(path), read_photo(path, SIZE)) for path in photos.known]
    return (known + fillers(photos, max(size - len(known), 0)))[:size]


def fillers(photos: Photos, count: int) -> list[Picture]:
    """So many pictures to fill a library with: whole photos, or parts of them, the same cut for all, where more are needed."""
    cut = next((cut for cut in CUTS if cut[0] * cut[1] * len(photos.fillers) >= count), None)
    if cut is None:
        most = CUTS[-1][0] * CUTS[-1][1] * len(photos.fillers) + len(photos.known)
        raise ValueError(f"there are too few photos for so many templates: {len(photos.fillers)} beside the queries' make {most} at most; "
                         "ask for fewer (--sizes) or give a larger folder (--photos)")
    found: list[Picture] = []
    for path in photos.fillers:
        if len(found) >= count:
            break
        whole = read_photo(path, SIZE)
        parts = [part for rows in np.array_split(whole, cut[1], axis=0) for part in np.array_split(rows, cut[0], axis=1)]
        sized = parts if len(parts) == 1 else [cv2.resize(part, SIZE) for part in parts]
        found += [Picture(f"{path.name} {number} of {len(parts)}", photos.where(path), part) for number, part in enumerate(sized, 1)]
    return found[:count]


def photo_queries(photos: Photos, copies: int) -> list[Query]:
    """Every photo, warped so often at each level, before backgrounds by turns."""
    asked = []
    for level in LEVELS:
        for number, path in enumerate([*photos.known, *photos.unknown]):
            for copy in range(copies):
                background = photos.backgrounds[(number + copy) % len(photos.backgrounds)]
                image = make_pair(path, background, level, 1000 * copy + number).image_b
                asked.append(Query(level, path.name, photos.where(path), path in photos.known, image))
    return asked


def verlab(images: Path, truth: Path) -> tuple[list[Picture], list[Query]]:
    """VeRLab's benchmark (docs/evaluation.md has the layout): objects at rest, cut out by their masks, and their bent pictures.

    Its objects are all known; the levels are its datasets. ValueError or FileNotFoundError: a folder or a file is missing; it is named.
    """
    at_rest, asked = [], []
    for found in find_objects(images, truth):
        place = f"{found.dataset} {found.name}"
        at_rest.append(Picture(place, place, found.image(found.reference), found.reference_mask()))
        asked += [Query(found.dataset, f"{place} {name}", place, True, found.image(name)) for name in found.targets]
    return at_rest, asked
