"""Scores of extractors on the fixed pairs: turns, curves, tables, plots."""
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from dalf_training.data.warps import Warp, random_warp
from dalf_training.evaluation import benchmark
from dalf_training.evaluation import extractor_scores as evaluation
from dalf_training.evaluation.benchmark import BenchmarkPair
from dalf_training.evaluation.evaluation_plots import plot_accuracy, plot_bars
from dalf_training.evaluation.extractor_scores import (
    Extractor,
    MatchedPair,
    PairResult,
    matched_pairs,
    mean_accuracy,
    score,
    table,
    turn_of,
    turn_table,
)
from dalf_training.evaluation.metrics import PairScore

from dalf_core import Features

SIZE = (160, 120)
SCORE = PairScore(0.8, 0.5, 0.1, 0.2, 0.3, 100, 60)


def still() -> Warp:
    return random_warp(1, SIZE, 0.0, torch.Generator()).to(dtype=torch.float64)


def result(level: str, name: str, turn: float, matching_score: float = 0.5, accuracy: float = 0.2) -> PairResult:
    return PairResult(level, name, 0, turn, replace(SCORE, matching_score=matching_score), (accuracy,) * 10)


@pytest.mark.parametrize("degrees", [0.0, 30.0, -100.0, 179.0])
def test_turn_of_a_known_rotation(degrees: float) -> None:
    turn = math.radians(degrees)
    homography = torch.tensor([[[math.cos(turn), -math.sin(turn), 0.2], [math.sin(turn), math.cos(turn), -0.1], [0, 0, 1]]]).double()
    homography[:, :2] *= 1.3
    assert turn_of(replace(still(), homography=homography)) == pytest.approx(abs(degrees), abs=0.01)


def test_accuracy_at_every_threshold() -> None:
    """Matches off by 0.5, 3.5 and 9.5 px, and one that goes to a place B does not show."""
    a = np.array([[40, 60], [60, 60], [80, 60], [300, 60]], np.float32)
    b = a + np.array([[0.5, 0], [0, 3.5], [9.5, 0], [0, 0]], np.float32)
    blank = np.zeros((120, 160, 3), np.uint8)
    features = [Features(xy, np.ones(4, np.float32), np.eye(4, dtype=np.float32), SIZE) for xy in (a, b)]
    pair = BenchmarkPair("easy", 3, Path("x"), blank, blank, still())
    found = MatchedPair(pair, "ours", *features, np.repeat(np.arange(4), 2).reshape(4, 2))
    scored = score(found)
    assert scored.accuracy == pytest.approx([0.25] * 3 + [0.5] * 6 + [0.75])
    assert (scored.level, scored.number, scored.score.mma_3, scored.turn) == ("easy", 3, 0.25, pytest.approx(0, abs=1e-6))
    none = score(replace(found, matched=np.zeros((0, 2), int)))
    assert np.isnan(none.accuracy).all()
    assert mean_accuracy([scored, none]) == pytest.approx(np.array(scored.accuracy) / 2)


def test_every_extractor_sees_every_pair(photo_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SIZE", SIZE)

    def extract(image: np.ndarray) -> Features:
        assert image.shape == (120, 160, 3)
        xy = np.stack(np.meshgrid(np.arange(5, 155, 10), np.arange(5, 115, 10)), axis=-1).reshape(-1, 2).astype(np.float32)
        return Features(xy, np.ones(len(xy), np.float32), np.eye(len(xy), dtype=np.float32), SIZE)

    extractors = {"one": Extractor(extract, evaluation.mutual_matches), "two": Extractor(extract, evaluation.mutual_matches)}
    found = list(matched_pairs(photo_files, ["easy"], 2, extractors))
    assert [(one.pair.number, one.extractor) for one in found] == [(0, "one"), (0, "two"), (1, "one"), (1, "two")]
    assert all(np.array_equal(one.matched[:, 0], one.matched[:, 1]) for one in found)


def test_tables() -> None:
    results = [result("easy", "a", 3), result("easy", "b", 3, 0.7), result("hard", "a", 100, 0.2), result("hard", "a", 180, 0.4)]
    lines = table(results).splitlines()
    assert [line.split()[:4] for line in (lines[1], lines[2], lines[4])] == [
        ["easy", "a", "0.800", "0.500"], ["easy", "b", "0.800", "0.700"], ["hard", "a", "0.800", "0.300"]]
    assert lines[3] == "" and lines[1].split()[-2:] == ["100", "60"]
    assert turn_table(results).splitlines()[-1].split() == ["hard", "a", "-", "-", "-", "0.300", "(2)"]


def test_plots(tmp_path: Path) -> None:
    results = [result("easy", "a", 0, accuracy=0.9), result("hard", "a", 0), result("easy", "b", 0), result("hard", "b", 0)]
    plot_accuracy(tmp_path / "curves.png", results)
    plot_bars(tmp_path / "bars.png", {("easy", "a"): 0.9, ("hard", "b"): 0.2}, "matching score", {"easy": 12, "hard": 30})
    curves, bars = (cv2.imread(str(tmp_path / name)) for name in ("curves.png", "bars.png"))
    assert curves.shape[0] == 480 and curves.shape[1] > 2 * 480 and bars.std() > 10
