"""Mutual nearest neighbours, against a plain computation."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dalf_core import match
from dalf_core.matching import nearest_neighbours as matching
from dalf_core.types import Features


def features(count: int, dimension: int = 128, seed: int = 0) -> Features:
    values = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
    return Features(np.zeros((count, 2), np.float32), np.ones(count, np.float32), values, (640, 480))


def plain_pairs(a: np.ndarray, b: np.ndarray) -> dict[int, int]:
    similarity = a.astype(float) @ b.astype(float).T
    forward, backward = similarity.argmax(1), similarity.argmax(0)
    return {i: int(j) for i, j in enumerate(forward) if backward[j] == i}


@pytest.mark.parametrize("elements", [1 << 23, 1000, 1])
def test_equals_the_plain_computation_in_any_chunks(monkeypatch, elements):
    monkeypatch.setattr(matching, "ELEMENTS_AT_ONCE", elements)
    a, b = features(300, seed=1), features(200, seed=2)
    found = match(a, b)
    assert dict(zip(found.reference_index.tolist(), found.query_index.tolist())) == plain_pairs(a.descriptors, b.descriptors)
    expected = np.linalg.norm(a.descriptors[found.reference_index] - b.descriptors[found.query_index], axis=1)
    assert found.distance == pytest.approx(expected, abs=1e-5)
    assert (np.diff(found.distance) >= 0).all() and found.inlier.all()
    assert found.reference_index.dtype == np.int64 and found.distance.dtype == np.float32 and found.inlier.dtype == bool


def test_matching_with_itself_is_the_identity():
    a = features(500)
    found = match(a, a)
    assert len(found) == 500 and (found.reference_index == found.query_index).all()


def test_bounds_drop_pairs():
    a, b = features(300, seed=1), features(300, seed=2)
    everything = match(a, b)
    near = match(a, b, max_distance=float(np.median(everything.distance)))
    assert 0 < len(near) < len(everything) and near.distance.max() <= np.median(everything.distance)
    strict = match(a, b, ratio=0.95)
    second = np.sort(np.linalg.norm(a.descriptors[strict.reference_index][:, None] - b.descriptors[None], axis=2), axis=1)[:, 1]
    assert 0 < len(strict) < len(everything) and (strict.distance < 0.95 * second).all()


@pytest.mark.parametrize("elements", [1 << 23, 1000])
def test_only_pairs_near_the_predicted_place(monkeypatch, elements):
    """Against a plain computation over all pairs; one row has no candidate, one may lie anywhere."""
    monkeypatch.setattr(matching, "ELEMENTS_AT_ONCE", elements)
    rng = np.random.default_rng(0)
    a, b = features(150, seed=1), features(220, seed=2)
    b = replace(b, keypoints=rng.uniform(0, 640, (220, 2)).astype(np.float32))
    predicted = rng.uniform(0, 640, (150, 2))
    predicted[3], predicted[7] = -1000, np.nan
    far = np.linalg.norm(predicted[:, None] - b.keypoints[None], axis=2) > 90
    similarity = np.where(far, -np.inf, a.descriptors.astype(float) @ b.descriptors.T.astype(float))
    expected = {i: int(j) for i, j in enumerate(similarity.argmax(1)) if similarity[:, j].argmax() == i and not far[i, j]}
    found = match(a, b, predicted=predicted, radius=90)
    assert dict(zip(found.reference_index.tolist(), found.query_index.tolist())) == expected
    assert 50 < len(expected) < 150 and 3 not in expected
    everywhere = match(a, b, predicted=np.full((150, 2), np.nan), radius=1)
    assert np.array_equal(everywhere.reference_index, match(a, b).reference_index)
    assert len(match(a, b, predicted=np.full((150, 2), -1e6), radius=1, ratio=0.9)) == 0


@pytest.mark.parametrize("options", [{"predicted": np.zeros((3, 2))}, {"radius": 3.0}, {"predicted": np.zeros((2, 2)), "radius": 3.0},
                                     {"predicted": np.zeros((3, 2)), "radius": 0.0}, {"predicted": np.zeros((3, 2)), "radius": np.nan}])
def test_wrong_search_options_are_named(options):
    with pytest.raises(ValueError, match="predicted|radius"):
        match(features(3), features(4), **options)


@pytest.mark.parametrize(("left", "right"), [(0, 0), (0, 10), (10, 0), (1, 1), (1, 10), (10, 1)])
def test_small_and_empty_sides(left, right):
    found = match(features(left), features(right, seed=5), ratio=0.99)
    assert len(found) <= min(left, right) and found.reference_index.dtype == np.int64


def test_ten_thousand_a_side():
    a = features(10_000, dimension=16)
    assert (match(a, a).reference_index == match(a, a).query_index).all()


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"\(10, 128\) and \(10, 64\)"):
        match(features(10), features(10, 64))
    with pytest.raises(ValueError, match="no descriptors"):
        match(features(10, 0), features(10, 0))
    with pytest.raises(ValueError, match="ratio"):
        match(features(3), features(3), ratio=1.5)
    with pytest.raises(ValueError, match="max_distance"):
        match(features(3), features(3), max_distance=-1)
