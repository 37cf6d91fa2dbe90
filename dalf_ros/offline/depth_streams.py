"""Whether a recording's depth is aligned with its colour images, and what aligns it where it is not."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dalf_core.lens import Lens

from ..bags.bag_source import BagSource
from ..bags.bag_topics import CAMERA_INFO, CameraTopics, beside
from ..bags.realsense_file import depth_to_color, depth_unit, is_of_sdk
from ..conversions.camera_model import is_rectified, lens_of
from ..conversions.cloud_depth import cloud_transform
from ..conversions.depth_camera import DepthCamera, depth_camera
from ..conversions.transforms import IDENTITY, RigidTransform, StaticTransforms, plain_frame

_SDK_COLOR, _SDK_DEPTH = "the colour camera", "the depth camera"
TRANSFORMS = "tf2_msgs/msg/TFMessage"
CLOUD_MEND = ("record /tf_static too, or give --depth-to-color x,y,z,qx,qy,qz,qw; if it is the same frame, and only named otherwise, give "
              "--no-check-frames")
MEND = ("record /tf_static and depth's camera_info too, or give --depth-to-color x,y,z,qx,qy,qz,qw; name a depth topic that is aligned "
        "with --depth-topic; if this one is, and only named otherwise, give --no-check-frames")


class DepthStreams:
    """What the recording says of its depth camera: the first usable camera_info beside depth, and /tf_static.

    to_color: from the depth camera's optical frame to colour's, in place of /tf_static. check_frames: False takes depth for aligned.
    metres_per_unit: of depth's numbers, where the recording says it. Raises SetupError where a recording of the RealSense SDK does not say
    where its depth camera is.
    """

    def __init__(self, source: BagSource, topics: CameraTopics, to_color: RigidTransform | None = None, check_frames: bool = True) -> None:
        self._topics, self._given, self._check = topics, to_color, check_frames
        self._transforms = StaticTransforms()
        self._info: Any = None
        self._told = False
        self._apart = topics.depth is not None and is_of_sdk(topics.depth) and is_of_sdk(topics.color)      # without names of frames
        self.metres_per_unit = None if topics.depth is None else depth_unit(source, topics.depth)
        if topics.depth is None or not check_frames:
            return
        infos = [topic for topic in source.topics.values() if topic.type == CAMERA_INFO and topic.name != topics.camera_info]
        if name := beside(topics.depth, infos):
            self._info = _first_usable((message for _, message in source.readable([name])), is_rectified("auto", topics.depth))
        if self._apart and to_color is None:
            self._given = depth_to_color(source, topics.depth, topics.color)
        static = [topic.name for topic in source.topics.values() if topic.type == TRANSFORMS and topic.name.endswith("tf_static")]
        for _, message in source.readable(static) if static else ():
            self._transforms.add(message)

    def cloud_transform(self, color_frame: str, cloud_frame: str) -> RigidTransform:
        """From a point cloud's frame to the colour camera's. Raises SetupError as cloud_transform() of cloud_depth."""
        if not self._check:
            return IDENTITY
        known = self._given or self._transforms.find(cloud_frame, color_frame)
        return cloud_transform(color_frame, cloud_frame, known, CLOUD_MEND)

    def camera(self, color: Lens, color_frame: str, depth_frame: str) -> DepthCamera | None:
        """The depth image's own camera; None: it is aligned. SetupError: it is of another frame, and what would align it is missing."""
        if not self._check:
            return None
        transform = self._given or self._transforms.find(depth_frame, color_frame)
        one_frame = plain_frame(depth_frame) == plain_frame(color_frame)       # then one name speaks for both
        rectified = is_rectified("auto", self._topics.depth or "", *([self._topics.color] if one_frame else []))
        frames = (_SDK_COLOR, _SDK_DEPTH) if self._apart else (color_frame, depth_frame)
        own = depth_camera(color, *frames, self._info, transform, rectified, MEND)
        if own is not None and not self._told:
            self._told = True
            print(f"depth is not aligned with colour: it is aligned here, from {'frame ' * (not self._apart)}{frames[1]} to {frames[0]}")
        return own


def _first_usable(infos: Iterable[Any], rectified: bool) -> Any:
    """The first CameraInfo that describes a camera; where none does the first one, whose fault is told when a frame needs it."""
    first = None
    for info in infos:
        first = first or info
        try:
            lens_of(info, rectified)
        except ValueError:
            continue
        return info
    return first
