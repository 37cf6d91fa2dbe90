"""Non-rigid verification: true matches on a bending surface stay, wrong ones go."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core import verify
from dalf_core.types import Matches

from ..feature_fixtures import as_features, bent, identity_matches, synthetic_matches


@pytest.mark.parametrize(("count", "outliers"), [(2000, 0.1), (2000, 0.5), (600, 0.4), (150, 0.3), (60, 0.2)])
def test_keeps_true_matches_and_drops_random_ones(count, outliers):
    reference, query, matches, true = synthetic_matches(count, outliers)
    kept = verify(reference, query, matches)
    assert kept.dtype == bool and kept.shape == (count,)
    assert true[kept].mean() >= 0.97
    assert kept[true].mean() >= 0.95


@pytest.mark.parametrize("size", [1.0, 64.0, 640.0, 8000.0])
def test_no_pixel_size_is_built_in(size):
    reference, query, matches, true = synthetic_matches(800, 0.3, size=size)
    kept = verify(reference, query, matches)
    assert true[kept].mean() >= 0.97 and kept[true].mean() >= 0.95


def test_a_coherent_wrong_patch_is_dropped():
    """Forty neighbours on repeated texture all go to the same wrong place."""
    rng = np.random.default_rng(3)
    source = rng.uniform(0, 640, (1000, 2))
    target = bent(source, 640) + rng.normal(0, 0.5, source.shape)
    wrong = np.argsort(np.linalg.norm(source - [300, 320], axis=1))[:40]
    target[wrong] += [180, -60]
    kept = verify(as_features(source), as_features(target), identity_matches(1000))
    assert kept[wrong].sum() == 0
    assert np.delete(kept, wrong).mean() >= 0.95


def test_matches_that_are_a_little_off_are_dropped():
    """Right place, badly placed keypoint: ten times the usual noise, a fifth of the matches."""
    rng = np.random.default_rng(8)
    source = rng.uniform(0, 640, (1000, 2))
    target = bent(source, 640) + rng.normal(0, 0.5, source.shape)
    off, angle = rng.random(1000) < 0.2, rng.uniform(0, 2 * np.pi, 1000)
    target[off] += 5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)[off]
    kept = verify(as_features(source), as_features(target), identity_matches(1000))
    assert kept[off].mean() <= 0.05 and kept[~off].mean() >= 0.95


def test_two_separate_surfaces_are_both_kept():
    rng = np.random.default_rng(4)
    left, right = rng.uniform([0, 0], [250, 480], (400, 2)), rng.uniform([390, 0], [640, 480], (300, 2))
    moved = np.concatenate([bent(left, 640), right + [5, 60]]) + rng.normal(0, 0.3, (700, 2))
    kept = verify(as_features(np.concatenate([left, right])), as_features(moved), identity_matches(700))
    assert kept[:400].mean() >= 0.95 and kept[400:].mean() >= 0.95


def test_random_matches_have_no_surface():
    rng = np.random.default_rng(5)
    kept = verify(as_features(rng.uniform(0, 640, (500, 2))), as_features(rng.uniform(0, 640, (500, 2))), identity_matches(500))
    assert kept.mean() <= 0.02


def test_a_mirrored_surface_is_not_believed():
    rng = np.random.default_rng(6)
    source = rng.uniform(0, 640, (300, 2))
    assert not verify(as_features(source), as_features(source * [-1, 1] + [640, 0]), identity_matches(300)).any()


def test_same_seed_same_answer():
    reference, query, matches, _ = synthetic_matches(500, 0.5)
    assert np.array_equal(verify(reference, query, matches, seed=7), verify(reference, query, matches, seed=7))


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_too_few_matches_prove_nothing(count):
    reference, query, matches, _ = synthetic_matches(count, 0.0)
    assert verify(reference, query, matches).shape == (count,)
    assert not verify(reference, query, matches).any()


@pytest.mark.parametrize("count", [6, 7, 15, 21, 22])
def test_few_matches_do_not_crash_and_are_kept(count):
    reference, query, matches, _ = synthetic_matches(count, 0.0, noise=0.1)
    kept = verify(reference, query, matches)
    assert kept.shape == (count,)


def test_coinciding_and_collinear_keypoints_do_not_crash():
    same = np.full((50, 2), 100.0)
    line = np.stack([np.linspace(0, 640, 50), np.full(50, 10.0)], axis=1)
    for source in (same, line):
        for target in (same, line, source + 5):
            assert verify(as_features(source), as_features(target), identity_matches(50)).shape == (50,)


def test_wrong_input_is_named():
    features = as_features(np.zeros((5, 2)))
    index = np.arange(10)
    with pytest.raises(ValueError, match="there are 5"):
        verify(features, as_features(np.zeros((20, 2))), Matches(index, index, np.zeros(10, np.float32), np.ones(10, bool)))
    broken = as_features(np.full((20, 2), np.nan))
    with pytest.raises(ValueError, match="NaN"):
        verify(broken, broken, identity_matches(20))


@pytest.mark.parametrize("size", [1.0, 640.0])
def test_a_picture_matches_itself(size):
    """Places that agree to the last digit are no measure of what is too far."""
    rng = np.random.default_rng(0)
    features = as_features(rng.uniform(0, size, (800, 2)))
    assert verify(features, features, identity_matches(800)).sum() >= 798


def test_a_usual_error_that_is_asked_of_no_match():
    """Most matches are exact, the others off by up to a pixel: with an accuracy of half a pixel all hold, and those off by ten do not."""
    rng = np.random.default_rng(0)
    source = rng.uniform(0, 640, (1000, 2))
    target = source + np.where(np.arange(1000) % 3 == 0, 1.0, 0.0)[:, None] * rng.uniform(-0.7, 0.7, source.shape)
    wrong = np.arange(1000) % 50 == 1
    target[wrong] += 10
    exact, tolerant = (verify(as_features(source), as_features(target), identity_matches(1000), accuracy=accuracy) for accuracy in (0, 0.5))
    assert exact.sum() < 800 and tolerant[~wrong].mean() > 0.99 and not tolerant[wrong].any()
