#!/usr/bin/env python3
"""Which template of a library does a picture show, or none: bent, turned pictures of known and of unknown things.

    ./run exec python benchmarks/templates/retrieval.py [--sizes 20,200,1000] [--weights light] [--copies 3] [--rows ours vlad]
    ./run exec python benchmarks/templates/retrieval.py --verlab IMAGES TRUTH

docs/templates.md tells how libraries and queries are made, and what came out. Rows: ours; sift, RootSIFT through the same votes and
matches; vlad, a global descriptor of ours' local ones instead of votes.
"""
from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from retrieval_extractors import Kept, Sift
from retrieval_sets import SIZE, Photos, Picture, Query, chosen, library_pictures, photo_queries, read_photo, verlab
from vlad import VladLibrary, learn_words

from dalf_core import DALF
from dalf_core.progress_bar import progress_bar
from dalf_core.templates.library import Library
from dalf_core.templates.template import MIN_KEYPOINTS, Template
from dalf_core.types import Features

ROWS = ("ours", "sift", "vlad")


@dataclass(frozen=True)
class Answer:
    """What came back. rank: of the first right template, from 1; 0: it is not among the candidates. accepted: one was named; right: the
    right one. verified: matches of the named or refused one, all looks. milliseconds: beside extraction and that last match."""

    level: str
    known: bool
    rank: int
    accepted: bool
    right: bool
    verified: int
    milliseconds: float


@dataclass
class Asking:
    """The queries with their features, and last looks that were taken: by query's and template's name."""

    queries: list[Query]
    features: list[Features]
    looks: dict[tuple[int, str], tuple[bool, int]] = field(default_factory=dict)


def filled(library: Library, pictures: list[Picture], kept: Kept) -> dict[str, str]:
    """Add the pictures to the library, without those too plain to be a template; the place of each template by its name."""
    place = {}
    for picture in progress_bar(pictures, desc="library", unit="template"):
        bare = Template.of_frame(picture.name, picture.image, mask=picture.mask)
        try:
            features = kept.extract(bare.image, bare.mask)
        except ValueError:
            continue        # one colour
        if len(features) >= MIN_KEYPOINTS:
            library.add(replace(bare, features=features, extractor=kept.extractor.fingerprint))
            place[picture.name] = picture.place
    return place


def measure(library: Library, place: dict[str, str], asking: Asking) -> list[Answer]:
    """Every query against the library."""
    library.candidates(asking.features[0])        # makes the index
    answers = []
    for number, (query, features) in enumerate(zip(progress_bar(asking.queries, desc="queries", unit="query"), asking.features)):
        started = time.perf_counter()
        candidates = library.candidates(features)
        took = 1e3 * (time.perf_counter() - started)
        # a global descriptor ranks all by itself
        ranking = _by_score(library, features) if isinstance(library, VladLibrary) else [candidate.name for candidate in candidates]
        rank = next((rank for rank, name in enumerate(ranking, 1) if place[name] == query.place), 0) if query.known else 0
        best = candidates[0].name
        if (number, best) not in asking.looks:
            found = library.confirmed(candidates, query.image, features)
            asking.looks[number, best] = found.name is not None, 0 if found.matches is None else found.matches.verified_unaligned
        accepted, verified = asking.looks[number, best]
        right = accepted and query.known and place[best] == query.place
        answers.append(Answer(query.level, query.known, rank, accepted, right, verified, took))
        if accepted and not right:
            print(f"{query.level}: {query.name} taken for {best}, {verified} verified matches")
    return answers


def _by_score(library: Library, features: Features) -> list[str]:
    names = library.names
    return [names[number] for number in np.argsort(-library.scores(features), kind="stable")]


