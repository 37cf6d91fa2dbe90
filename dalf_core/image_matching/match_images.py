"""Two pictures to verified matches, in one call; the second picture is looked at again where that pays."""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..features.image_input import to_gray
from ..types import Features, Matches
from .alignment import aligned
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
    and those of first matches that it did not find but agrees with. After alignment those that match lie where b shows the patch of a's,
    and those found by their patch alone are among them, with score 0 (see alignment).
    matches: mutual nearest neighbours from a to b, and what was found by its patch; inlier: those verified.
    passes: 1, 2 or 3, how often B was looked at for them. reason: why it was, or was not, looked at again, in words.
    verified_first: verified matches of the first look. verified_unaligned: of all looks, before alignment.
    """

    a: Features
    b: Features
    matches: Matches
    passes: int
    reason: str
    verified_first: int
    verified_unaligned: int

    @property
    def verified(self) -> int:
        """How many matches hold."""
        return int(self.matches.inlier.sum())

    @property
    def detected(self) -> np.ndarray:
        """(M,) bool: matches whose keypoint in B the detector found; the others were found by the patch around A's keypoint."""
        return self.b.scores[self.matches.query_index] > 0

    @property
    def points_a(self) -> np.ndarray:
        """(V, 2) float32 pixels of A, the verified matches."""
        return self.a.keypoints[self.matches.reference_index[self.matches.inlier]]

    @property
    def points_b(self) -> np.ndarray:
        """(V, 2) float32 pixels of B, row by row where those of A are found."""
        return self.b.keypoints[self.matches.query_index[self.matches.inlier]]


def match_images(a: np.ndarray | Features, b: np.ndarray, *, dalf: DALF | None = None, passes: str | int = AUTO,
                 features_b: Features | None = None, align: bool | None = None, picture_a: np.ndarray | None = None) -> ImageMatches:
    """Match picture b to picture a.

    a: HxWx3 BGR or HxW, any type that DALF.extract takes, or its Features. b: such a picture. features_b: those of b, if they are known.
    Features must be the same extractor's. dalf: the extractor; by default one with the built-in weights, made once.
    align: find the matches' places in b to a fraction of a pixel by a's patches, and a's other keypoints too where b shows them; None,
    wherever picture a is at hand. picture_a: that picture, if a is its Features.
    passes: 1, one look; 2, a second one wherever a map can be made; "auto", a second one where the map turns, zooms, shears or bends what
    patches show, and a third one where the second corrects that map as much. Each look takes one more extraction.
    ValueError: another number of passes, features of another image size, nothing to align by; pictures that are constant, smaller than
    32x32 or no pictures, with the one that is named. Pictures that share nothing are no error: no match is verified.
    """
    if isinstance(passes, bool) or passes not in PASSES:
        raise ValueError(f"passes must be one of {', '.join(map(str, PASSES))}, not {passes!r}")
    dalf = _default_extractor() if dalf is None else dalf
    reference, picture_a = (a, picture_a) if isinstance(a, Features) else (_extracted(dalf, a, "a"), a)
    query = _extracted(dalf, b, "b") if features_b is None else features_b
    _check_size(query, b, "features_b")
    if picture_a is not None:
        _check_size(reference, picture_a, "a")
    elif align:
        raise ValueError("to align, picture a is needed beside its features: picture_a=...")
    looks, reason = _looks(dalf, reference, b, Look(query, verified_matches(reference, query)), passes)
    look, unaligned = looks[-1], looks[-1].verified
    if picture_a is not None and align is not False:
        look = aligned(reference, look, _gray(picture_a), _gray(b))
    return ImageMatches(reference, look.features, look.matches, len(looks), reason, looks[0].verified, unaligned)


def _looks(dalf: DALF, reference: Features, b: np.ndarray, first: Look, passes: str | int) -> tuple[list[Look], str]:
    """The first look and those after it, and why there is a second one, or none."""
    if passes == 1:
        return [first], "one look was asked for"
    looks, reason = [first], ""
    while len(looks) < (2 if passes == 2 else MOST_LOOKS):
        before = looks[-2] if len(looks) > 1 else None
        look, why = look_again(dalf.extract, reference, b, looks[-1], always=passes == 2, before=before)
        reason = reason or why          # of the second look
        if look is looks[-1]:
            break
        looks.append(look)
    return looks, reason


def _check_size(features: Features, picture: np.ndarray, name: str) -> None:
    if features.image_size != np.shape(picture)[1::-1]:
        width, height = features.image_size
        raise ValueError(f"{name} are of an image of {width}x{height} pixels, but the picture is of shape {np.shape(picture)}")


def _gray(picture: np.ndarray) -> np.ndarray:
    """(H, W) uint8: what the extractor sees, in steps."""
    return np.rint(to_gray(picture) * 255).astype(np.uint8)


def _extracted(dalf: DALF, picture: np.ndarray, name: str) -> Features:
    try:
        return dalf.extract(picture)
    except ValueError as error:
        raise ValueError(f"picture {name}: {error}") from error


@lru_cache(maxsize=1)
def _default_extractor() -> DALF:
    from ..features.extractor import DALF

    return DALF()
