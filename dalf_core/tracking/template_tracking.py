"""Follows a template image through a clip, in 2D: every frame is registered to the same template, so nothing drifts.

What DALF finds in a frame, as if nothing were known, is united with what is carried to it from the frame before by the template's own
patches. Then a second search, near the places that the map of these predicts, finds what ambiguity cost. Matches found near a
prediction agree with it by construction; so such a match counts only where the picture bears it out.
"""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..features.extractor import DALF
from ..image_registration.image_warp import MIN_MATCHES, ImageWarp, ImageWarpError, fit_image_warp, warp_to_template
from ..image_registration.similarity import local_zncc
from ..matching.nearest_neighbours import match
from ..matching.verification import MIN_VERIFIED, verify
from ..options import EVERY_FRAME, IF_NEEDED
from ..stopwatch import Stopwatch
from ..types import Features, Matches
from .feature_tracker import FeatureTracker
from .frames import FrameMatches
from .match_carrier import gray
from .sequential_tracker import SequentialTracker

REFERENCE, DIRECT, TRACKED, FAILED = "reference", "direct", "tracked", "lost"
NEAR = 0.035                # of the image's diagonal: how far from the first map's prediction a match may lie
LEAST_ZNCC = 0.5            # of the picture around a match found near a prediction
NO_MATCHES = Matches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, bool))


@dataclass(frozen=True)
class TemplateFrame:
    """One frame, registered to the template.

    method: "reference" (the template itself), "direct" (by what DALF found in it, and what was carried beside), "tracked" (by what was
    carried to it: DALF did not look, or found too little) or "lost". reason: why it is lost, in words.
    features: of the frame; None where DALF did not look, or nothing could be found in it.
    matches: mutual nearest neighbours found without any prediction; inlier: those verified. None where DALF did not look.
    carried: how many matches were carried from the frame before, beside those.
    warp: template to image; None when lost.
    zncc: mean local ZNCC of the registered frame with the template where the warp is supported; NaN when lost.
    """

    method: str
    reason: str
    features: Features | None
    matches: Matches | None
    carried: int
    warp: ImageWarp | None
    zncc: float
    milliseconds: dict[str, float] = field(default_factory=dict)

    @property
    def verified(self) -> int:
        """How many matches that were found without a prediction hold."""
        return _verified(self.matches)

    @property
    def used(self) -> int:
        """How many matches the warp agrees with, those carried or found near a prediction included."""
        return int(self.warp.inlier.sum()) if self.warp else 0

    @property
    def supported(self) -> float:
        """The part of the template's area that is seen, 0 to 1."""
        return float(self.warp.support.mean()) if self.warp else 0.0


class TemplateTracker:
    """Registers images to a template, one after the other.

    dalf: an extractor. template: HxWx3 BGR or HxW, uint8 or uint16, as the images are. look_every: DALF looks at one of so many images,
    see SequentialTracker. second_look: see FeatureTracker. ValueError: a template with too few keypoints.
    """

    def __init__(self, dalf: DALF, template: np.ndarray, *, look_every: int = EVERY_FRAME, second_look: str = IF_NEEDED,
                 min_verified: int = MIN_VERIFIED) -> None:
        if min_verified < MIN_MATCHES:
            raise ValueError(f"min_verified must be at least {MIN_MATCHES}, not {min_verified}")
        self.min_verified = min_verified
        tracker = FeatureTracker(dalf, min_reference_keypoints=min_verified, max_keyframes=0, second_look=second_look)
        self._images = SequentialTracker(tracker, look_every)
        features = self._images.process(template, 0).features
        assert features is not None
        self.features, self.size = features, features.image_size
        if len(features) < min_verified:
            raise ValueError(f"the template has only {len(features)} keypoints, at least {min_verified} are needed; choose a sharper "
                             "one, with more to see")
        self._images.look()             # the first image may be any of the clip
        self._gray = gray(template)
        self._count = 0

    def process(self, image: np.ndarray) -> TemplateFrame:
        """Register one image of the clip. One that shows nothing, or not the template, is a frame with a status, not an error."""
        now = gray(image)
        if np.ptp(now) == 0:
            return TemplateFrame(FAILED, "the image is constant", None, NO_MATCHES, 0, None, np.nan)
        self._count += 1
        found = self._images.process(image, self._count)
        pairs, clock = found.matches, Stopwatch()
        assert pairs is not None                    # the template is the reference
        detected = None if found.features is None else pairs.matches.select(pairs.matches.query_index >= 0)
        use = pairs.matches.inlier
        warp = self._fit(pairs.reference_xy[use], pairs.query_xy[use], pairs.image_size)
        method = FAILED if warp is None else DIRECT if _verified(detected) >= self.min_verified else TRACKED
        if warp is not None and found.features is not None:
            warp = self._near(warp, found.features, pairs, now)
        clock.lap("register")
        zncc = np.nan
        if warp is not None and warp.support.any():
            zncc = float(local_zncc(self._gray, warp_to_template(now, warp), warp.support)[warp.support].mean())
            clock.lap("compare")
        carried = int(pairs.matches.inlier.sum()) - _verified(detected)
        reason = "" if warp is not None else f"{_verified(detected)} verified matches, {carried} carried"
        return TemplateFrame(method, reason, found.features, detected, carried, warp, zncc, found.milliseconds | clock.laps)

    def _fit(self, template_xy: np.ndarray, image_xy: np.ndarray, image_size: tuple[int, int]) -> ImageWarp | None:
        if len(template_xy) < self.min_verified:
            return None
        try:
            return fit_image_warp(template_xy, image_xy, self.size, image_size)
        except ImageWarpError:
            return None

    def _near(self, first: ImageWarp, features: Features, pairs: FrameMatches, now: np.ndarray) -> ImageWarp:
        """The map from matches near where the first one puts them, if more: each is one of the pairs, or the picture bears it out."""
        radius = NEAR * float(np.hypot(*features.image_size))
        matches = match(self.features, features, predicted=first.image_positions(self.features.keypoints), radius=radius)
        chosen = verify(self.features, features, matches)
        template_xy, image_xy = self.features.keypoints[matches.reference_index], features.keypoints[matches.query_index]
        warp = self._fit(template_xy[chosen], image_xy[chosen], features.image_size)
        if warp is None:
            return first
        alike = local_zncc(self._gray, warp_to_template(now, warp)) >= LEAST_ZNCC
        x, y = np.rint(template_xy).astype(int).T
        borne_out = alike[y.clip(0, self.size[1] - 1), x.clip(0, self.size[0] - 1)]
        chosen[chosen] = warp.inlier
        chosen &= np.isin(_names(matches), _names(pairs.matches.select(pairs.matches.inlier))) | borne_out
        beside = (pairs.matches.query_index < 0) & ~np.isin(pairs.matches.reference_index, matches.reference_index[chosen])
        warp = self._fit(np.concatenate([template_xy[chosen], pairs.reference_xy[beside]]),
                         np.concatenate([image_xy[chosen], pairs.query_xy[beside]]), features.image_size)
        return first if warp is None or warp.inlier.sum() < first.inlier.sum() else warp


def _verified(matches: Matches | None) -> int:
    return 0 if matches is None else int(matches.inlier.sum())


def _names(matches: Matches) -> np.ndarray:
    """One number for each pair of keypoints."""
    return matches.reference_index << 32 | matches.query_index
