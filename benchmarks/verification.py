#!/usr/bin/env python3
"""Which wrong matches do verifiers drop, which right ones do they lose, and how long does it take?

    ./run exec python benchmarks/verification.py --photos DIR [--pairs N] [--verifiers ours,adalam] [--official DIR]

The matches are DALF's on the pairs of benchmarks/matching.py; right are those within 3 px of the truth. One thread. The original's RANSAC
(affine-ransac) needs a checkout of verlab/DALF_CVPR_2023. docs/benchmarks.md says what is measured.
"""
from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from dalf_training.data.difficulty import LEVELS
from dalf_training.evaluation.benchmark import TOP_K, benchmark_pairs
from dalf_training.evaluation.metrics import CORRECT, match_errors
from matching import listed, photos_argument
from verifiers import NAMES, Putative, Verifier, make_verifier, putative

from dalf_core import DALF, match
from dalf_core.weights import WeightsError

MATCHES = 2000      # milliseconds are scaled to so many
ROUNDS = 3          # of which the fastest counts
NEAR = 6.0          # pixels: a match that is off by more is a gross error
FEWEST = 10         # right matches; a pair with fewer has nothing to verify
TITLES = {"": 16, "precision": 10, "recall": 9, f"within {NEAR:g} px": 13, "all: precision": 16, "all: recall": 13, "ms at 2000": 12}


@dataclass(frozen=True)
class Outcome:
    """One verifier on one pair: matches kept, right ones, both; kept and no gross error; milliseconds scaled to 2000 matches."""

    kept: int
    right: int
    both: int
    near: int
    milliseconds: float


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 an error told in one line, 130 interrupted."""
    options = _parse(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        verifiers = {name: make_verifier(name, options.official) for name in options.verifiers}
        dalf = DALF(options.weights, "cpu", top_k=options.top_k)
        outcomes, before = measure(options, dalf, verifiers)
        print(table(outcomes, before))
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, WeightsError) as error:
        print(f"verification.py: {error}", file=sys.stderr)
        return 2
    return 0


def measure(options: argparse.Namespace, dalf: DALF, verifiers: dict[str, Verifier]) -> tuple[dict, dict]:
    """Outcomes by level and verifier; and by level, of each pair, (right, all) matches."""
    from tqdm import tqdm

    outcomes: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    before: dict[str, list[tuple[int, int]]] = defaultdict(list)
    with tqdm(total=len(options.levels) * options.pairs, unit="pair") as bar:
        for level in options.levels:
            for pair in benchmark_pairs(options.photos, level, options.pairs, options.first):
                a, b = dalf.extract(pair.image_a), dalf.extract(pair.image_b)
                matches = match(a, b)
                matched = np.stack([matches.reference_index, matches.query_index], axis=1)
                error = match_errors(a.keypoints, b.keypoints, matched, pair.warp)
                right = error <= CORRECT
                bar.update()
                if right.sum() < FEWEST:
                    continue
                before[level].append((int(right.sum()), len(right)))
                given = putative(a, b, matches)
                for name, verifier in verifiers.items():
                    outcomes[level, name].append(run(verifier, given, error))
    return outcomes, before


def run(verifier: Verifier, given: Putative, error: np.ndarray) -> Outcome:
    """One verifier on one pair whose matches are off by error (M,), pixels."""
    verifier(given)         # compiles and allocates what it needs
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        kept = verifier(given)
        seconds.append(time.perf_counter() - started)
    right = error <= CORRECT
    return Outcome(int(kept.sum()), int(right.sum()), int((kept & right).sum()), int((kept & (error <= NEAR)).sum()),
                   1e3 * min(seconds) * MATCHES / len(error))


def table(outcomes: dict[tuple[str, str], list[Outcome]], before: dict[str, list[tuple[int, int]]]) -> str:
    """Precision, recall, and the share of kept matches without gross error: means over pairs; the first two also of all matches."""
    lines = []
    for level, counts in before.items():
        share = np.mean([right / total for right, total in counts])
        lines.append(f"{level}: {len(counts)} pairs, {np.mean([total for _, total in counts]):.0f} matches a pair, {share:.1%} right")
        lines.append("  " + "".join(f"{title:>{width}}" for title, width in TITLES.items()))
        for name, rows in ((name, rows) for (other, name), rows in outcomes.items() if other == level):
            precision = np.mean([row.both / max(row.kept, 1) for row in rows])
            recall = np.mean([row.both / row.right for row in rows])
            near = np.mean([row.near / max(row.kept, 1) for row in rows])
            kept, right, both = (sum(getattr(row, key) for row in rows) for key in ("kept", "right", "both"))
            lines.append(f"  {name:16}{precision:10.3f}{recall:9.3f}{near:13.3f}{both / max(kept, 1):16.3f}{both / right:13.3f}"
                         f"{np.median([row.milliseconds for row in rows]):12.1f}")
    return "\n".join(lines)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    photos_argument(parser)
    parser.add_argument("--pairs", type=int, default=40, help="pairs a level (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first pair (%(default)s)")
    parser.add_argument("--levels", type=listed(tuple(LEVELS)), default=["medium", "hard"], help="default medium,hard")
    parser.add_argument("--verifiers", type=listed(NAMES), default=["ours", "adalam", "magsac", "tps-ransac"],
                        help=f"any of {','.join(NAMES)}; default all but affine-ransac")
    parser.add_argument("--weights", default="official", help='"official" (the default) or the path of a checkpoint')
    parser.add_argument("--official", type=Path, help="checkout of the official code")
    parser.add_argument("--top-k", type=int, default=TOP_K, help="keypoints an image (%(default)s)")
    options = parser.parse_args(arguments)
    if options.pairs < 1 or options.first < 0:
        parser.error("--pairs must be positive, --first must not be negative")
    return options


if __name__ == "__main__":
    sys.exit(main())
