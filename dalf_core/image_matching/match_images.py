"""Two pictures to verified matches, in one call; the second picture is looked at again where that pays."""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..types import Features, Matches
from .merging import Look
from .second_look import look_again, verified_matches

if TYPE_CHECKING:
    from ..features.extractor import DALF

AUTO = "auto"
PASSES = (AUTO, 1, 2)
MOST_LOOKS = 3


@dataclass(frozen=True)
class ImageMatches:
    """What two pictures have in common.

    a, b: Features, in pixels of the pictures. After a second look b holds its keypoints, those of the first look where it did not look,
    and those of first matches that it did not find but agrees with.
    matches: mutual nearest neighbours from a to b; inlier: those verified.
    passes: 1, 2 or 3, how often B was looked at for them. reason: why it was, or was not, looked at again, in words.
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
    patches show, and a third one where the second corrects that map as much. Each look takes one more extraction.
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
    looks, reason = [first], ""
    while len(looks) < (2 if passes == 2 else MOST_LOOKS):
        before = looks[-2] if len(looks) > 1 else None
        look, why = look_again(dalf.extract, reference, b, looks[-1], always=passes == 2, before=before)
        reason = reason or why          # of the second look
        if look is looks[-1]:
            break
        looks.append(look)
    return ImageMatches(reference, looks[-1].features, looks[-1].matches, len(looks), reason, first.verified)


def _extracted(dalf: DALF, picture: np.ndarray, name: str) -> Features:
    try:
        return dalf.extract(picture)
    except ValueError as error:
        raise ValueError(f"picture {name}: {error}") from error


@lru_cache(maxsize=1)
def _default_extractor() -> DALF:
    from ..features.extractor import DALF

    return DALF()
