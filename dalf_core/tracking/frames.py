"""What passes between the halves of the session, and out of it."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..matching.keyframes import NO_KEYFRAMES, KeyframeMatches
from ..types import Features, Matches, Registration


@dataclass(frozen=True)
class FrameMatches:
    """What a MatchArray message carries: pixel pairs between a reference image and the current one.

    stamp_ns, reference_stamp_ns: sensor stamps, nanoseconds; equal when this frame became the reference.
    image_size, reference_image_size: (width, height), pixels.
    matches: indices, distances and verification; reference_xy, query_xy: (M, 2) float32 pixels.
    keyframes: what is seen of other views of the surface, where the reference image does not serve.
    age_s: (M,) float32, seconds since DALF found the keypoint: 0 where it did in this image, else it was carried here by its patch (its
    query_index is -1 then, its distance that of the patches, as vectors of unit length). None: all were found in this image.
    template: name of the template that is the reference, whose picture reference_xy are pixels of; empty: the reference is an image of
    this camera.
    """

    stamp_ns: int
    reference_stamp_ns: int
    image_size: tuple[int, int]
    reference_image_size: tuple[int, int]
    matches: Matches
    reference_xy: np.ndarray
    query_xy: np.ndarray
    keyframes: KeyframeMatches = NO_KEYFRAMES
    age_s: np.ndarray | None = None
    template: str = ""


@dataclass(frozen=True)
class FeatureFrame:
    """One image's features, its matches to the reference (None while there is none), and to the image before (None unless asked for).

    features: None where the matches were carried to the image, and DALF did not see it. milliseconds: time by stage.
    """

    features: Features | None
    matches: FrameMatches | None
    milliseconds: dict[str, float] = field(default_factory=dict)
    previous: FrameMatches | None = None


@dataclass(frozen=True)
class SurfaceFrame:
    """One frame of the followed surface.

    registration is None while there is no reference yet; reason then says why.
    is_reference: this frame became the reference. topology_id: changes with every new reference surface, and when it grows.
    matches, inliers: landmarks whose place on the surface is known, and those of them that the registration kept.
    """

    stamp_ns: int
    reference_stamp_ns: int
    registration: Registration | None
    status: str                  # "waiting", or the registration's
    reason: str
    is_reference: bool
    topology_id: int
    matches: int
    inliers: int
    milliseconds: dict[str, float] = field(default_factory=dict)
