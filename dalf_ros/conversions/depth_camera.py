"""Whether depth is aligned with the colour image, and what is needed to align it where it is not."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dalf_core.camera import is_resized
from dalf_core.lens import Lens

from ..errors import SetupError
from .camera_model import is_empty, lens_of, same_camera
from .transforms import IDENTITY, RigidTransform, plain_frame

MEND = ("let the driver align depth to colour (many do that when asked), or give depth_camera_info and, where /tf_static does not say it, "
        "depth_to_color; if it is aligned, and only named otherwise, set check_frames to false")


@dataclass(frozen=True)
class DepthCamera:
    """A depth camera of its own. to_color: from its optical frame to the colour camera's."""

    lens: Lens
    to_color: RigidTransform


def depth_camera(color: Lens, color_frame: str, depth_frame: str, depth_info: Any, transform: RigidTransform | None,
                 rectified: bool, mend: str = MEND) -> DepthCamera | None:
    """The depth image's own camera; None: depth is aligned with colour.

    color: of the colour camera. depth_info: CameraInfo beside depth, or None; one that names another frame than the depth image is not
    of it. transform: from the depth image's frame to colour's, or None where it is not known. rectified: the depth image is.
    Raises SetupError where depth is of another frame and cannot be aligned, naming what is missing and `mend`.
    """
    ours, theirs = plain_frame(color_frame), plain_frame(depth_frame)
    described = depth_info is not None and not is_empty(depth_info) and plain_frame(depth_info.header.frame_id) in ("", theirs)
    own = lens_of(depth_info, rectified) if described else None
    if not (ours and theirs) or ours == theirs:
        return None if own is None or _one_camera(own, color) else DepthCamera(own, IDENTITY)
    if own is None or transform is None:
        needed = {f"the camera_info of {theirs}": own, f"the transform from {theirs} to {ours}": transform}
        missing = " and ".join(name for name, known in needed.items() if known is None)
        raise SetupError(f"depth is in frame {theirs}, the matched images are in {ours}, which cannot be aligned without {missing}: {mend}")
    return DepthCamera(own, transform)


def _one_camera(own: Lens, color: Lens) -> bool:
    """Whether the camera_info beside depth says what colour's says, at whatever resolution."""
    size = color.camera.width, color.camera.height
    return is_resized((own.camera.width, own.camera.height), size) and same_camera(own.scaled(*size), color)
