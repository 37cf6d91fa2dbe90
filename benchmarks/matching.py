#!/usr/bin/env python3
"""Keypoints and matches under strong bending, folding, turning and change of light, against exact ground truth.

    ./run exec python benchmarks/matching.py --photos DIR [--pairs N] [--extractors ours,two-looks,sift] [--picture FILE] [--csv FILE]

Each photo of DIR that is kept from training is matched to a warped copy of itself, at three levels. docs/benchmarks.md says what is
measured. The official code needs a checkout of verlab/DALF_CVPR_2023 (--official DIR).
"""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import cv2
import numpy as np
from dalf_training.data.difficulty import LEVELS
from dalf_training.evaluation.benchmark import TOP_K
from dalf_training.evaluation.extractor_scores import MatchedPair, PairMatcher, PairResult, matched_pairs, score, table, write_csv
from dalf_training.evaluation.metrics import CORRECT, match_errors
from extractors import NAMES, Extractors
from peers import LeftOutError

from dalf_core import Matches
from dalf_core.drawing.draw import draw_matches
from dalf_core.files.whole_file import write_whole
from dalf_core.weights import WeightsError


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 an error told in one line, 130 interrupted."""
    options = _parse(arguments)
    try:
        extractors = make_rows(options)
        results, examples = measure(options.photos, options.levels, options.pairs, extractors)
        print(table(results))
        if options.csv:
            write_csv(options.csv, results)
        if options.picture:
            write_picture(options.picture, examples)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, WeightsError) as error:
        print(f"matching.py: {error}", file=sys.stderr)
        return 2
    return 0


def make_rows(options: argparse.Namespace) -> dict[str, PairMatcher]:
    """What is compared, by name; peers that cannot be had here are named and left out. ValueError: nothing is left."""
    extractors, rows = Extractors(options.top_k, options.weights, options.official, options.light), {}
    for name in options.extractors:
        try:
            rows[name] = extractors.make(name)
        except LeftOutError as left_out:
            print(f"matching.py: {left_out}", file=sys.stderr)
    if not rows:
        raise ValueError("no extractor is left to measure")
    return rows


def measure(photos: Path, levels: list[str], count: int,
            extractors: dict[str, PairMatcher]) -> tuple[list[PairResult], list[np.ndarray]]:
    """Scores of every pair, and for each level a picture of the first extractor's matches on its first pair."""
    results: list[PairResult] = []
    examples: list[np.ndarray] = []
    for found in matched_pairs(photos, levels, count, extractors):
        results.append(score(found))
        if found.pair.number == 0 and found.extractor == next(iter(extractors)):
            examples.append(picture(found))
    return results, examples


def picture(found: MatchedPair) -> np.ndarray:
    """Both images of a pair with some of the matches; right ones coloured by their flow, wrong ones thin and grey."""
    pair, a, b, matched = found.pair, found.a, found.b, found.matched
    right = match_errors(a.keypoints, b.keypoints, matched, pair.warp) <= CORRECT
    matches = Matches(matched[:, 0], matched[:, 1], np.zeros(len(matched), np.float32), right)
    drawn = draw_matches(pair.image_a, pair.image_b, a, b, matches)
    text = f"{pair.level}: {right.sum()} of {len(right)} matches right"
    cv2.putText(drawn, text, (12, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 4, cv2.LINE_AA)
    return cv2.putText(drawn, text, (12, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2, cv2.LINE_AA)


def write_picture(path: Path, examples: list[np.ndarray]) -> None:
    """The examples below each other."""
    done, data = cv2.imencode(path.suffix or ".png", np.concatenate(examples))
    if not done:
        raise ValueError(f"{path} could not be encoded; name a .png or .jpg")
    write_whole(path, data.tobytes())


def photos_argument(parser: argparse.ArgumentParser) -> None:
    """--photos, by default the folder train_photos of the test data."""
    data = os.environ.get("DALF_TEST_DATA")
    parser.add_argument("--photos", type=Path, default=Path(data) / "train_photos" if data else None, required=not data,
                        help="folder of photos; default $DALF_TEST_DATA/train_photos")


def listed(allowed: tuple[str, ...]) -> object:
    """An argparse type: names from `allowed`, with commas between."""
    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if not names or set(names) - set(allowed):
            raise argparse.ArgumentTypeError(f"{text!r}: choose from {','.join(allowed)}")
        return names
    return parse


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    photos_argument(parser)
    parser.add_argument("--pairs", type=int, default=40, help="pairs a level (%(default)s)")
    parser.add_argument("--levels", type=listed(tuple(LEVELS)), default=list(LEVELS), help=f"any of {','.join(LEVELS)}; default all")
    parser.add_argument("--extractors", type=listed(NAMES), default=["ours", "original-geometry", "polar", "bfloat16", "sift", "orb"],
                        help=f"any of {','.join(NAMES)}; default: extractors but official")
    parser.add_argument("--weights", help='checkpoint of ours: a path or "official"; default: see DALF_WEIGHTS in the README')
    parser.add_argument("--light", default="light", metavar="WEIGHTS", help="of the rows light and light-... (%(default)s)")
    parser.add_argument("--official", type=Path, help="checkout of the official code")
    parser.add_argument("--top-k", type=int, default=TOP_K, help="keypoints an image (%(default)s)")
    parser.add_argument("--csv", type=Path, help="write every pair's scores there")
    parser.add_argument("--picture", type=Path, help="draw an example of each level with the first extractor")
    options = parser.parse_args(arguments)
    if options.pairs < 1 or options.top_k < 1:
        parser.error("--pairs and --top-k must be positive")
    return options


if __name__ == "__main__":
    sys.exit(main())
