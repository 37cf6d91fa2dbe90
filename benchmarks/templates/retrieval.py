#!/usr/bin/env python3
"""Which template of a library does a picture show, or none: bent, turned pictures of known and of unknown things.

    ./run exec python benchmarks/templates/retrieval.py [--photos DIR] [--sizes 20,200] [--weights light] [--copies 2] [--rows ours sift]

Photos kept from training are known (their templates are in the library) or unknown, by collections (the first part of a source in
sources.tsv), and photos of the known collections that were trained on fill the library: whole, or halves, quarters. Queries are warped
at three levels, before a background that the library does not hold. Photos whose sources lie in one folder may show one place: both are
right. docs/templates.md tells what came out.
"""
from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from dalf_training.data.difficulty import LEVELS
from dalf_training.data.photos import TABLE, Split, find_photos, read_photo, read_sources
from dalf_training.evaluation.benchmark import SIZE, benchmark_photos, make_pair

from dalf_core import DALF
from dalf_core.progress_bar import progress_bar
from dalf_core.templates.library import Library
from dalf_core.templates.template import Template
from dalf_core.types import Features

BACKGROUNDS = 40            # photos of collections that no library holds anything of
ROWS = ("ours", "sift")


class Sift:
    """RootSIFT of OpenCV in DALF's place."""

    fingerprint = "sift"

    def __init__(self, top_k: int) -> None:
        self._sift = cv2.SIFT_create(top_k)

    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        """As DALF.extract."""
        mask = None if mask is None else mask.astype(np.uint8)
        keypoints, descriptors = self._sift.detectAndCompute(image, mask)
        order = np.argsort([-point.response for point in keypoints], kind="stable")
        if descriptors is None:
            return Features(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, 128), np.float32), image.shape[1::-1])
        root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9))
        xy = np.array([point.pt for point in keypoints], np.float32)
        scores = np.array([point.response for point in keypoints], np.float32)
        return Features(xy[order], scores[order], root[order].astype(np.float32), image.shape[1::-1])


@dataclass(frozen=True)
class Query:
    """A warped picture of a photo."""

    level: str
    photo: Path
    known: bool
    image: np.ndarray


@dataclass(frozen=True)
class Answer:
    """What came back. right: the photo is in the library and ranked first; verified: matches of the first of the ranking, all looks;
    milliseconds: beside extraction and the last match."""

    level: str
    known: bool
    right: bool
    accepted: bool
    verified: int
    milliseconds: float


@dataclass(frozen=True)
class Photos:
    """Photos to ask with and to fill libraries with. place: what a photo may share with others, by its name: the folder of its source.

    known: kept from training, in every library; unknown: kept from training, of collections that no library holds anything of.
    """

    known: list[Path]
    unknown: list[Path]
    fillers: list[Path]
    backgrounds: list[Path]
    place: dict[str, str]


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
                  nowhere[:BACKGROUNDS] or trained[:BACKGROUNDS],
                  {name: str(path.parent) for name, path in source.items()})


def fillers(photos: list[Path], count: int) -> list[tuple[str, np.ndarray]]:
    """So many pictures to fill a library with, each with the name of its photo: whole ones, or halves or quarters where more are needed."""
    sides = next((sides for sides in ((1, 1), (2, 1), (2, 2)) if sides[0] * sides[1] * len(photos) >= count), None)
    if sides is None:
        raise ValueError(f"there are too few photos for {count} templates: {len(photos)} beside the queries'")
    found = []
    for path in photos:
        whole = read_photo(path, SIZE)
        found += [(path.name, part if sides == (1, 1) else cv2.resize(part, SIZE))
                  for rows in np.array_split(whole, sides[1], axis=0) for part in np.array_split(rows, sides[0], axis=1)]
    return found[:count]


def queries(photos: Photos, copies: int) -> list[Query]:
    """Every photo, warped so often at each level."""
    asked = []
    for level in LEVELS:
        for number, path in enumerate([*photos.known, *photos.unknown]):
            for copy in range(copies):
                background = photos.backgrounds[(number + copy) % len(photos.backgrounds)]
                asked.append(Query(level, path, path in photos.known, make_pair(path, background, level, 1000 * copy + number).image_b))
    return asked


