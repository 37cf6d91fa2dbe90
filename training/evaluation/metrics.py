"""Scores of keypoints and matches of an image pair whose true map is known. All distances are in pixels of image B."""
from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from scipy.spatial import cKDTree

from ..data.warps import Warp, inside

REPEATED = 3.0              # pixels: a keypoint is found again
CORRECT = 3.0               # pixels: a match is right


@dataclass(frozen=True)
class PairScore:
    """Scores of one pair, 0 to 1; NaN where there is nothing to judge.

    repeatability: see repeatability(); no matching score can be higher.
    matching_score: correct matches (3 px) over the smaller number of co-visible keypoints.
    mma_1, mma_2, mma_3: mean matching accuracy, the share of all matches within 1, 2, 3 px.
    keypoints: the smaller number of co-visible keypoints. matches: their number, right or wrong.
    """

    repeatability: float
    matching_score: float
    mma_1: float
    mma_2: float
    mma_3: float
    keypoints: float
    matches: float


def score_pair(keypoints_a: np.ndarray, keypoints_b: np.ndarray, pairs: np.ndarray, warp: Warp) -> PairScore:
    """Scores of keypoints (N, 2), (M, 2) and matches (K, 2) (index in A, index in B) under a warp, which must be a single one.

    A keypoint of A is co-visible when B shows its place; one of B when it shows a place of A. Matches of others are wrong.
    """
    in_b, visible = find(warp, keypoints_a)
    shows_a = source(warp, keypoints_b)[1]
    there, here = in_b[visible], np.asarray(keypoints_b, np.float64)[shows_a]
    keypoints = min(len(there), len(here))
    error = match_errors(keypoints_a, keypoints_b, pairs, warp)
    share = [float(np.mean(error <= bound)) if len(error) else np.nan for bound in (1.0, 2.0, 3.0)]
    score = float((error <= CORRECT).sum() / keypoints) if keypoints else np.nan
    return PairScore(repeatability(there, here), score, *share, keypoints, len(error))


def match_errors(keypoints_a: np.ndarray, keypoints_b: np.ndarray, pairs: np.ndarray, warp: Warp) -> np.ndarray:
    """How far (K,) each match (K, 2) is from the truth, in pixels of B; infinite where B does not show the place in A."""
    in_b, visible = find(warp, np.asarray(keypoints_a)[pairs[:, 0]])
    error = np.linalg.norm(in_b - np.asarray(keypoints_b, np.float64)[pairs[:, 1]], axis=1)
    return np.where(visible, error, np.inf)


def repeatability(there: np.ndarray, here: np.ndarray) -> float:
    """Of two sets of places (N, 2), (M, 2) in one image, how many have one of the other set within 3 px, the smaller count, over the
    size of the smaller set; NaN where both are empty."""
    if not len(there) or not len(here):
        return 0.0 if len(there) or len(here) else np.nan
    repeated = min((cKDTree(one).query(other)[0] <= REPEATED).sum() for one, other in ((there, here), (here, there)))
    return float(repeated / min(len(there), len(here)))


def mean_scores(scores: list[PairScore]) -> PairScore:
    """The mean of each score over pairs; a NaN counts as 0, for a pair without keypoints or matches is a failure."""
    return PairScore(*(float(np.mean([np.nan_to_num(getattr(score, field.name)) for score in scores])) for field in fields(PairScore)))


def find(warp: Warp, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Warp.find of a single warp in NumPy: (N, 2) to (N, 2) float64 and (N,) bool."""
    found, visible = warp.find(_points(xy, warp))
    return found[0].double().cpu().numpy(), visible[0].cpu().numpy()


def source(warp: Warp, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Warp.source_positions of a single warp in NumPy, and whether they lie in A: (N, 2) to (N, 2) float64 and (N,) bool."""
    positions = warp.source_positions(_points(xy, warp))
    return positions[0].double().cpu().numpy(), inside(positions, warp.source_size)[0].cpu().numpy()


def _points(xy: np.ndarray, warp: Warp) -> torch.Tensor:
    if len(warp) != 1:
        raise ValueError(f"a pair is scored under a single warp, not {len(warp)}")
    return torch.as_tensor(np.asarray(xy, np.float64), device=warp.homography.device).reshape(1, -1, 2)
