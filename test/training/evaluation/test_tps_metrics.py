"""Scores under a known spline, counted by hand."""
from dataclasses import astuple

import numpy as np
import pytest
from dalf_training.evaluation.tps_benchmark import TrueSpline
from dalf_training.evaluation.tps_metrics import TpsScore, correspondences, mean_score, nearest_descriptor, score_pair, within

from dalf_core import Features

SIZE = (160, 120)
RIGHT_8 = TrueSpline(np.vstack([np.zeros((4, 2)), [[8 / 160, 0], [0, 0], [0, 0]]]), np.eye(4, 2), SIZE)      # 8 px to the right


def features(xy: list, descriptors: np.ndarray) -> Features:
    return Features(np.array(xy, np.float32).reshape(-1, 2), np.ones(len(xy), np.float32), descriptors.astype(np.float32), SIZE)


def test_counted_by_hand() -> None:
    """Six keypoints at rest, five bent. Bent 0 and 1 are right and found, 2 is off by 2.5 px and taken for 3, 3 is off by 3.5 px, and
    4 is a weaker second one for the place of 0."""
    rest = features([[28, 20], [58, 20], [88, 20], [118, 20], [28, 90], [58, 90]], np.eye(6))
    bent = features([[20, 20], [50, 20.5], [82.5, 20], [113.5, 20], [20, 21]], np.eye(6)[[0, 1, 3, 2, 5]])
    assert [list(side) for side in correspondences(rest.keypoints, bent.keypoints, RIGHT_8)] == [[0, 1, 2], [0, 1, 2]]
    score = score_pair(rest, bent, RIGHT_8)
    assert astuple(score) == pytest.approx((2 / 5, 2 / 3, 2, 3 / 5, 3, 5))


def test_perfect_and_perturbed_keypoints() -> None:
    """The nearer of two keypoints at rest counts; a shift below 3 px changes nothing, one above it everything."""
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(30, 130, 12), np.arange(15, 110, 12)), axis=-1).reshape(-1, 2).astype(float)
    control = random.random((16, 2))
    spline = TrueSpline(np.vstack([random.normal(0, 0.02, (16, 2)), random.normal(0, 0.01, (3, 2))]), control, SIZE)
    names = random.normal(size=(len(grid), 8))
    names /= np.linalg.norm(names, axis=1, keepdims=True)
    bent = features(grid.tolist(), names)
    for shift, expected in ((0.0, 1.0), (2.9, 1.0), (3.1, 0.0)):
        rest = features((spline.apply(grid) + [shift, 0]).tolist(), names)
        assert score_pair(rest, bent, spline).matching_score == expected


def test_rows_choose_without_being_chosen() -> None:
    """Two keypoints at rest may take the same bent one: the matching is one-sided."""
    a, b = np.array([[1.0, 0.0], [0.9, 0.1]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    assert list(nearest_descriptor(a, b)) == [1, 1]


def test_nothing_there() -> None:
    none, one = features([], np.zeros((0, 4))), features([[5, 5]], np.eye(1, 4))
    assert astuple(score_pair(none, one, RIGHT_8)) == astuple(score_pair(one, none, RIGHT_8)) == (0,) * 6
    far = score_pair(one, one, RIGHT_8)                     # a keypoint each, no correspondence
    assert (far.accuracy, far.keypoints) == (0, 1)
    assert mean_score([far, TpsScore(0.5, 1, 4, 0.5, 4, 9)]) == TpsScore(0.25, 0.5, 2, 0.25, 2, 5)


def test_masks_are_read_at_the_nearest_pixel() -> None:
    mask = np.zeros((120, 160), bool)
    mask[10, 20] = True
    found = within(features([[20.4, 9.6], [20.6, 10], [20, 10], [159.4, 119.3]], np.eye(4)), mask)
    assert found.keypoints.tolist() == [[pytest.approx(20.4), pytest.approx(9.6)], [20, 10]]
    assert found.descriptors.tolist() == np.eye(4)[[0, 2]].tolist()
