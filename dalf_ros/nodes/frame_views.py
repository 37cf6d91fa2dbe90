"""Which camera a group of registration_node's messages is of, and its depth as that camera sees it."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dalf_core.depth_units import unit_hint
from dalf_core.lens import Lens
from dalf_core.sixteen_bit import to_eight_bit

from ..conversions.camera_model import is_empty, is_rectified, lens_of, same_camera
from ..conversions.cloud_depth import cloud_depth
from ..conversions.depth_camera import DepthCamera
from ..conversions.messages import stamp_ns
from ..conversions.pinhole_view import PinholeView, no_matches, pinhole_view, view_lens
from ..conversions.results import frame_id_of
from ..conversions.transforms import IDENTITY, plain_frame
from ..errors import SetupError
from ..images.image_conversion import to_depth
from ..images.organised_cloud import is_cloud, organised_points
from .depth_alignment import DepthAlignment


class FrameViews:
    """Serves one node, which has the parameters depth_scale, image_geometry, check_frames and those of DepthAlignment, and inputs by the
    roles depth, image and camera_info. changed(): called when the frames are of another camera than before, so that all begins anew.

    lens: of the colour image at a view's resolution, the last one that was taken; None before.
    """

    def __init__(self, node: Any, changed: Callable[[], None]) -> None:
        self._node, self._changed = node, changed
        self.lens: Lens | None = None
        self._odd_lens: Lens | None = None      # of the last frame where it was another
        self._info: Any = None                  # the newest camera_info that is not empty, else the newest
        self._alignment = DepthAlignment(node)

    def configure(self) -> None:
        """Read the parameters. Raises ValueError."""
        self._alignment.configure()

    def listen(self) -> None:
        """Subscribe to the camera_info of colour and, as far as there are such topics, of depth, and to /tf_static."""
        topic, why = self._node.inputs.camera_info_topic("camera_info", "image")
        self._node.get_logger().info(f"camera_info from {topic}, {why}")
        self._node.inputs.add("camera_info", topic, "sensor_msgs/msg/CameraInfo", self._info_arrived, latched=True)
        self._alignment.listen()

    def _info_arrived(self, message: Any) -> None:
        if is_empty(message):
            self._info = self._info or message      # told when a frame needs it
            return
        self._info = message
        if stamp_ns(message.header):        # one without a stamp holds for all images
            self._node.arrived("camera_info", message)

    def plain(self, frame: dict[str, Any], image: np.ndarray, mask: np.ndarray | None = None) -> tuple[PinholeView, Lens]:
        """An image (H, W, 3) or (H, W) with its depth, as a surface would be made of them, and the lens. frame: their messages, and
        camera_info or None. mask: (H, W), nonzero where the object is. Raises ValueError (SetupError) where it cannot be used.
        """
        depth, lens, own, _ = self.depth({**frame, "matches": frame["image"]})
        if problem := unit_hint(depth):
            raise SetupError(problem)
        return pinhole_view(lens, no_matches((image.shape[1], image.shape[0])), depth, to_eight_bit(image), mask, own), lens

    def depth(self, item: dict[str, Any]) -> tuple[np.ndarray, Lens, DepthCamera | None, bool]:
        """Depth (H, W) metres of a group of messages, the colour camera at a view's resolution, depth's own camera where it has one, and
        whether depth came aligned with colour. Raises ValueError (SetupError) where the group cannot be used.
        """
        measured = self._measured(item["depth"])
        color, own = self._cameras(item)
        depth = measured if measured.ndim == 2 else self._of_cloud(measured, color, item)
        return depth, view_lens(color, (depth.shape[1], depth.shape[0]), own), own, measured.ndim == 2 and own is None

    def _measured(self, message: Any) -> np.ndarray:
        """Depth (H, W), or the points (H, W, 3) of a cloud, in metres."""
        scale = self._node.values["depth_scale"]
        return organised_points(message, scale or 1.0) if is_cloud(message) else to_depth(message, scale or None)

    def _of_cloud(self, points: np.ndarray, color: Lens, item: dict[str, Any]) -> np.ndarray:
        """The depth image that a cloud on the colour image's pixels is. Raises SetupError as cloud_depth()."""
        return cloud_depth(points, color, self._alignment.cloud_transform(frame_id_of(item["matches"]), frame_id_of(item["depth"])))

    def _cameras(self, item: dict[str, Any]) -> tuple[Lens, DepthCamera | None]:
        """Of the colour image, and of depth where that is not aligned with it."""
        node = self._node
        matched, measured = (frame_id_of(item[role]) for role in ("matches", "depth"))
        info = self._info if item["camera_info"] is None else item["camera_info"]
        if info is None:
            topic = node.inputs.topic("camera_info")
            raise ValueError(f"no camera_info yet on {topic} (publishers: {node.count_publishers(topic)}): a surface needs the camera's "
                             "intrinsics")
        geometry, names = node.values["image_geometry"], [node.inputs.topic(role) for role in ("depth", "image")]
        lens = lens_of(info, is_rectified(geometry, *names))
        if not node.values["check_frames"]:
            return lens, None
        described = frame_id_of(info)
        if plain_frame(described) not in ("", plain_frame(matched)) and matched:
            raise SetupError(f"camera_info is of frame {described}, the matched images are in {matched}: remap camera_info to the colour "
                             "camera's; if it is, and only named otherwise, set check_frames to false")
        if is_cloud(item["depth"]):
            return lens, None
        own = self._alignment.camera(lens, matched, measured)
        apart = own is not None and own.to_color is not IDENTITY        # then the name of the depth topic says nothing of colour
        return (lens_of(info, is_rectified(geometry, names[1])) if apart else lens), own

    def take(self, lens: Lens) -> Lens:
        """The camera of the frames before, where this is the same. Two frames of another one begin anew; ValueError on the first."""
        if self.lens is not None and same_camera(self.lens, lens):
            self._odd_lens = None
            return self.lens
        size = f"{lens.camera.width}x{lens.camera.height}"
        if self.lens is not None:
            if self._odd_lens is None or not same_camera(self._odd_lens, lens):
                self._odd_lens = lens
                raise ValueError(f"a frame of another camera ({size}) is skipped; if the next one is so too, tracking starts anew")
            self._changed()
        said = "no distortion" if lens.is_pinhole else f"{lens.model} distortion, which is undone"
        again = "the camera has changed, tracking starts anew: " if self.lens is not None else ""
        self._node.get_logger().info(f"{again}depth of {size}, {said}")
        self.lens, self._odd_lens = lens, None
        return lens
