"""Matches of the first and of the second look at an image, as one set."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from ..matching.verification import verify
from ..types import Features, Matches

SAME_PX = 2.0               # keypoints of the two looks that are so near are one: local maxima are not nearer


@dataclass(frozen=True)
class Look:
    """What one look at the image found: features, in the image's pixels, and matches of the reference's keypoints to them, verified."""

    features: Features
    matches: Matches

    @property
    def verified(self) -> int:
        """How many matches hold."""
        return int(self.matches.inlier.sum())


def merged(reference: Features, first: Look, second: Look, replaced: np.ndarray) -> Look:
    """What the first look alone knows, and the second look's features and matches.

    replaced: (N,) bool, keypoints of the first look that lie where the second looked; they stay only if their match does. A verified
    match of the first look stays where the second has none for that keypoint, or for that place in the image, that is verified; what
    does not fit among the others is dropped again, for all are verified together.
    """
    stays = _not_found_again(len(reference), first, second)
    kept, found = first.matches.select(stays), second.matches
    found = found.select(found.inlier | ~np.isin(found.reference_index, kept.reference_index))
    rows = ~replaced
    rows[kept.query_index] = True
    number = np.cumsum(rows) - 1
    features = joined(first.features.select(rows), second.features)
    distance = np.concatenate([found.distance, kept.distance])
    query_index = np.concatenate([found.query_index + int(rows.sum()), number[kept.query_index]])
    matches = Matches(np.concatenate([found.reference_index, kept.reference_index]), query_index, distance, np.ones(len(distance), bool))
    matches = matches.select(np.argsort(distance, kind="stable"))
    return Look(features, replace(matches, inlier=verify(reference, features, matches)))


def joined(first: Features, second: Features) -> Features:
    """Both, in one image; not sorted by score, which two looks do not share."""
    keypoints, scores, descriptors, scales = (np.concatenate([getattr(first, name), getattr(second, name)])
                                              for name in ("keypoints", "scores", "descriptors", "scales"))
    on_device = None
    if first.on_device is not None and second.on_device is not None:
        import torch

        on_device = torch.cat([first.on_device, second.on_device])
    return Features(keypoints, scores, descriptors, second.image_size, scales, on_device)


def _not_found_again(reference_count: int, first: Look, second: Look) -> np.ndarray:
    """(M,) bool, verified matches of the first look whose reference keypoint and whose place the second one has not verified."""
    again = second.matches.select(second.matches.inlier)
    known = np.zeros(reference_count, bool)
    known[again.reference_index] = True
    stays = first.matches.inlier & ~known[first.matches.reference_index]
    if len(again) and stays.any():
        places = cKDTree(second.features.keypoints[again.query_index])
        stays &= places.query(first.features.keypoints[first.matches.query_index])[0] > SAME_PX
    return stays
