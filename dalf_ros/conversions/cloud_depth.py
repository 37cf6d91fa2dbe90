"""An organised point cloud as the depth image of the colour camera whose pixels its rows and columns are."""
from __future__ import annotations

import numpy as np

from dalf_core.depth import is_reading
from dalf_core.lens import Lens

from ..errors import SetupError
from .camera_model import fitted
from .transforms import IDENTITY, RigidTransform, plain_frame

MEND = "publish it on /tf_static or set depth_to_color; if it is the same frame, and only named otherwise, set check_frames to false"
MOST_OFF_PX = 3.0           # median distance of points from their pixels; rounding and centres of resized images make half a pixel
SAMPLES = 2000              # points that are looked at for it


def cloud_depth(points: np.ndarray, color: Lens, to_color: RigidTransform = IDENTITY) -> np.ndarray:
    """(H, W) float32 metres along the colour camera's axis, NaN = none.

    points: (H, W, 3) metres, NaN = none, one for each pixel of the colour image or of a resized copy. color: its camera.
    to_color: from the cloud's frame to the colour camera's optical frame.
    Raises SetupError where the cloud is of another shape than the image, or its points do not lie at their pixels.
    """
    height, width = points.shape[:2]
    lens = fitted(color, width, height, "the point cloud")
    depth = points @ to_color.rotation[2].astype(np.float32) + np.float32(to_color.translation[2])
    there, behind = (int(count.sum()) for count in (np.isfinite(depth), depth <= 0))
    if 10 * behind > 9 * there:
        raise SetupError(f"{behind} of the point cloud's {there} points lie behind the colour camera: they must be in its optical frame "
                         "(z forward), or in another one that frame_id names and /tf_static or depth_to_color places")
    depth[~is_reading(depth)] = np.nan
    rows, columns = np.nonzero(np.isfinite(depth))
    every = max(1, len(rows) // SAMPLES)
    _check_pixels(points, rows[::every], columns[::every], lens, to_color)
    return depth


def cloud_transform(color_frame: str, cloud_frame: str, transform: RigidTransform | None, mend: str = MEND) -> RigidTransform:
    """From the cloud's frame to the colour camera's. transform: that one, where it is known.

    Raises SetupError where the frames differ and it is not, naming `mend`.
    """
    ours, theirs = plain_frame(color_frame), plain_frame(cloud_frame)
    if not (ours and theirs) or ours == theirs:
        return IDENTITY
    if transform is None:
        raise SetupError(f"the point cloud is in frame {theirs}, the matched images are in {ours}, and the transform from {theirs} to "
                         f"{ours} is not known: {mend}")
    return transform


def _check_pixels(points: np.ndarray, rows: np.ndarray, columns: np.ndarray, lens: Lens, to_color: RigidTransform) -> None:
    """Raises SetupError where the camera sees points at other pixels than those of their rows and columns."""
    if not len(rows):
        return
    xy = lens.camera.project(points[rows, columns] @ to_color.rotation.T + to_color.translation)
    pixels = np.stack([columns, rows], axis=1)
    off = min(float(np.median(np.hypot(*(seen_at - pixels).T))) for seen_at in (lens.distort(xy), xy))     # many drivers know no distortion
    if not off <= MOST_OFF_PX:
        raise SetupError(f"the point cloud does not lie on the colour image: its points are seen {off:.0f} px (median) from the pixels of "
                         "their rows and columns. Let the driver register it to colour, name its frame right, or publish a depth image, "
                         "which is aligned here")
