"""Follows a template image through a clip, in 2D: every frame is registered to the same template, so nothing drifts.

A frame is first matched as if nothing were known. Where that gives too little, the matches are looked for near the places that the
last registered frame predicts. Either way a second search, near the places that the first map predicts, finds what ambiguity
cost. Matches found near a prediction agree with it by construction; so such a match counts only where the picture bears it out.
"""
from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from ..features.extractor import DALF
from ..matching.nearest_neighbours import match
from ..matching.verification import verify
from ..sixteen_bit import to_eight_bit
from ..stopwatch import Stopwatch
from ..types import Features, Matches
from .image_warp import MIN_MATCHES, ImageWarp, ImageWarpError, fit_image_warp, warp_to_template
from .similarity import local_zncc

REFERENCE, DIRECT, TRACKED, FAILED = "reference", "direct", "tracked", "lost"
MIN_VERIFIED = 20           # fewer verified matches: chance can do that, the frame counts as not registered so
NEAR = 0.035                # of the image's diagonal: how far from the first map's prediction a match may lie
FAR = 0.12                  # of the image's diagonal: the same for the last frame's
LEAST_ZNCC = 0.5            # of the picture around a match found near a prediction
NO_MATCHES = Matches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, bool))


@dataclass(frozen=True)
class TemplateFrame:
    """One frame, registered to the template.

    method: "reference" (the template itself), "direct" (matched without a prediction), "tracked" (with the last frame's) or "lost".
    reason: why it is lost, in words. features: of the frame; None when nothing could be found in it.
    matches: mutual nearest neighbours found without any prediction; inlier: those verified.
    warp: template to image; None when lost.
    zncc: mean local ZNCC of the registered frame with the template where the warp is supported; NaN when lost.
    """

    method: str
    reason: str
    features: Features | None
    matches: Matches
    warp: ImageWarp | None
    zncc: float
    milliseconds: dict[str, float] = field(default_factory=dict)

    @property
    def verified(self) -> int:
        """How many matches that were found without a prediction hold."""
        return int(self.matches.inlier.sum())

    @property
    def used(self) -> int:
        """How many matches the warp agrees with, those found near a prediction included."""
        return int(self.warp.inlier.sum()) if self.warp else 0

    @property
    def supported(self) -> float:
        """The part of the template's area that is seen, 0 to 1."""
        return float(self.warp.support.mean()) if self.warp else 0.0


class TemplateTracker:
    """Registers images to a template, one after the other.

    dalf: an extractor. template: HxWx3 BGR or HxW, uint8 or uint16, as the images are. ValueError: a template with too few keypoints.
    """

    def __init__(self, dalf: DALF, template: np.ndarray, *, min_verified: int = MIN_VERIFIED) -> None:
        if min_verified < MIN_MATCHES:
            raise ValueError(f"min_verified must be at least {MIN_MATCHES}, not {min_verified}")
        self.dalf = dalf
        self.min_verified = min_verified
        self.features = dalf.extract(template)
        self.size = self.features.image_size
        if len(self.features) < min_verified:
            raise ValueError(f"the template has only {len(self.features)} keypoints, at least {min_verified} are needed; choose a sharper "
                             "one, with more to see")
        self._gray = _gray(template)
        self._last: ImageWarp | None = None

    def process(self, image: np.ndarray) -> TemplateFrame:
        """Register one image of the clip. One that shows nothing, or not the template, is a frame with a status, not an error."""
        clock = Stopwatch()
        gray = _gray(image)
        if np.ptp(gray) == 0:
            return TemplateFrame(FAILED, "the image is constant", None, NO_MATCHES, None, np.nan, clock.laps)
        features = self.dalf.extract(image)
        clock.lap("extract")
        matches = match(self.features, features)
        matches = replace(matches, inlier=verify(self.features, features, matches))
        clock.lap("match")
        method, warp = self._register(features, matches, gray)
        clock.lap("register")
        if warp is None:
            reason = f"{matches.inlier.sum()} verified matches" + (", and too few near the last frame's places" if self._last else "")
            return TemplateFrame(FAILED, reason, features, matches, None, np.nan, clock.laps)
        self._last = warp
        zncc = local_zncc(self._gray, warp_to_template(gray, warp), warp.support)[warp.support]
        clock.lap("compare")
        return TemplateFrame(method, "", features, matches, warp, float(zncc.mean()) if len(zncc) else np.nan, clock.laps)

    def _register(self, features: Features, matches: Matches, gray: np.ndarray) -> tuple[str, ImageWarp | None]:
        """How the map was found, and the map."""
        trusted = _pairs(matches, len(features))[matches.inlier]
        method, warp = DIRECT, self._fit(features, matches, matches.inlier)
        if warp is None and self._last is not None:
            method, warp = TRACKED, self._near(self._last, FAR, features, gray, trusted)
        if warp is None:
            return FAILED, None
        again = self._near(warp, NEAR, features, gray, trusted)
        return method, again if again is not None and again.inlier.sum() >= warp.inlier.sum() else warp

    def _fit(self, features: Features, matches: Matches, chosen: np.ndarray) -> ImageWarp | None:
        if chosen.sum() < self.min_verified:
            return None
        try:
            return fit_image_warp(self.features.keypoints[matches.reference_index[chosen]], features.keypoints[matches.query_index[chosen]],
                                  self.size, features.image_size)
        except ImageWarpError:
            return None

    def _near(self, prediction: ImageWarp, reach: float, features: Features, gray: np.ndarray, trusted: np.ndarray) -> ImageWarp | None:
        """The map from matches near predicted places: each verified without a prediction too, or borne out by the picture."""
        radius = reach * float(np.hypot(*features.image_size))
        matches = match(self.features, features, predicted=prediction.image_positions(self.features.keypoints), radius=radius)
        chosen = verify(self.features, features, matches)
        independent = np.isin(_pairs(matches, len(features)), trusted)
        warp = self._fit(features, matches, chosen)
        if warp is None:
            return None
        alike = local_zncc(self._gray, warp_to_template(gray, warp)) >= LEAST_ZNCC
        x, y = np.rint(self.features.keypoints[matches.reference_index]).astype(int).T
        borne_out = alike[y.clip(0, self.size[1] - 1), x.clip(0, self.size[0] - 1)]
        chosen[chosen] = warp.inlier
        chosen &= independent | borne_out
        return self._fit(features, matches, chosen)


def _pairs(matches: Matches, query_count: int) -> np.ndarray:
    """One number for each pair of keypoints."""
    return matches.reference_index * query_count + matches.query_index


def _gray(image: np.ndarray) -> np.ndarray:
    image = to_eight_bit(image)
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
