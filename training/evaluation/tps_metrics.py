"""The numbers that the evaluation of verlab/DALF_CVPR_2023 computes on images of deforming objects, whose true map is a spline.

Of two images, a keypoint of the bent one and the nearest one of the image at rest *correspond* when the true map brings them within
3 px; each keypoint at rest corresponds to one at most, the strongest. Each keypoint at rest takes the bent image's keypoint with the
nearest descriptor, and that is right when they correspond. It is no mutual matching.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from scipy.spatial import cKDTree

from dalf_core import Features

from .tps_benchmark import TrueSpline

RADIUS = 3.0        # pixels of the image at rest


@dataclass(frozen=True)
class TpsScore:
    """One pair, or means over pairs. keypoints: the smaller number of both images, N. correspondences: there are K of them.

    inliers: correspondences whose descriptors find each other. matching_score: inliers / N. accuracy: inliers / K, which the original
    calls MMA. repeatability: K / N; the matching score cannot be higher. A pair without keypoints or correspondences scores 0.
    """

    matching_score: float
    accuracy: float
    inliers: float
    repeatability: float
    correspondences: float
    keypoints: float


def within(features: Features, mask: np.ndarray) -> Features:
    """Those whose keypoints lie in a mask (H, W) bool, at the nearest pixel."""
    column, row = np.rint(features.keypoints).astype(int).T
    kept = mask[row.clip(0, mask.shape[0] - 1), column.clip(0, mask.shape[1] - 1)]
    return Features(features.keypoints[kept], features.scores[kept], features.descriptors[kept], features.image_size)


def score_pair(at_rest: Features, bent: Features, spline: TrueSpline) -> TpsScore:
    """Score keypoints and descriptors, the strongest first. spline: from the bent image to the one at rest."""
    keypoints = min(len(at_rest), len(bent))
    if not keypoints:
        return TpsScore(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    rest, other = correspondences(at_rest.keypoints, bent.keypoints, spline)
    found = nearest_descriptor(at_rest.descriptors[rest], bent.descriptors)
    inliers, count = int((found == other).sum()), len(rest)
    return TpsScore(inliers / keypoints, inliers / count if count else 0.0, inliers, count / keypoints, count, keypoints)


def correspondences(at_rest: np.ndarray, bent: np.ndarray, spline: TrueSpline) -> tuple[np.ndarray, np.ndarray]:
    """Indices (K,) and (K,) of corresponding keypoints (N, 2) and (M, 2), both at least one."""
    distance, nearest = cKDTree(at_rest).query(spline.apply(bent))
    other = np.flatnonzero(distance < RADIUS)
    rest, first = np.unique(nearest[other], return_index=True)
    return rest, other[first]


def nearest_descriptor(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(K,) for each descriptor (K, D) the index of the nearest one (M, D) by the L2 norm; the first of equal ones."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return ((b * b).sum(axis=1) - 2 * a @ b.T).argmin(axis=1)


def mean_score(scores: Iterable[TpsScore]) -> TpsScore:
    """The mean of each number."""
    rows = list(scores)
    return TpsScore(*(float(np.mean([getattr(row, field.name) for row in rows])) for field in fields(TpsScore)))