def table(title: str, answers: list[Answer]) -> str:
    """Lines by level; false accepts are a share of all its queries."""
    lines = [f"{title:28}{'mAP':>8}{'ranked first':>14}{'recognised':>12}{'false accepts':>15}{'verified known':>16}{'unknown, most':>15}"
             f"{'queries':>9}{'ms':>8}"]
    for level in dict.fromkeys(answer.level for answer in answers):
        here = [a for a in answers if a.level == level]
        known, unknown = [a for a in here if a.known], [a for a in here if not a.known]
        lines.append(f"{level:28}{np.mean([1 / a.rank if a.rank else 0.0 for a in known]):8.3f}"
                     f"{np.mean([a.rank == 1 for a in known]):14.3f}{np.mean([a.right for a in known]):12.3f}"
                     f"{np.mean([a.accepted and not a.right for a in here]):15.3f}{np.median([a.verified for a in known]):16.0f}"
                     f"{max((a.verified for a in unknown), default='none'):>15}{f'{len(known)}+{len(unknown)}':>9}"
                     f"{np.median([a.milliseconds for a in here]):8.0f}")
    return "\n".join(lines)


def words_of(photos: Photos, kept: Kept) -> np.ndarray:
    """Visual words, of photos that are in no library and no query."""
    found = [kept.extract(read_photo(path, SIZE)).descriptors for path in progress_bar(photos.vocabulary, desc="words", unit="photo")]
    return learn_words(np.concatenate(found) if found else np.zeros((0, 1), np.float32))


def run(options: argparse.Namespace) -> None:
    """All tables, printed one by one."""
    needs_photos = not options.verlab or "vlad" in options.rows
    photos = chosen(options.photos, options.without) if needs_photos else None
    libraries: list[Callable[[], list[Picture]]]
    if options.verlab:
        at_rest, asked = verlab(*options.verlab)
        libraries = [lambda: at_rest]
    else:
        assert photos is not None
        asked = photo_queries(photos, options.copies)
        print(f"{len(photos.known)} known and {len(photos.unknown)} unknown photos, {len(asked)} queries")
        libraries = [partial(library_pictures, photos, size) for size in options.sizes]
    askings: dict[str, Asking] = {}
    for row in options.rows:
        name = "sift" if row == "sift" else "ours"
        extractor = Sift(options.top_k) if row == "sift" else DALF(options.weights, top_k=options.top_k)
        kept = Kept(extractor, options.top_k, options.cache)
        if name not in askings:
            found = [kept.extract(query.image) for query in progress_bar(asked, desc=f"{row}: extraction", unit="query")]
            askings[name] = Asking(asked, found)
        words = words_of(photos, kept) if row == "vlad" and photos else None
        for pictures in libraries:
            library = Library(extractor) if words is None else VladLibrary(extractor, words)      # type: ignore[arg-type]
            place = filled(library, pictures(), kept)
            print(table(f"{row}, {len(library)} templates", measure(library, place, askings[name])), flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 an error told in one line, 130 interrupted."""
    try:
        run(_parse(arguments))
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f"retrieval.py: {error}", file=sys.stderr)
        return 2
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("DALF_TEST_DATA")
    parser.add_argument("--photos", type=Path, default=Path(data) / "train_photos" if data else None,
                        help="folder of photos; default $DALF_TEST_DATA/train_photos")
    parser.add_argument("--verlab", type=Path, nargs=2, metavar=("IMAGES", "TRUTH"), help="instead, the pictures of VeRLab's benchmark; "
                        "vlad still learns its words from photos")
    parser.add_argument("--sizes", type=lambda text: [int(word) for word in text.split(",")], default=[20, 200],
                        help="templates of a library; default 20,200")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep features there for the next run")
    parser.add_argument("--copies", type=int, default=2, help="queries of each photo and level (%(default)s)")
    parser.add_argument("--without", default="", metavar="PREFIX", help="leave out photos whose names begin so (game textures that come in "
                        "variants, for one)")
    parser.add_argument("--weights", help='of DALF: a path, "light" or "official"; default: the built-in ones')
    parser.add_argument("--top-k", type=int, default=1024, help="keypoints an image (%(default)s)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="default all")
    options = parser.parse_args(arguments)
    if not options.photos and (not options.verlab or "vlad" in options.rows):
        parser.error("name a folder of photos (--photos, or DALF_TEST_DATA)")
    return options


if __name__ == "__main__":
    sys.exit(main())
