"""Scores of hand-made keypoints and matches, whose values are known."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from dalf_training.data.warps import Warp, random_warp
from dalf_training.evaluation.metrics import PairScore, match_errors, mean_scores, repeatability, score_pair

SIZE = (160, 120)


def shifted(dx: float) -> Warp:
    """B shows A moved by dx pixels to the right."""
    still = random_warp(1, SIZE, 0.0, torch.Generator()).to(dtype=torch.float64)
    homography = torch.eye(3, dtype=torch.float64)[None].clone()
    homography[0, 0, 2] = -dx / 80
    return replace(still, homography=homography)


def pairs(*rows: tuple[int, int]) -> np.ndarray:
    return np.array(rows, np.int64).reshape(-1, 2)


def test_known_scores() -> None:
    """B is A moved by 20 px. Four keypoints of A are co-visible, the fifth leaves the image; B's last lies on the background."""
    a = np.array([[10, 50], [50, 50], [90, 50], [50, 100], [150, 60]], np.float32)
    b = np.array([[30.5, 50], [70, 51.5], [110, 52.5], [80, 100], [10, 60]], np.float32)
    score = score_pair(a, b, pairs((0, 0), (1, 1), (2, 2), (3, 3), (4, 4)), shifted(20))
    assert score.keypoints == 4 and score.matches == 5
    assert score.repeatability == pytest.approx(3 / 4)          # 0, 1, 2; 3 went where none is
    assert score.matching_score == pytest.approx(3 / 4)
    assert (score.mma_1, score.mma_2, score.mma_3) == pytest.approx((1 / 5, 2 / 5, 3 / 5))


def test_a_wrong_match_is_wrong_even_where_keypoints_repeat() -> None:
    a = np.array([[10, 50], [50, 50]], np.float32)
    b = a + [20, 0]
    score = score_pair(a, b, pairs((0, 1)), shifted(20))
    assert score.repeatability == 1 and score.matching_score == 0 and score.mma_3 == 0


def test_errors_are_pixels_of_b() -> None:
    a, b = np.array([[10.0, 50], [150, 50]]), np.array([[33.0, 54], [10, 10]])
    assert match_errors(a, b, pairs((0, 0), (1, 1)), shifted(20)) == pytest.approx([5.0, np.inf])


def test_nothing_there() -> None:
    none = np.zeros((0, 2), np.float32)
    empty = score_pair(none, none, pairs(), shifted(0))
    assert np.isnan([empty.repeatability, empty.matching_score, empty.mma_1]).all() and empty.keypoints == 0
    one_sided = score_pair(np.array([[5.0, 5.0]]), none, pairs(), shifted(0))
    assert one_sided.repeatability == 0 and one_sided.matches == 0
    assert mean_scores([empty, PairScore(1, 0.5, 0.2, 0.4, 0.6, 10, 8)]) == PairScore(0.5, 0.25, 0.1, 0.2, 0.3, 5, 4)


def test_repeatability_is_of_the_smaller_set() -> None:
    assert repeatability(np.array([[0.0, 0.0], [50, 50]]), np.array([[0.0, 2.9], [0.0, 3.1], [9, 9]])) == pytest.approx(1 / 2)
    crowd = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])          # three around one: only one of them can be it
    assert repeatability(crowd, np.array([[1.0, 0.0], [50, 50], [60, 60]])) == pytest.approx(1 / 3)


def test_a_single_warp_is_asked_for() -> None:
    with pytest.raises(ValueError, match="single"):
        score_pair(np.zeros((1, 2)), np.zeros((1, 2)), pairs(), random_warp(2, SIZE, 0.0, torch.Generator()))
