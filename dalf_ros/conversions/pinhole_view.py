"""From a camera's images and pixel pairs to those of a pinhole camera: what both doors, live and recorded, give to registration."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dalf_core.camera import PinholeCamera
from dalf_core.depth_alignment import align_depth, aligned_camera
from dalf_core.lens import Lens
from dalf_core.matching.keyframes import KeyframeMatches
from dalf_core.matching.prediction import Prediction
from dalf_core.tracking import FrameMatches
from dalf_core.types import Matches

from .camera_model import fitted
from .depth_camera import DepthCamera


@dataclass(frozen=True)
class PinholeView:
    """A frame as a pinhole camera of the depth image's resolution sees it.

    camera: of depth_m, (H, W) float32 metres, NaN = none. image (H', W', 3) or (H', W') uint8 BGR, mask (H'', W'') uint8, nonzero =
    object; None where there is none. matches: pixels of their own image sizes, without lens distortion.
    """

    camera: PinholeCamera
    matches: FrameMatches
    depth_m: np.ndarray
    image: np.ndarray | None = None
    mask: np.ndarray | None = None


def view_lens(lens: Lens, depth_size: tuple[int, int], depth_camera: DepthCamera | None = None) -> Lens:
    """The colour camera at the resolution of a view: that of aligned depth (width, height), or what unaligned depth is worth.

    Raises SetupError where the depth image has another shape than its camera's image.
    """
    if depth_camera is None:
        return fitted(lens, *depth_size, "depth")
    camera = aligned_camera(fitted(depth_camera.lens, *depth_size, "depth").camera, lens.camera)
    return lens.scaled(camera.width, camera.height)


def pinhole_view(lens: Lens, matches: FrameMatches, depth_m: np.ndarray, image: np.ndarray | None = None, mask: np.ndarray | None = None,
                 depth_camera: DepthCamera | None = None) -> PinholeView:
    """Undo the lens distortion of one frame, and align its depth with colour.

    lens: of the colour camera, as view_lens() gives it; where depth is aligned, at any resolution. depth_camera: depth's own camera where
    it is not. Raises SetupError where depth or the matched images have another shape than the camera's image.
    """
    size = depth_m.shape[1], depth_m.shape[0]
    if depth_camera is None:
        lens = fitted(lens, *size, "depth")
        depth = lens.rectify_depth(depth_m)
    else:
        own, to_color = fitted(depth_camera.lens, *size, "depth"), depth_camera.to_color
        depth = align_depth(own.rectify_depth(depth_m), own.camera, lens.camera, to_color.rotation, to_color.translation)
    return PinholeView(lens.camera, rectified_matches(matches, lens), depth, None if image is None else lens.rectify_image(image),
                       None if mask is None else lens.rectify_mask(mask))


def no_matches(size: tuple[int, int]) -> FrameMatches:
    """For a view of an image, of (width, height), that nothing is matched to."""
    none, places = np.zeros(0, np.int64), np.zeros((0, 2), np.float32)
    return FrameMatches(0, 0, size, size, Matches(none, none, np.zeros(0, np.float32), np.zeros(0, bool)), places, places)


def rectified_matches(matches: FrameMatches, lens: Lens) -> FrameMatches:
    """The pixel pairs as the pinhole camera sees them. Raises SetupError as fitted().

    Pairs that it does not see are no inliers, and keypoints of keyframes that it does not see are left out.
    """
    sizes = (matches.image_size if matches.template else matches.reference_image_size, matches.image_size)
    reference_lens, current_lens = (fitted(lens, *size, "the matched image") for size in sizes)
    if lens.is_pinhole:
        return matches
    reference_xy, reference_seen = matches.reference_xy, np.ones(len(matches.reference_xy), bool)
    if not matches.template:        # whose picture is a pinhole camera's
        reference_xy, reference_seen = _undistorted(matches.reference_xy, reference_lens)
    query_xy, query_seen = _undistorted(matches.query_xy, current_lens)
    keyframes = matches.keyframes
    keyframe_xy, seen = _undistorted(keyframes.query_xy, current_lens)
    return replace(matches, reference_xy=reference_xy, query_xy=query_xy,
                   matches=replace(matches.matches, inlier=matches.matches.inlier & reference_seen & query_seen),
                   keyframes=KeyframeMatches(keyframes.keyframe[seen], keyframes.index[seen], keyframe_xy[seen]))


def lens_prediction(prediction: Prediction, lens: Lens, image_size: tuple[int, int]) -> Prediction:
    """A prediction in pixels of the pinhole image, in those of the lens's. image_size: (width, height) of the image it is for."""
    if lens.is_pinhole:
        return prediction
    xy = np.full(prediction.xy.shape, np.nan, np.float32)
    known = np.isfinite(prediction.xy).all(axis=1)
    xy[known] = lens.scaled(*image_size).distort(prediction.xy[known])
    return replace(prediction, xy=xy)


def _undistorted(xy: np.ndarray, lens: Lens) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 2) in the pinhole image, float32, -1 where it does not see them; and (N,) bool, whether it does."""
    found = lens.undistort(xy)
    seen = ((found > -0.5) & (found < np.array([lens.camera.width, lens.camera.height]) - 0.5)).all(axis=1)
    return np.where(seen[:, None], found, -1).astype(np.float32), seen
