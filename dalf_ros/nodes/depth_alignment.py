"""What registration_node listens to in case depth is not aligned with colour: depth's own camera_info, and the transform between them."""
from __future__ import annotations

import time
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from dalf_core.lens import Lens

from ..conversions.camera_model import is_empty, is_rectified
from ..conversions.cloud_depth import cloud_transform
from ..conversions.depth_camera import DepthCamera, depth_camera
from ..conversions.message_factory import ros_class
from ..conversions.topics import CLOUD
from ..conversions.transforms import IDENTITY, RigidTransform, StaticTransforms, plain_frame, rigid_transform

INFO = "sensor_msgs/msg/CameraInfo"
STATIC_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE,
                        durability=DurabilityPolicy.TRANSIENT_LOCAL)
PATIENCE_S = 3.0        # for the camera_info of depth to come, where somebody publishes it


class DepthAlignment:
    """Serves one node, which has the parameters image_geometry, depth_to_color, depth_transport and check_frames."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._info: Any = None
        self._transforms = StaticTransforms()
        self._told: DepthCamera | None = None
        self._since = 0.0
        self._given: RigidTransform | None = None

    def configure(self) -> None:
        """Read the parameter depth_to_color. Raises ValueError where it is no transform."""
        given = self._node.values["depth_to_color"]
        self._given = rigid_transform(given) if any(given) else None

    def listen(self) -> None:
        """Subscribe to the camera_info of depth and to /tf_static, as far as there are such topics."""
        self._since = time.monotonic()
        topic, inputs = self.info_topic(), self._node.inputs
        if topic and self._node.values["depth_transport"] != CLOUD:     # its points need no camera
            inputs.add("depth_camera_info", topic, INFO, self._info_arrived, optional=True, latched=True)
        if self._given is None:
            try:
                ros_class("tf2_msgs/msg/TFMessage")
            except ImportError:         # an installation without tf2: depth_to_color serves
                return
            inputs.add("tf_static", "/tf_static", "tf2_msgs/msg/TFMessage", self._transforms.add, STATIC_QOS, optional=True)

    def info_topic(self) -> str:
        """`depth_camera_info` where it is remapped, else the camera_info beside the depth image; empty where that is colour's."""
        inputs = self._node.inputs
        topic, _ = inputs.camera_info_topic("depth_camera_info", "depth")
        return "" if topic == inputs.topic("camera_info") else topic

    def _info_arrived(self, message: Any) -> None:
        if not is_empty(message):
            self._info = message

    def cloud_transform(self, color_frame: str, cloud_frame: str) -> RigidTransform:
        """As cloud_transform() of cloud_depth."""
        if not self._node.values["check_frames"]:
            return IDENTITY
        return cloud_transform(color_frame, cloud_frame, self._given or self._transforms.find(cloud_frame, color_frame))

    def camera(self, color: Lens, color_frame: str, depth_frame: str) -> DepthCamera | None:
        """As depth_camera() says. Raises ValueError while the camera_info of depth may still come, SetupError as depth_camera()."""
        topic = self._node.inputs.topic("depth_camera_info")
        if self._info is None and topic and time.monotonic() - self._since < PATIENCE_S and self._node.count_publishers(topic):
            raise ValueError(f"waiting for the camera_info of depth on {topic}, which has a publisher")
        geometry, inputs = self._node.values["image_geometry"], self._node.inputs
        rectified = is_rectified(geometry, inputs.topic("depth"))
        if plain_frame(color_frame) == plain_frame(depth_frame):    # most likely aligned: then one name speaks for both
            rectified = rectified or is_rectified(geometry, inputs.topic("image"))
        transform = self._given or self._transforms.find(plain_frame(depth_frame), plain_frame(color_frame))
        own = depth_camera(color, color_frame, depth_frame, self._info, transform, rectified)
        if own is not None and (self._told is None or self._told.lens != own.lens):
            t = own.to_color.translation
            self._node.get_logger().info(f"depth is not aligned with colour: it is aligned here, from frame {depth_frame} "
                                         f"({own.lens.camera.width}x{own.lens.camera.height}) to {color_frame}, which is {t[0]:.4f}, "
                                         f"{t[1]:.4f}, {t[2]:.4f} m away")
            self._told = own
        return own
