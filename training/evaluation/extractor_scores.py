"""Extractors on the fixed matching benchmark: the loop over its pairs, the scores of each pair, their table and their file.

benchmark.py makes the pairs, metrics.py scores them. The command is evaluate.py; benchmarks/matching.py compares with other methods.
"""
from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from dalf_core import DALF, Features, match
from dalf_core.files.whole_file import write_whole

from ..data.warps import Warp
from .benchmark import BenchmarkPair, benchmark_pairs
from .metrics import PairScore, match_errors, mean_scores, score_pair

THRESHOLDS = tuple(range(1, 11))            # pixels, of the curve of matching accuracy
TURNS = (0, 15, 45, 90, 180)                # degrees: bounds of the classes of rotation
COLUMNS = {"repeatability": "repeatable", "matching_score": "MS", "mma_1": "MMA@1", "mma_2": "MMA@2", "mma_3": "MMA@3",
           "keypoints": "keypoints", "matches": "matches"}
NAME_WIDTH = 18


@dataclass(frozen=True)
class Extractor:
    """extract: HxWx3 uint8 BGR to Features. match: two Features to (K, 2) indices of keypoints that are mutual nearest neighbours."""

    extract: Callable[[np.ndarray], Features]
    match: Callable[[Features, Features], np.ndarray]

    @classmethod
    def of(cls, dalf: DALF) -> Extractor:
        """DALF with the plain mutual nearest neighbours of its descriptors."""
        return cls(dalf.extract, mutual_matches)

    def match_pair(self, image_a: np.ndarray, image_b: np.ndarray) -> tuple[Features, Features, np.ndarray]:
        """The features of both images, and which match: (K, 2) indices."""
        a, b = self.extract(image_a), self.extract(image_b)
        return a, b, self.match(a, b)


class PairMatcher(Protocol):
    """An Extractor, or a method that needs both images at once."""

    def match_pair(self, image_a: np.ndarray, image_b: np.ndarray) -> tuple[Features, Features, np.ndarray]:
        """HxWx3 uint8 BGR, twice, to features of both and (K, 2) indices of those that match."""


@dataclass(frozen=True)
class MatchedPair:
    """What one extractor found on a pair. matched: (K, 2) indices of keypoints in a and b."""

    pair: BenchmarkPair
    extractor: str
    a: Features
    b: Features
    matched: np.ndarray


@dataclass(frozen=True)
class PairResult:
    """How well. turn: degrees, 0 to 180, by which B is turned against A. accuracy: the share of matches within each of THRESHOLDS, or
    NaN where there are no matches."""

    level: str
    extractor: str
    number: int
    turn: float
    score: PairScore
    accuracy: tuple[float, ...]


def mutual_matches(a: Features, b: Features) -> np.ndarray:
    """(K, 2) indices of the mutual nearest neighbours of unit descriptors."""
    matches = match(a, b)
    return np.stack([matches.reference_index, matches.query_index], axis=1)


def matched_pairs(photos: Path, levels: Sequence[str], count: int, extractors: Mapping[str, PairMatcher]) -> Iterator[MatchedPair]:
    """Every extractor on `count` pairs of each level, with a progress bar. ValueError: see benchmark.benchmark_pairs."""
    from dalf_core.progress_bar import progress_bar

    with progress_bar(total=len(levels) * count, unit="pair") as bar:
        for level in levels:
            for pair in benchmark_pairs(photos, level, count):
                for name, extractor in extractors.items():
                    yield MatchedPair(pair, name, *extractor.match_pair(pair.image_a, pair.image_b))
                bar.update()


def score(found: MatchedPair) -> PairResult:
    """Against the pair's true map."""
    pair, xy_a, xy_b = found.pair, found.a.keypoints, found.b.keypoints
    error = match_errors(xy_a, xy_b, found.matched, pair.warp)
    accuracy = [float(np.mean(error <= bound)) if len(error) else np.nan for bound in THRESHOLDS]
    return PairResult(pair.level, found.extractor, pair.number, turn_of(pair.warp), score_pair(xy_a, xy_b, found.matched, pair.warp),
                      tuple(accuracy))


