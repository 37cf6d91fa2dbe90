"""Two looks that know different parts of the truth."""
from __future__ import annotations

import numpy as np

from dalf_core.image_matching.merging import Look, joined, merged
from dalf_core.types import Features, Matches

SIZE = (640, 480)
COUNT = 120
GRID = np.stack(np.meshgrid(np.arange(12), np.arange(10)), axis=-1).reshape(-1, 2)
XY = (40 * GRID + np.random.default_rng(0).uniform(20, 50, (COUNT, 2))).astype(np.float32)[np.random.default_rng(2).permutation(COUNT)]
MOVED = XY + np.float32([12, 7]) + np.random.default_rng(1).normal(0, 0.3, (COUNT, 2)).astype(np.float32)
FEW = 4                     # right ones that verification may drop


def features(xy: np.ndarray, scores: float = 1.0) -> Features:
    descriptors = np.arange(len(xy) * 4, dtype=np.float32).reshape(-1, 4)
    return Features(xy, np.full(len(xy), scores, np.float32), descriptors, SIZE)


def look(rows: np.ndarray, inlier: np.ndarray, offset: float = 0.0) -> Look:
    """Keypoints `rows` of the reference, found at their places (or off them), matched in order."""
    found = features(MOVED[rows] + np.float32(offset))
    return Look(found, Matches(rows, np.arange(len(rows)), np.linspace(0, 1, len(rows)).astype(np.float32), inlier))


def test_both_looks_are_kept_without_naming_anything_twice() -> None:
    early, late = np.arange(0, 80), np.arange(40, 120)
    both = merged(features(XY), look(early, np.ones(80, bool)), look(late, np.ones(80, bool), 0.2), np.ones(80, bool))
    assert both.verified >= COUNT - FEW and sorted(both.matches.reference_index) == list(range(COUNT))
    assert len(both.features) == COUNT          # of the first look only those 40 that the second has not found
    error = both.features.keypoints[both.matches.query_index] - MOVED[both.matches.reference_index]
    assert np.allclose(error[both.matches.reference_index < 40], 0, atol=1e-3)
    assert np.allclose(error[both.matches.reference_index >= 40], 0.2, atol=1e-3)


def test_what_the_second_look_contradicts_is_dropped() -> None:
    every = np.arange(COUNT)
    first = look(every[:60], np.ones(60, bool))
    first.features.keypoints[7] += 60           # verified by mistake, and not found again
    again = every[every != 7]
    both = merged(features(XY), first, look(again, np.ones(COUNT - 1, bool)), np.ones(60, bool))
    assert both.verified >= COUNT - 1 - FEW and 7 not in both.matches.reference_index[both.matches.inlier]


def test_a_place_that_the_second_look_has_given_to_another_keypoint_is_not_used_twice() -> None:
    every = np.arange(COUNT)
    first = look(every[:60], np.ones(60, bool))
    first.features.keypoints[3] = MOVED[90] + 0.5
    again = every[every != 3]
    both = merged(features(XY), first, look(again, np.ones(COUNT - 1, bool)), np.ones(60, bool))
    assert 3 not in both.matches.reference_index


def test_a_verified_first_match_replaces_an_unverified_second_one() -> None:
    every = np.arange(COUNT)
    second = look(every, every >= 5)
    second.features.keypoints[:5] += 50
    both = merged(features(XY), look(every, np.ones(COUNT, bool)), second, np.ones(COUNT, bool))
    assert both.verified >= COUNT - FEW and np.bincount(both.matches.reference_index).max() == 1
    assert np.allclose(both.features.keypoints[both.matches.query_index], MOVED[both.matches.reference_index], atol=1e-3)


def test_where_the_second_did_not_look_the_first_keypoints_stay() -> None:
    rows = np.arange(60)
    replaced = np.arange(60) < 45
    both = merged(features(XY), look(rows, np.zeros(60, bool)), look(np.arange(60, 120), np.ones(60, bool)), replaced)
    assert len(both.features) == 60 + 15 and np.array_equal(both.features.keypoints[:15], MOVED[45:60])
    assert len(both.matches) == 60


def test_features_on_the_gpu_are_joined_there() -> None:
    import torch

    parts = [Features(part.keypoints, part.scores, part.descriptors, SIZE, None, torch.from_numpy(part.descriptors))
             for part in (features(XY[:5]), features(XY[5:12]))]
    rows = np.arange(5) % 2 == 0
    together = joined(parts[0].select(rows), parts[1])
    assert np.array_equal(together.on_device.numpy(), together.descriptors) and len(together) == 10
    assert joined(features(XY[:5]), parts[1]).on_device is None
