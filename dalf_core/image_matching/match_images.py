"""Two pictures to verified matches, in one call; the second picture is looked at twice where that pays.

The second look: a smooth map through the verified matches unwarps picture B to where A has everything, features are extracted there
once more, matched as if nothing were known, and their places led back into B. Nothing is searched near a prediction. So a wrong map can
only spoil the patches it shows: it cannot make descriptors alike, and what it gives is dropped if it bears out less than half of
the first look.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..image_registration.image_warp import ImageWarp, ImageWarpError, fit_image_warp
from ..matching.nearest_neighbours import match
from ..matching.verification import verify
from ..types import Features, Matches
from .deformation import deformation
from .merging import Look, merged
from .unwarping import LARGEST_SIDE, Unwarped, unwarp

if TYPE_CHECKING:
    from ..features.extractor import DALF

AUTO = "auto"
PASSES = (AUTO, 1, 2)
MIN_VERIFIED = 20           # fewer verified matches chance can do: no map is made of them
FAR = 0.035                 # of the template's diagonal: a match that is farther off the map and not verified is wrong
BORNE_OUT = 0.5             # of the first look's verified matches the second must verify by itself, or its map was wrong


@dataclass(frozen=True)
class ImageMatches:
    """What two pictures have in common.

    a, b: Features, in pixels of the pictures. After a second look b holds its keypoints, those of the first look where it did not look,
    and those of first matches that it did not find but agrees with.
    matches: mutual nearest neighbours from a to b; inlier: those verified.
    passes: 1 or 2, how often B was looked at for them. reason: why it was, or was not, looked at again, in words.
    verified_first: verified matches of the first look.
    """

    a: Features
    b: Features
    matches: Matches
    passes: int
    reason: str
    verified_first: int

    @property
    def verified(self) -> int:
        """How many matches hold."""
        return int(self.matches.inlier.sum())

    @property
    def points_a(self) -> np.ndarray:
        """(V, 2) float32 pixels of A, the verified matches."""
        return self.a.keypoints[self.matches.reference_index[self.matches.inlier]]

    @property
    def points_b(self) -> np.ndarray:
        """(V, 2) float32 pixels of B, row by row where those of A are found."""
        return self.b.keypoints[self.matches.query_index[self.matches.inlier]]


def match_images(a: np.ndarray | Features, b: np.ndarray, *, dalf: DALF | None = None, passes: str | int = AUTO,
                 features_b: Features | None = None) -> ImageMatches:
    """Match picture b to picture a.

    a: HxWx3 BGR or HxW, any type that DALF.extract takes, or its Features. b: such a picture. features_b: those of b, if they are known.
    Features must be the same extractor's. dalf: the extractor; by default one with the built-in weights, made once.
    passes: 1, one look; 2, a second one wherever a map can be made; "auto", a second one where the map turns, zooms, shears or bends what
    patches show. The second look takes one more extraction.
    ValueError: another number of passes, features of another image size; pictures that are constant, smaller than 32x32 or no pictures,
    with the one that is named. Pictures that share nothing are no error: no match is verified.
    """
    if isinstance(passes, bool) or passes not in PASSES:
        raise ValueError(f"passes must be one of {', '.join(map(str, PASSES))}, not {passes!r}")
    dalf = _default_extractor() if dalf is None else dalf
    reference = a if isinstance(a, Features) else _extracted(dalf, a, "a")
    query = _extracted(dalf, b, "b") if features_b is None else features_b
    if query.image_size != np.shape(b)[1::-1]:
        width, height = query.image_size
        raise ValueError(f"features_b are of an image of {width}x{height} pixels, but b is of shape {np.shape(b)}")
    first = Look(query, verified_matches(reference, query))
    if passes == 1:
        return ImageMatches(reference, query, first.matches, 1, "one look was asked for", first.verified)
    look, reason = look_again(dalf, reference, b, first, always=passes == 2)
    return ImageMatches(reference, look.features, look.matches, 1 if look is first else 2, reason, first.verified)


def verified_matches(reference: Features, query: Features) -> Matches:
    """Mutual nearest neighbours, and which of them a bending surface explains."""
    matches = match(reference, query)
    return replace(matches, inlier=verify(reference, query, matches))


def look_again(dalf: DALF, reference: Features, image: np.ndarray, first: Look, *, always: bool = False) -> tuple[Look, str]:
    """The second look at an image after a first one, and why; or the first one itself, and why not.

    always: also where the map hardly changes what patches show.
    """
    if first.verified < MIN_VERIFIED:
        return first, f"{first.verified} verified matches are too few for a map, which takes {MIN_VERIFIED}"
    if max(*reference.image_size, *first.features.image_size) > LARGEST_SIDE:
        return first, f"a picture is larger than {LARGEST_SIDE} pixels on a side"
    try:
        warp = _fit(reference, first)
    except ImageWarpError as error:
        return first, str(error)
    seen = deformation(warp, warp.template_xy[warp.inlier])
    if not always and not seen.calls_for_second_look:
        return first, f"patches look alike already: {seen}"
    unwarped = unwarp(image, warp)
    if not unwarped.covered.any() or np.ptp(unwarped.picture) == 0:
        return first, "the map shows nothing of B"
    second = _second_look(dalf, reference, unwarped, first.features.image_size)
    if second.verified < BORNE_OUT * first.verified:
        return first, f"the map is not borne out: {second.verified} matches are verified behind it, {first.verified} without"
    both = merged(reference, first, second, unwarped.shown(first.features.keypoints, first.features.image_size))
    if both.verified <= first.verified:
        return first, f"a second look finds no more: {both.verified} verified matches"
    return both, str(seen)


def _second_look(dalf: DALF, reference: Features, unwarped: Unwarped, image_size: tuple[int, int]) -> Look:
    """Features of the unwarped image, led back to the image's pixels, and their matches: those far off the map only where verified."""
    found = dalf.extract(unwarped.picture, unwarped.covered)
    features = replace(found, keypoints=unwarped.to_image(found.keypoints), image_size=image_size)
    matches = verified_matches(reference, features)
    off = np.linalg.norm(found.keypoints[matches.query_index] - reference.keypoints[matches.reference_index], axis=1)
    return Look(features, matches.select(matches.inlier | (off <= FAR * np.hypot(*reference.image_size))))


def _fit(reference: Features, look: Look) -> ImageWarp:
    good = look.matches.select(look.matches.inlier)
    return fit_image_warp(reference.keypoints[good.reference_index], look.features.keypoints[good.query_index], reference.image_size,
                          look.features.image_size)


def _extracted(dalf: DALF, picture: np.ndarray, name: str) -> Features:
    try:
        return dalf.extract(picture)
    except ValueError as error:
        raise ValueError(f"picture {name}: {error}") from error


@lru_cache(maxsize=1)
def _default_extractor() -> DALF:
    from ..features.extractor import DALF

    return DALF()
