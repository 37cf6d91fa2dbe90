"""Alignment on pictures whose true map is known in closed form."""
from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from dalf_core import match_images
from dalf_core.image_matching.alignment import FOUND, _with_found, aligned
from dalf_core.image_matching.merging import SAME_PX, Look
from dalf_core.image_matching.second_look import verified_matches
from dalf_core.matching.verification import MIN_VERIFIED

from ..feature_fixtures import textured
from .patches import SIZE, PatchExtractor, turned

A = textured(*SIZE)
GRAY = cv2.cvtColor(A, cv2.COLOR_BGR2GRAY) if A.ndim == 3 else A


def looked_at(degrees: float, noise_px: float = 0.0, lost: float = 0.0):
    """A's features, a look at the turned and bent A, that picture in grey, and the map back; places blurred, some detections left out."""
    b, back = turned(A, degrees)
    extractor, rng = PatchExtractor(), np.random.default_rng(0)
    reference, query = extractor.extract(A), extractor.extract(b)
    query = query.select(np.flatnonzero(rng.random(len(query)) >= lost))
    query = replace(query, keypoints=query.keypoints + rng.normal(0, noise_px or 1e-9, query.keypoints.shape).astype(np.float32))
    return reference, Look(query, verified_matches(reference, query)), cv2.cvtColor(b, cv2.COLOR_BGR2GRAY) if b.ndim == 3 else b, back


def errors(reference, look, back) -> np.ndarray:
    """Pixels of A, of the verified matches."""
    held = look.matches.select(look.matches.inlier)
    return np.linalg.norm(back(look.features.keypoints[held.query_index]) - reference.keypoints[held.reference_index], axis=1)


def test_matches_move_to_where_they_are() -> None:
    """Detections blurred by .7 px in each direction are placed as well as if they were not."""
    reference, look, gray_b, back = looked_at(10, noise_px=0.7)
    before, after = errors(reference, look, back), errors(reference, aligned(reference, look, GRAY, gray_b), back)
    assert np.median(before) > 0.7 and np.median(after) < 0.1 and (after < 0.5).mean() > 0.95
    assert len(after) > len(before)


def test_keypoints_that_were_not_detected_are_found() -> None:
    reference, look, gray_b, back = looked_at(10, lost=0.6)
    found = aligned(reference, look, GRAY, gray_b)
    assert found.verified > 1.8 * look.verified and np.median(errors(reference, found, back)) < 0.1
    rows = found.matches.query_index[found.matches.inlier]
    new = found.features.scores[rows] == 0
    assert new.sum() > 0.9 * (found.verified - look.verified)
    reference_rows = found.matches.reference_index[found.matches.inlier][new]
    assert np.array_equal(found.features.descriptors[rows[new]], reference.descriptors[reference_rows])
    distance = found.matches.distance[found.matches.inlier][new]
    assert (distance >= 0).all() and distance.max() <= np.sqrt(2 - 2 * FOUND) + 1e-6
    assert (np.linalg.norm(back(found.features.keypoints[rows[new]]) - reference.keypoints[reference_rows], axis=1) < 1).mean() > 0.98


def test_one_to_one_sorted_and_nothing_left_over() -> None:
    reference, look, gray_b, _ = looked_at(10, lost=0.3)
    found = aligned(reference, look, GRAY, gray_b)
    matches, features = found.matches, found.features
    assert len(np.unique(matches.reference_index)) == len(np.unique(matches.query_index)) == len(matches)
    assert (np.diff(matches.distance) >= 0).all() and features.image_size == look.features.image_size
    by_patch = np.flatnonzero(features.scores == 0)
    assert np.isin(by_patch, matches.query_index[matches.inlier]).all()             # what is not verified is no keypoint
    free = np.setdiff1d(np.arange(len(features)), matches.query_index[matches.inlier])
    apart = np.linalg.norm(features.keypoints[free][:, None] - features.keypoints[by_patch], axis=2)
    assert apart.min() >= SAME_PX                                                   # no keypoint twice


def test_what_is_found_at_a_wrong_place_is_dropped() -> None:
    """However alike the patch is there: its neighbours contradict it."""
    reference, look, _, _ = looked_at(10)
    held = look.matches.select(look.matches.inlier)
    new = held.reference_index[:2]
    without = Look(look.features, held.select(np.arange(2, len(held))))
    places = look.features.keypoints[held.query_index[:2]] + np.array([[0.1, 0], [30, 20]], np.float32)
    found = _with_found(reference, without, new, places, np.array([0.95, 0.99], np.float32))
    verified = found.matches.reference_index[found.matches.inlier]
    assert new[0] in verified and new[1] not in found.matches.reference_index
    assert (found.features.scores == 0).sum() == 1 and len(found.matches) == len(held) - 1


def test_what_b_does_not_show_is_not_found() -> None:
    """A covered third of B gets none if it is flat, and hardly one in a hundred by chance if it shows another texture."""
    reference, look, gray_b, _ = looked_at(6)
    flat, other = np.full((SIZE[1], 110), 128, np.uint8), cv2.cvtColor(textured(*SIZE, seed=7), cv2.COLOR_BGR2GRAY)[:, :110]
    assert (reference.keypoints[:, 0] < 100).sum() > 100
    for cover, chance in ((flat, 0), (other, 2)):
        covered = gray_b.copy()
        covered[:, :110] = cover
        seen = look.features.keypoints[:, 0] > 120
        query = look.features.select(np.flatnonzero(seen))
        found = aligned(reference, Look(query, verified_matches(reference, query)), GRAY, covered)
        held = found.matches.query_index[found.matches.inlier]
        assert len(held) > 150 and (found.features.keypoints[held, 0] <= 105).sum() <= chance


def test_few_matches_are_left_alone() -> None:
    reference, look, gray_b, _ = looked_at(10)
    few = Look(look.features, look.matches.select(np.flatnonzero(look.matches.inlier)[:MIN_VERIFIED - 1]))
    assert aligned(reference, few, GRAY, gray_b) is few


def test_match_images_aligns_where_it_has_the_picture() -> None:
    b, back = turned(A, 14)
    extractor = PatchExtractor()
    plain, default = (match_images(A, b, dalf=extractor, align=align) for align in (False, None))
    assert plain.verified == plain.verified_unaligned == default.verified_unaligned and plain.detected.all()
    assert default.verified > plain.verified and not default.detected.all()
    off = [np.median(np.linalg.norm(back(found.points_b) - found.points_a, axis=1)) for found in (plain, default)]
    assert off[1] < 0.6 * off[0]
    features = match_images(extractor.extract(A), b, dalf=extractor)
    assert features.verified == plain.verified
    same = match_images(extractor.extract(A), b, dalf=extractor, picture_a=A)
    assert np.array_equal(same.points_b, default.points_b)
    with pytest.raises(ValueError, match="picture_a"):
        match_images(extractor.extract(A), b, dalf=extractor, align=True)
    with pytest.raises(ValueError, match="a are of an image of 320x240"):
        match_images(extractor.extract(A), b, dalf=extractor, picture_a=A[:100])
