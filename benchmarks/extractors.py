"""What is compared: extractors, each with mutual nearest neighbours under the norm of its descriptors, and whole matchers."""
from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from dalf_training.evaluation.extractor_scores import Extractor, PairMatcher, mutual_matches
from official import add_to_path, official_extractor
from peers import PEERS, make_peer

from dalf_core import DALF, Features, match_images
from dalf_core.weights import OFFICIAL, resolve

# What DALF is given beyond the weights; float32 unless it says otherwise.
OURS = "ours"
VARIANTS: dict[str, dict[str, str]] = {OURS: {}, "original-geometry": {"geometry": "original"}, "polar": {"descriptor": "polar"},
                                       "bfloat16": {"precision": "bfloat16"}}
# match_images: how often it looks at image B, and whether it aligns; "auto-aligned" is what it does when nothing is said.
MATCHERS: dict[str, tuple[str | int, bool]] = {
    "one-look": (1, False), "two-looks": (2, False), "auto": ("auto", False),
    "one-look-aligned": (1, True), "two-looks-aligned": (2, True), "auto-aligned": ("auto", True)}
LIGHT = "light"             # before a variant or a matcher: with the light network; alone, the variant "ours"
VERIFIED = "-verified"      # behind the name of a matcher: only what it verifies is scored
NAMES = (*VARIANTS, *MATCHERS, *(name + VERIFIED for name in MATCHERS), "sift", "orb", "official", *PEERS,
         LIGHT, *(f"{LIGHT}-{name}" for name in ("polar", "bfloat16", *MATCHERS)))
REMEMBERED = 8              # images: the rows of one pair look at the same two or three


class RememberingDalf:
    """DALF for several rows of the table: an image that one of them has seen is not extracted for the next once more."""

    def __init__(self, dalf: DALF) -> None:
        self._dalf = dalf
        self._found: OrderedDict[bytes, Features] = OrderedDict()

    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        """DALF.extract."""
        parts = (image,) if mask is None else (image, mask)
        key = b"".join(hashlib.sha256(repr((part.shape, part.dtype)).encode() + part.tobytes()).digest() for part in parts)
        if key not in self._found:
            self._found[key] = self._dalf.extract(image, mask)
            if len(self._found) > REMEMBERED:
                self._found.popitem(last=False)
        return self._found[key]


@dataclass(frozen=True)
class ImageMatcher:
    """dalf_core.match_images. passes, align: as it takes them. verified: leave out the matches that it does not verify."""

    dalf: RememberingDalf
    passes: str | int
    align: bool
    verified: bool

    def match_pair(self, image_a: np.ndarray, image_b: np.ndarray) -> tuple[Features, Features, np.ndarray]:
        """The features of both images, and which match: (K, 2) indices."""
        found = match_images(image_a, image_b, dalf=self.dalf, passes=self.passes, align=self.align)
        matches = found.matches.select(found.matches.inlier) if self.verified else found.matches
        return found.a, found.b, np.stack([matches.reference_index, matches.query_index], axis=1)


class Extractors:
    """Makes the rows. weights: for DALF, see dalf_core.DALF; rows that take the same DALF share one. checkout: of the official code.
    light: weights of the light network."""

    def __init__(self, top_k: int, weights: str | os.PathLike | None = None, checkout: Path | None = None,
                 light: str | os.PathLike | None = None) -> None:
        self._top_k, self._weights, self._checkout, self._light = top_k, weights, checkout, light
        self._dalfs: dict[str, RememberingDalf] = {}

    def make(self, name: str) -> PairMatcher:
        """One of NAMES. ValueError: an unknown name, no checkout. peers.LeftOutError: a peer cannot be had here."""
        if name.startswith(LIGHT):
            if self._light is None:
                raise ValueError(f"the extractor {name!r} needs weights of the light network: --light FILE")
            return Extractors(self._top_k, self._light).make(name.removeprefix(LIGHT).removeprefix("-") or OURS)
        if name in VARIANTS:
            return Extractor(self._dalf(name).extract, mutual_matches)
        if name.removesuffix(VERIFIED) in MATCHERS:
            return ImageMatcher(self._dalf(OURS), *MATCHERS[name.removesuffix(VERIFIED)], name.endswith(VERIFIED))
        if name == "sift":
            return _opencv(cv2.SIFT_create(nfeatures=self._top_k), cv2.NORM_L2)
        if name == "orb":
            return _opencv(cv2.ORB_create(nfeatures=self._top_k), cv2.NORM_HAMMING)
        if name in PEERS:
            return make_peer(name, self._top_k)
        if name != "official":
            raise ValueError(f"unknown extractor {name!r}; there are {', '.join(NAMES)}")
        return self._official()

    def _dalf(self, variant: str) -> RememberingDalf:
        if variant not in self._dalfs:
            choices = {"precision": "float32", **VARIANTS[variant]}
            self._dalfs[variant] = RememberingDalf(DALF(self._weights, "cpu", top_k=self._top_k, **choices))    # type: ignore[arg-type]
        return self._dalfs[variant]

    def _official(self) -> Extractor:
        if self._checkout is None:
            raise ValueError("the extractor 'official' needs a checkout of verlab/DALF_CVPR_2023: --official DIR")
        add_to_path(self._checkout)           # says what is wrong before any weights are fetched
        extractor = official_extractor(self._checkout, str(resolve(OFFICIAL)))
        return Extractor(lambda image: _features(image, *extractor.detectAndCompute(image, top_k=self._top_k)), mutual_matches)


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
