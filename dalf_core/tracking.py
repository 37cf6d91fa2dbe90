"""The tracking session that both doors drive: ROS nodes, and bags read frame by frame.

Data flows one way:  image -> FeatureTracker -> FrameMatches -> SurfaceTracker (with depth) -> SurfaceFrame.
"""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .camera import PinholeCamera
from .types import Features, Matches, Registration


@dataclass(frozen=True)
class FrameMatches:
    """What a MatchArray message carries: pixel pairs between a reference image and the current one.

    stamp_ns, reference_stamp_ns: sensor stamps, nanoseconds; equal when this frame became the reference.
    image_size, reference_image_size: (width, height), pixels.
    matches: indices, distances and verification; reference_xy, query_xy: (M, 2) float32 pixels.
    """

    stamp_ns: int
    reference_stamp_ns: int
    image_size: tuple[int, int]
    reference_image_size: tuple[int, int]
    matches: Matches
    reference_xy: np.ndarray
    query_xy: np.ndarray


@dataclass(frozen=True)
class FeatureFrame:
    """One image's features, and its matches to the reference. milliseconds: time by stage."""

    features: Features
    matches: FrameMatches
    milliseconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SurfaceFrame:
    """One frame of the followed surface.

    registration is None while there is no reference yet; reason then says why.
    is_reference: this frame became the reference. topology_id: changes with every new reference surface.
    matches, inliers: landmarks received and kept.
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


class FeatureTracker:
    """The image half: extracts features, matches them to the reference image, verifies the matches.

    dalf: a DALF extractor. image_scale: images are resized by this factor before extraction (small objects gain from 2);
    keypoints come back in pixels of the image as given. min_reference_keypoints: an image with fewer does not become the reference.
    """

    def __init__(self, dalf, *, image_scale: float = 1.0, min_reference_keypoints: int = 16) -> None: ...

    reference: Features | None

    def reset(self) -> None:
        """Forget the reference; the next image with enough keypoints becomes it."""

    def process(self, image: np.ndarray, stamp_ns: int, mask: np.ndarray | None = None) -> FeatureFrame:
        """image: HxWx3 uint8 BGR or HxW uint8. mask: HxW, nonzero where keypoints may lie (reference and current alike)."""
        raise NotImplementedError


class SurfaceTracker:
    """The depth half: keeps the reference surface, registers it to each frame's depth by the matches.

    The first frame that it gets with usable depth becomes its reference surface, whichever image the matches refer to:
    later matches are joined to it by their reference_index, so that it can start late, be restarted or be given a new
    reference while the feature half goes on.
    """

    reference_vertices: np.ndarray | None     # (V, 3) float32 metres
    triangles: np.ndarray | None              # (F, 3) int32
    colors: np.ndarray | None                 # (V, 3) uint8 RGB, or None without an image
    registration: object | None               # the NonRigidRegistration in use

    def __init__(self, *, device: str = "auto", **registration_options) -> None: ...

    def reset(self) -> None:
        """Forget the reference surface; the next frame with usable depth becomes it."""

    def process(self, matches: FrameMatches, depth_m: np.ndarray, camera: PinholeCamera,
                image: np.ndarray | None = None, mask: np.ndarray | None = None) -> SurfaceFrame:
        """depth_m: HxW float32 metres, NaN or 0 = no reading, same pixels as the image. image (BGR) colours a new reference."""
        raise NotImplementedError
