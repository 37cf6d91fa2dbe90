"""The second look at an image: it is unwarped to where the reference image has everything, and searched again.

A smooth map through the verified matches of the first look unwarps the image, features are extracted there once more, matched as if
nothing were known, and their places led back into the image. Nothing is searched near a prediction. So a wrong map can only spoil the
patches it shows: it cannot make descriptors alike, and what it gives is dropped if it bears out less than half of the first look.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..image_registration.image_warp import ImageWarp, ImageWarpError, fit_image_warp
from ..matching.nearest_neighbours import match
from ..matching.verification import MIN_VERIFIED, verify
from ..types import Features, Matches
from .deformation import deformation
from .merging import Look, merged
from .unwarping import LARGEST_SIDE, Unwarped, unwarp

Extract = Callable[[np.ndarray, np.ndarray], Features]      # image, mask -> features, as DALF.extract

FAR = 0.035                 # of the template's diagonal: a match that is farther off the map and not verified is wrong
BORNE_OUT = 0.5             # of the first look's verified matches the second must verify by itself, or its map was wrong


def verified_matches(reference: Features, query: Features) -> Matches:
    """Mutual nearest neighbours, and which of them a bending surface explains."""
    matches = match(reference, query)
    return replace(matches, inlier=verify(reference, query, matches))


def look_again(extract: Extract, reference: Features, image: np.ndarray, first: Look, *, allowed: np.ndarray | None = None,
               always: bool = False, keep_all: bool = False, before: Look | None = None) -> tuple[Look, str]:
    """The second look at an image after a first one, and why; or the first one itself, and why not.

    allowed: (H, W), nonzero where keypoints of the image may lie. always: also where the map hardly changes what patches show.
    before: for a third look, where `first` is the second one, the one before that: only where the second look corrects its map.
    keep_all: the first look's features stay as they are, in front. Else those go that lie where the second looked and have no match.
    """
    if first.verified < MIN_VERIFIED:
        return first, f"{first.verified} verified matches are too few for a map, which takes {MIN_VERIFIED}"
    if max(*reference.image_size, *first.features.image_size) > LARGEST_SIDE:
        return first, f"a picture is larger than {LARGEST_SIDE} pixels on a side"
    try:
        warp, undone = _fit(reference, first), None if before is None else _fit(reference, before)
    except ImageWarpError as error:
        return first, str(error)
    seen = deformation(warp, warp.template_xy[warp.inlier], undone)
    if not always and not seen.calls_for_another_look:
        return first, f"patches look alike already: {seen}"
    unwarped = unwarp(image, warp, allowed)
    if not unwarped.covered.any() or np.ptp(unwarped.picture[unwarped.covered]) == 0:
        return first, "the map shows nothing of B"
    second = _second_look(extract, reference, unwarped, first.features.image_size)
    if second.verified < BORNE_OUT * first.verified:
        return first, f"the map is not borne out: {second.verified} matches are verified behind it, {first.verified} without"
    shown = unwarped.shown(first.features.keypoints, first.features.image_size)
    both = merged(reference, first, second, np.zeros_like(shown) if keep_all else shown)
    if both.verified <= first.verified:
        return first, f"a second look finds no more: {both.verified} verified matches"
    return both, str(seen)


def _second_look(extract: Extract, reference: Features, unwarped: Unwarped, image_size: tuple[int, int]) -> Look:
    """Features of the unwarped image, led back to the image's pixels, and their matches: those far off the map only where verified."""
    found = extract(unwarped.picture, unwarped.covered)
    features = replace(found, keypoints=unwarped.to_image(found.keypoints), image_size=image_size)
    matches = verified_matches(reference, features)
    off = np.linalg.norm(found.keypoints[matches.query_index] - reference.keypoints[matches.reference_index], axis=1)
    return Look(features, matches.select(matches.inlier | (off <= FAR * np.hypot(*reference.image_size))))


def _fit(reference: Features, look: Look) -> ImageWarp:
    good = look.matches.select(look.matches.inlier)
    return fit_image_warp(reference.keypoints[good.reference_index], look.features.keypoints[good.query_index], reference.image_size,
                          look.features.image_size)
