"""What is compared: extractors, each with mutual nearest neighbours under the norm of its descriptors, and whole matchers."""
from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from dalf_training.evaluation.extractor_scores import Extractor, PairMatcher, mutual_matches
from official import add_to_path, official_extractor

from dalf_core import DALF, Features, match_images
from dalf_core.weights import OFFICIAL, resolve

# What DALF is given beyond the weights; float32 unless it says otherwise.
VARIANTS: dict[str, dict[str, str]] = {"ours": {}, "original-geometry": {"geometry": "original"}, "polar": {"descriptor": "polar"},
                                       "bfloat16": {"precision": "bfloat16"}}
# match_images: how often it looks at image B, and whether only what it verifies is scored.
MATCHERS: dict[str, tuple[str | int, bool]] = {
    "one-look": (1, False), "two-looks": (2, False), "auto": ("auto", False),
    "one-look-verified": (1, True), "two-looks-verified": (2, True), "auto-verified": ("auto", True)}
NAMES = (*VARIANTS, *MATCHERS, "sift", "orb", "official")


@dataclass(frozen=True)
class ImageMatcher:
    """dalf_core.match_images. passes: as it takes them. verified: leave out the matches that it does not verify."""

    dalf: DALF
    passes: str | int
    verified: bool

    def match_pair(self, image_a: np.ndarray, image_b: np.ndarray) -> tuple[Features, Features, np.ndarray]:
        """The features of both images, and which match: (K, 2) indices."""
        found = match_images(image_a, image_b, dalf=self.dalf, passes=self.passes)
        matches = found.matches.select(found.matches.inlier) if self.verified else found.matches
        return found.a, found.b, np.stack([matches.reference_index, matches.query_index], axis=1)


def make_extractor(name: str, top_k: int, weights: str | os.PathLike | None = None, checkout: Path | None = None) -> PairMatcher:
    """One of NAMES. weights: for DALF, see dalf_core.DALF. checkout: of the official code. ValueError: an unknown name, no checkout."""
    if name in VARIANTS:
        return Extractor.of(DALF(weights, "cpu", top_k=top_k, **{"precision": "float32", **VARIANTS[name]}))       # type: ignore[arg-type]
    if name in MATCHERS:
        return ImageMatcher(DALF(weights, "cpu", top_k=top_k, precision="float32"), *MATCHERS[name])
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