def turn_of(warp: Warp) -> float:
    """Degrees, 0 to 180, by which image B is turned against A: that of the similarity that fits a single warp best."""
    width, height = warp.size
    y, x = torch.meshgrid(torch.linspace(0, height - 1, 12), torch.linspace(0, width - 1, 16), indexing="ij")
    xy = torch.stack([x, y], dim=-1).reshape(1, -1, 2).to(warp.homography)
    # as complex numbers about their mean, b = s exp(i turn) a: least squares give the angle of sum(b conj(a))
    b, a = (torch.view_as_complex((side[0] - side[0].mean(dim=0)).contiguous()) for side in (xy, warp.source_positions(xy)))
    return float(torch.rad2deg((b * a.conj()).sum().angle()).abs())


def mean_accuracy(results: Iterable[PairResult]) -> np.ndarray:
    """(10,) mean over pairs of the share of matches within each of THRESHOLDS; a pair without matches counts as 0."""
    return np.mean([np.nan_to_num(result.accuracy) for result in results], axis=0)


def grouped(results: Iterable[PairResult]) -> dict[tuple[str, str], list[PairResult]]:
    """Results by level and extractor, in the order they come."""
    groups: dict[tuple[str, str], list[PairResult]] = {}
    for result in results:
        groups.setdefault((result.level, result.extractor), []).append(result)
    return groups


def table(results: Sequence[PairResult]) -> str:
    """Means by level and extractor."""
    groups = grouped(results)
    width = max(NAME_WIDTH, *(len(name) + 2 for _, name in groups))
    lines = [" " * (8 + width) + "".join(f"{title:>11}" for title in COLUMNS.values())]
    for (level, name), rows in groups.items():
        means = asdict(mean_scores([row.score for row in rows]))
        values = "".join(f"{means[key]:11.0f}" if means[key] > 1 else f"{means[key]:11.3f}" for key in COLUMNS)
        lines.append(f"{level:8}{name:{width}}{values}")
        if (level, name) == [key for key in groups if key[0] == level][-1]:
            lines.append("")
    return "\n".join([*lines, f"{len(next(iter(groups.values())))} pairs a level"])


def turn_table(results: Sequence[PairResult]) -> str:
    """Mean matching score by level, extractor and how far image B is turned; in brackets the number of pairs."""
    groups = grouped(results)
    width = max(NAME_WIDTH, *(len(name) + 2 for _, name in groups))
    classes = list(zip(TURNS, TURNS[1:]))
    lines = [f"{'MS by rotation':{8 + width}}" + "".join(f"{f'{low} to {high}°':>14}" for low, high in classes)]
    for (level, name), rows in groups.items():
        cells = []
        for low, high in classes:
            chosen = [row.score for row in rows if low <= row.turn < high or row.turn == high == TURNS[-1]]
            cells.append(f"{mean_scores(chosen).matching_score:.3f} ({len(chosen)})" if chosen else "-")
        lines.append(f"{level:8}{name:{width}}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def write_csv(path: Path, results: Iterable[PairResult]) -> None:
    """Every pair's scores, one line each; mma_N is the share of matches within N pixels."""
    scores = [field.name for field in fields(PairScore)]
    further = [bound for bound in THRESHOLDS if f"mma_{bound}" not in scores]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["level", "extractor", "pair", "turn", *scores, *(f"mma_{bound}" for bound in further)])
    for row in results:
        writer.writerow([row.level, row.extractor, row.number, f"{row.turn:.2f}", *asdict(row.score).values(),
                         *(row.accuracy[THRESHOLDS.index(bound)] for bound in further)])
    write_whole(path, text.getvalue().encode())
