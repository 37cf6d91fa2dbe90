"""The extractors that are compared, each with its own kind of matching: mutual nearest neighbours under the norm of its descriptors."""
from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from dalf_training.evaluation.extractor_scores import Extractor, mutual_matches
from official import add_to_path, official_extractor

from dalf_core import DALF, Features
from dalf_core.weights import OFFICIAL, resolve

# What DALF is given beyond the weights; float32 unless it says otherwise.
VARIANTS: dict[str, dict[str, str]] = {"ours": {}, "original-geometry": {"geometry": "original"}, "polar": {"descriptor": "polar"},
                                       "bfloat16": {"precision": "bfloat16"}}
NAMES = (*VARIANTS, "sift", "orb", "official")


def make_extractor(name: str, top_k: int, weights: str | os.PathLike | None = None, checkout: Path | None = None) -> Extractor:
    """One of NAMES. weights: for DALF, see dalf_core.DALF. checkout: of the official code. ValueError: an unknown name, no checkout."""
    if name in VARIANTS:
        return Extractor.of(DALF(weights, "cpu", top_k=top_k, **{"precision": "float32", **VARIANTS[name]}))       # type: ignore[arg-type]
    if name == "sift":
        return _opencv(cv2.SIFT_create(nfeatures=top_k), cv2.NORM_L2)
    if name == "orb":
        return _opencv(cv2.ORB_create(nfeatures=top_k), cv2.NORM_HAMMING)
    if name != "official":
        raise ValueError(f"unknown extractor {name!r}; there are {', '.join(NAMES)}")
    if checkout is None:
        raise ValueError("the extractor 'official' needs a checkout of verlab/DALF_CVPR_2023: --official DIR")
    add_to_path(checkout)           # says what is wrong before any weights are fetched
    extractor = official_extractor(checkout, str(resolve(OFFICIAL)))
    return Extractor(lambda image: _features(image, *extractor.detectAndCompute(image, top_k=top_k)), mutual_matches)


def _opencv(detector: cv2.Feature2D, norm: int) -> Extractor:
    matcher = cv2.BFMatcher(norm, crossCheck=True)

    def pairs(a: Features, b: Features) -> np.ndarray:
        found = matcher.match(a.descriptors, b.descriptors) if len(a) and len(b) else []
        return np.array([(pair.queryIdx, pair.trainIdx) for pair in found], np.int64).reshape(-1, 2)

    return Extractor(lambda image: _features(image, *detector.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), None)), pairs)


def _features(image: np.ndarray, keypoints: list[cv2.KeyPoint], descriptors: np.ndarray | None) -> Features:
    xy = np.array([keypoint.pt for keypoint in keypoints], np.float32).reshape(-1, 2)
    scores = np.array([keypoint.response for keypoint in keypoints], np.float32)
    return Features(xy, scores, np.zeros((0, 1), np.float32) if descriptors is None else descriptors, (image.shape[1], image.shape[0]))
