"""What a recording of the RealSense SDK (a ROS 1 bag of realsense-viewer or rs-record) says in topics of its own.

    /device_0/sensor_0/Depth_0/image/data           the images; their frame_id is empty
    /device_0/sensor_0/Depth_0/info/camera_info     one message, intrinsics
    /device_0/sensor_0/Depth_0/tf/0                 one message: from the camera that group 0 refers to, to this one
    /device_0/sensor_0/option/Depth Units/value     metres that one unit of depth is
"""
from __future__ import annotations

import re
from typing import Any

from ..conversions.transforms import RigidTransform, rigid_transform
from ..errors import SetupError
from .bag_source import BagSource

_IMAGE = re.compile(r"(?P<stream>(?P<sensor>/device_\d+/sensor_\d+)/\w+_\d+)/image/data")


def is_of_sdk(topic: str) -> bool:
    """Whether an image topic is named as the SDK names them."""
    return _IMAGE.fullmatch(topic) is not None


def depth_unit(source: BagSource, depth: str) -> float | None:
    """Metres that one unit of the depth topic is; None where the file does not say."""
    found = _IMAGE.fullmatch(depth)
    if not found:
        return None
    message = _first(source, re.compile(re.escape(found["sensor"]) + "/option/Depth[ _]Units/value"))
    return float(message.data) if message is not None and 0 < message.data < 1 else None        # not NaN either


def depth_to_color(source: BagSource, depth: str, color: str) -> RigidTransform:
    """From the depth camera's optical frame to the colour camera's. Raises SetupError where the file does not say it."""
    (depth_group, to_depth), (color_group, to_color) = (_pose(source, topic) for topic in (depth, color))
    if to_depth is None or to_color is None or depth_group != color_group:
        raise SetupError(f"this RealSense recording does not say where {depth} is seen from {color}: give --depth-to-color "
                         "x,y,z,qx,qy,qz,qw")
    return to_color.after(to_depth.inverse())


def _pose(source: BagSource, image: str) -> tuple[str, RigidTransform | None]:
    """The group of a stream, and from the camera that the group refers to, to the stream's."""
    found = _IMAGE.fullmatch(image)
    assert found
    topic = next((name for name in source.topics if re.fullmatch(re.escape(found["stream"]) + r"/tf/\d+", name)), "")
    message = _first(source, re.compile(re.escape(topic))) if topic else None
    if message is None:
        return "", None
    t, q = message.translation, message.rotation
    return topic.rpartition("/")[2], rigid_transform([t.x, t.y, t.z, q.x, q.y, q.z, q.w])


def _first(source: BagSource, pattern: re.Pattern[str]) -> Any:
    names = [name for name in source.topics if pattern.fullmatch(name)]
    return next((message for _, message in source.readable(names)), None) if names else None
