"""The verifiers that are compared: which of the matches between two images does a bending surface explain?"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from official import official_ransac

from dalf_core import Features, Matches, verify

NAMES = ("ours", "adalam", "affine-ransac", "magsac", "tps-ransac")
OFFICIAL_THRESHOLD = 0.2        # the affine-subspace RANSAC's, as the official notebooks call it
HOMOGRAPHY_THRESHOLD = 3.0      # pixels
TPS_SAMPLES, TPS_POINTS, TPS_THRESHOLD = 500, 6, 12.0       # hypotheses, matches in each, pixels


@dataclass(frozen=True)
class Putative:
    """What a verifier is given: two images' features, their mutual nearest neighbours, and what AdaLAM asks for beyond.

    source, target: (M, 2) float32 pixels. nearest: (N,) nearest in B of each keypoint of A. ratio: (N,) of its squared distances to the two
    nearest. mutual: (N,) bool.
    """

    a: Features
    b: Features
    matches: Matches
    source: np.ndarray
    target: np.ndarray
    nearest: np.ndarray
    ratio: np.ndarray
    mutual: np.ndarray


Verifier = Callable[[Putative], np.ndarray]     # -> (M,) bool


def putative(a: Features, b: Features, matches: Matches) -> Putative:
    """Prepares matches for all verifiers; this part of the work is matching, and not timed."""
    similarity = torch.from_numpy(a.descriptors) @ torch.from_numpy(b.descriptors).T
    values, index = similarity.topk(2, dim=1)
    squared = (2 - 2 * values).clamp_min(1e-9)
    mutual = np.zeros(len(a), bool)
    mutual[matches.reference_index] = True
    return Putative(a, b, matches, a.keypoints[matches.reference_index], b.keypoints[matches.query_index],
                    index[:, 0].numpy(), (squared[:, 0] / squared[:, 1]).numpy(), mutual)


def make_verifier(name: str, checkout: Path | None = None) -> Verifier:
    """One of NAMES. checkout: of the official code. ValueError: an unknown name, no checkout."""
    if name == "affine-ransac":
        if checkout is None:
            raise ValueError("the verifier 'affine-ransac' needs a checkout of verlab/DALF_CVPR_2023: --official DIR")
        ransac = official_ransac(checkout)
        return lambda given: ransac(given.source, given.target, torch.device("cpu"), thr=OFFICIAL_THRESHOLD)
    plain: dict[str, Verifier] = {"ours": lambda given: verify(given.a, given.b, given.matches), "adalam": adalam, "magsac": magsac,
                                  "tps-ransac": tps_ransac}
    if name not in plain:
        raise ValueError(f"unknown verifier {name!r}; there are {', '.join(NAMES)}")
    return plain[name]


def adalam(given: Putative) -> np.ndarray:
    """AdaLAM (Cavalli et al., ECCV 2020) by kornia, at its default settings; DALF has no orientation or scale to check."""
    from kornia.feature.adalam import AdalamFilter
    from kornia.feature.adalam.adalam import get_adalam_default_config

    settings = get_adalam_default_config()
    settings["orientation_difference_threshold"] = settings["scale_rate_threshold"] = None       # type: ignore[typeddict-item]
    kept = AdalamFilter(settings).filter_matches(
        torch.from_numpy(given.a.keypoints), torch.from_numpy(given.b.keypoints), torch.from_numpy(given.nearest),
        torch.from_numpy(given.ratio), torch.from_numpy(given.mutual), given.a.image_size, given.b.image_size)
    chosen = np.zeros(len(given.a), bool)
    chosen[kept[:, 0].numpy()] = True
    return chosen[given.matches.reference_index]


def magsac(given: Putative) -> np.ndarray:
    """One homography by MAGSAC++ (Barath et al., CVPR 2020): what a plane would need."""
    if len(given.source) < 4:
        return np.zeros(len(given.source), bool)
    _, mask = cv2.findHomography(given.source, given.target, cv2.USAC_MAGSAC, HOMOGRAPHY_THRESHOLD, maxIters=5000, confidence=0.999)
    return np.zeros(len(given.source), bool) if mask is None else mask[:, 0] > 0


def tps_ransac(given: Putative) -> np.ndarray:
    """The thin-plate spline through a few matches that most others agree with, of many random ones."""
    count = len(given.source)
    if count < TPS_POINTS:
        return np.zeros(count, bool)
    source, target = given.source.astype(np.float64), given.target.astype(np.float64)
    rng = np.random.default_rng(0)
    best = np.zeros(count, bool)
    for _ in range(TPS_SAMPLES):
        chosen = rng.choice(count, TPS_POINTS, replace=False)
        basis = _tps_basis(source, source[chosen])
        system = np.zeros((TPS_POINTS + 3, TPS_POINTS + 3))
        system[:TPS_POINTS], system[TPS_POINTS:, :TPS_POINTS] = basis[chosen], basis[chosen, TPS_POINTS:].T
        try:
            solved = np.linalg.solve(system, np.concatenate([target[chosen], np.zeros((3, 2))]))
        except np.linalg.LinAlgError:
            continue
        agrees = np.linalg.norm(basis @ solved - target, axis=1) <= TPS_THRESHOLD
        if agrees.sum() > best.sum():
            best = agrees
    return best


def _tps_basis(points: np.ndarray, control: np.ndarray) -> np.ndarray:
    squared = ((points[:, None] - control) ** 2).sum(-1)
    return np.concatenate([squared * np.log(np.maximum(squared, 1e-12)), np.ones((len(points), 1)), points], axis=1)
