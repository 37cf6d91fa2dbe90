"""Extractors on a benchmark of deforming objects: the loop over its pairs, means, table and file. tps_benchmark.py, tps_metrics.py."""
from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from dalf_core.files.whole_file import write_whole

from .extractor_scores import NAME_WIDTH, Extractor
from .tps_benchmark import DeformingObject
from .tps_metrics import TpsScore, mean_score, score_pair, within

COLUMNS = {"matching_score": "MS", "accuracy": "MMA", "inliers": "inliers", "repeatability": "repeatable", "keypoints": "keypoints"}
COUNTS = ("inliers", "keypoints")
ALL = "all"


@dataclass(frozen=True)
class TpsResult:
    """The score of one extractor on one pair. target: name of the bent image."""

    dataset: str
    object: str
    target: str
    extractor: str
    score: TpsScore


def evaluate_objects(objects: Sequence[DeformingObject], extractors: Mapping[str, Extractor]) -> Iterator[TpsResult]:
    """Every extractor on every pair, with a progress bar. OSError, ValueError: a file cannot be read or does not fit; it is named."""
    from dalf_core.progress_bar import progress_bar

    with progress_bar(total=sum(len(one.targets) for one in objects), unit="pair") as bar:
        for one in objects:
            image, mask = one.image(one.reference), one.reference_mask()
            _same_size(one, one.reference, image, mask)
            at_rest = {name: within(extractor.extract(image), mask) for name, extractor in extractors.items()}
            for target in one.targets:
                image, mask = one.image(target), one.target_mask(target)
                _same_size(one, target, image, mask)
                spline = one.spline(target, (image.shape[1], image.shape[0]))
                for name, extractor in extractors.items():
                    bent = within(extractor.extract(image), mask)
                    yield TpsResult(one.dataset, one.name, target, name, score_pair(at_rest[name], bent, spline))
                bar.update()


def dataset_means(results: Iterable[TpsResult]) -> dict[tuple[str, str], TpsScore]:
    """By dataset and extractor: the mean over objects of the mean over their pairs. Dataset "all": the mean over the objects of all."""
    of_object: dict[tuple[str, str, str], list[TpsScore]] = {}
    for result in results:
        of_object.setdefault((result.dataset, result.extractor, result.object), []).append(result.score)
    means = {key: mean_score(scores) for key, scores in of_object.items()}
    extractors = dict.fromkeys(extractor for _, extractor, _ in means)
    groups: dict[tuple[str, str], list[TpsScore]] = {}
    for name in (*dict.fromkeys(dataset for dataset, *_ in means), ALL):
        for extractor in extractors:
            groups[name, extractor] = [mean for (dataset, other, _), mean in means.items() if other == extractor and name in (dataset, ALL)]
    return {key: mean_score(scores) for key, scores in groups.items()}


def table(means: Mapping[tuple[str, str], TpsScore]) -> str:
    """Means by dataset and extractor."""
    width = max(NAME_WIDTH, *(len(name) + 2 for _, name in means))
    lines = [" " * (16 + width) + "".join(f"{title:>11}" for title in COLUMNS.values())]
    for (dataset, name), mean in means.items():
        values = "".join(f"{getattr(mean, key):11.0f}" if key in COUNTS else f"{getattr(mean, key):11.3f}" for key in COLUMNS)
        lines.append(f"{dataset:16}{name:{width}}{values}")
    return "\n".join(lines)


def write_csv(path: Path, results: Iterable[TpsResult]) -> None:
    """Every pair's scores, one line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "object", "image", "extractor", *(field.name for field in fields(TpsScore))])
    writer.writerows([row.dataset, row.object, row.target, row.extractor, *asdict(row.score).values()] for row in results)
    write_whole(path, text.getvalue().encode())


def _same_size(one: DeformingObject, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    if image.shape[:2] != mask.shape:
        raise ValueError(f"{one.truth}: the masks of {name} are {mask.shape[1]}x{mask.shape[0]}, but its image in {one.images} is "
                         f"{image.shape[1]}x{image.shape[0]}")
