"""Where exactly B shows the patches around A's keypoints, those too that the detector did not find in B.

The verified matches around a keypoint tell where B shows it and how its surroundings are bent there, by an affine map. Seen through that
map, B is compared with A's own patch: a verified match is moved to where they are alike, to a fraction of a pixel, and a keypoint without
a match is found there if they are. Being near a prediction proves nothing; the patch does, and all matches are verified together again.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from ..matching.local_maps import comparable, local_maps
from ..matching.patch_alignment import PatchTemplates, Pyramid, align, make_templates, pyramid
from ..matching.verification import MIN_VERIFIED, verify
from ..types import Features, Matches
from .merging import SAME_PX, Look, joined

NEIGHBOURS = 12             # verified matches that tell how a keypoint's surroundings are bent
ALIKE = 0.7                 # correlation of patches at which a verified match is moved,
FOUND = 0.8                 # and at which a keypoint without one is found
MOVED_PX = 3.0              # at most: so far off it would not have been verified
FOUND_PX = 2.0              # from where its neighbours put it: farther off, what is alike is something else
ACCURACY_PX = 0.3           # asked of no match: most are three times better, and verification would measure all by them
ROUNDS = 3                  # each knows the neighbours that the one before found; a fourth finds hardly more


def aligned(reference: Features, look: Look, gray_a: np.ndarray, gray_b: np.ndarray) -> Look:
    """The look with verified matches moved, and with those of the reference's other keypoints that B shows where it should.

    gray_a, gray_b: (H, W) uint8. What is found where the detector found nothing has score 0 and the reference's descriptor; the distance of
    its match is that of the two patches at zero mean and unit length, as far apart as such descriptors can be. It replaces detections
    beside it that have no verified match. The look itself if fewer than 20 matches are verified.
    """
    templates, levels = make_templates(pyramid(gray_a), reference.keypoints), pyramid(gray_b)
    for _ in range(ROUNDS):
        if look.verified < MIN_VERIFIED:
            break
        look = _round(reference, look, templates, levels)
    return look


def _round(reference: Features, look: Look, templates: PatchTemplates, levels: Pyramid) -> Look:
    held = look.matches.select(look.matches.inlier)
    known = np.zeros(len(reference), bool)
    known[held.reference_index] = True
    xy = np.full((len(reference), 2), np.nan, np.float32)
    xy[known] = look.features.keypoints[held.query_index[np.argsort(held.reference_index)]]
    rows = np.flatnonzero(known)
    neighbours = rows[cKDTree(reference.keypoints[rows]).query(reference.keypoints, NEIGHBOURS)[1]]

    _, affine, fits = local_maps(reference.keypoints, neighbours, xy, known)
    moved, likeness = align(levels, templates, xy, affine, known & fits & comparable(affine), coarsest=0)
    with np.errstate(invalid="ignore"):
        near = (likeness > ALIKE) & (np.linalg.norm(moved - xy, axis=1) < MOVED_PX)
    xy[near] = moved[near]

    expected, affine, fits = local_maps(reference.keypoints, neighbours, xy, known)
    found, likeness = align(levels, templates, expected, affine, ~known & fits & comparable(affine), coarsest=0)
    with np.errstate(invalid="ignore"):
        new = np.flatnonzero((likeness > FOUND) & (np.linalg.norm(found - expected, axis=1) < FOUND_PX))

    keypoints = look.features.keypoints.copy()
    keypoints[held.query_index] = xy[held.reference_index]
    there = replace(look, features=replace(look.features, keypoints=keypoints))
    return _with_found(reference, there, new, found[new], likeness[new])


def _with_found(reference: Features, look: Look, new: np.ndarray, xy: np.ndarray, correlation: np.ndarray) -> Look:
    """The look and the reference's keypoints `new` (K,), found at xy (K, 2) px; of those only what is verified among all."""
    flat = np.zeros(len(new), np.float32)
    features = joined(look.features, replace(reference.select(new), keypoints=xy, scores=flat, scales=flat + 1,
                                             image_size=look.features.image_size))
    before = look.matches.select(look.matches.inlier | ~np.isin(look.matches.reference_index, new))
    distance = np.concatenate([before.distance, np.sqrt(np.maximum(2 - 2 * correlation, 0))])
    query_index = np.concatenate([before.query_index, len(look.features) + np.arange(len(new))])
    matches = Matches(np.concatenate([before.reference_index, new]), query_index, distance, np.ones(len(distance), bool))
    matches = replace(matches, inlier=verify(reference, features, matches, accuracy=ACCURACY_PX))

    stays = np.arange(len(features)) < len(look.features)
    verified = matches.query_index[matches.inlier]
    stays[verified] = True
    if stays[len(look.features):].any():
        beside = cKDTree(xy[stays[len(look.features):]]).query(features.keypoints, distance_upper_bound=SAME_PX)[0] < SAME_PX
        beside[verified] = False
        stays &= ~beside
    number = np.cumsum(stays) - 1
    matches = matches.select(stays[matches.query_index])
    matches = matches.select(np.argsort(matches.distance, kind="stable"))
    return Look(features.select(stays), replace(matches, query_index=number[matches.query_index]))