def measure(extractor: DALF | Sift, photos: Photos, size: int, asked: list[Query], found: list[Features]) -> list[Answer]:
    """Every query against a library of `size` templates: the known photos and fillers."""
    library = Library(extractor)        # type: ignore[arg-type]
    pictures = [(path.name, read_photo(path, SIZE)) for path in photos.known] + fillers(photos.fillers, size - len(photos.known))
    for number, (name, picture) in enumerate(progress_bar(pictures, desc="library", unit="template")):
        try:
            library.add(Template.of_frame(f"{number} {name}", picture))
        except ValueError:
            continue        # too plain to be one
    print(f"{len(library)} templates")
    library.candidates(found[0])        # makes the index
    answers = []
    for query, features in zip(progress_bar(asked, desc="queries", unit="query"), found):
        started = time.perf_counter()
        first = library.candidates(features)
        took = 1e3 * (time.perf_counter() - started)
        result = library.recognise(query.image, features)
        verified = 0 if result.matches is None else result.matches.verified_unaligned
        name = first[0].name.split(" ", 1)[1] if first else ""
        is_right = name == query.photo.name or photos.place.get(name) == photos.place.get(query.photo.name, "none")
        answers.append(Answer(query.level, query.known, query.known and is_right, result.name is not None, verified, took))
        if result.name is not None and not (query.known and is_right):
            print(f"{query.level}: {query.photo.name} taken for {result.name}, {verified} verified matches")
    return answers


def table(title: str, answers: list[Answer]) -> str:
    """Recall and false accepts by level."""
    lines = [f"{title:28}{'ranked first':>14}{'recognised':>12}{'false accepts':>15}{'verified known':>16}{'unknown, most':>15}{'ms':>8}"]
    for level in LEVELS:
        known = [a for a in answers if a.level == level and a.known]
        unknown = [a for a in answers if a.level == level and not a.known]
        wrong = [a.accepted for a in unknown] + [a.accepted and not a.right for a in known]
        lines.append(f"{level:28}{np.mean([a.right for a in known]):14.3f}{np.mean([a.right and a.accepted for a in known]):12.3f}"
                     f"{np.mean(wrong):15.3f}{np.median([a.verified for a in known]):16.0f}{max(a.verified for a in unknown):15d}"
                     f"{np.median([a.milliseconds for a in known + unknown]):8.0f}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 an error told in one line, 130 interrupted."""
    options = _parse(arguments)
    try:
        photos = chosen(options.photos, options.without)
        asked = queries(photos, options.copies)
        print(f"{len(photos.known)} known and {len(photos.unknown)} unknown photos, {len(asked)} queries")
        for row in options.rows:
            extractor = DALF(options.weights, top_k=options.top_k) if row == "ours" else Sift(options.top_k)
            started = time.perf_counter()
            found = [extractor.extract(query.image) for query in progress_bar(asked, desc=f"{row}: extraction", unit="query")]
            print(f"{row}: {1e3 * (time.perf_counter() - started) / len(asked):.0f} ms an extraction")
            for size in options.sizes:
                print(table(f"{row}, {size} templates", measure(extractor, photos, size, asked, found)), flush=True)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f"retrieval.py: {error}", file=sys.stderr)
        return 2
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("DALF_TEST_DATA")
    parser.add_argument("--photos", type=Path, default=Path(data) / "train_photos" if data else None, required=not data,
                        help="folder of photos; default $DALF_TEST_DATA/train_photos")
    parser.add_argument("--sizes", type=lambda text: [int(word) for word in text.split(",")], default=[20, 200],
                        help="templates of a library; default 20,200")
    parser.add_argument("--copies", type=int, default=2, help="queries of each photo and level (%(default)s)")
    parser.add_argument("--without", default="", metavar="PREFIX", help="leave out photos whose names begin so (game textures that come in "
                        "variants, for one)")
    parser.add_argument("--weights", help='of DALF: a path, "light" or "official"; default: the built-in ones')
    parser.add_argument("--top-k", type=int, default=1024, help="keypoints an image (%(default)s)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="default both")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
