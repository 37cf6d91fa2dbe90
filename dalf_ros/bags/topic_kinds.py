"""What an image topic holds, by the encoding of its first message together with its name: depth, a camera's picture, or something else."""
from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np

from dalf_core.files.picture_file import decode_picture

from ..images.zstd_transport import is_packed, packed_encoding
from .raw_message import BagTopic

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
VIDEO_TYPES = ("foxglove_msgs/msg/CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket")
IMAGE_TYPES = (IMAGE, COMPRESSED, *VIDEO_TYPES)
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
CLOUD = "sensor_msgs/msg/PointCloud2"

_DEPTH_NAME = re.compile(r"depth", re.IGNORECASE)
_NO_DEPTH_NAME = re.compile(r"disparity|mask|label|segment|infra|(^|[/_])ir\d?([/_]|$)|confidence|thermal|amplitude|intensity|debug",
                            re.IGNORECASE)
_NO_COLOR_NAME = re.compile(rf"depth|theora|{_NO_DEPTH_NAME.pattern}", re.IGNORECASE)


def stored_encoding(message: Any) -> str:
    """The encoding of an image's pixels: an Image's own; of a CompressedImage that for depth, else its format; empty if unknown."""
    encoding = getattr(message, "encoding", None)
    if encoding is not None:
        return str(encoding)
    if is_packed(message):
        return packed_encoding(message)
    form = str(getattr(message, "format", ""))
    named = form.partition(";")[0].strip()
    if "compressedDepth" in form:
        return "32FC1" if named == "32FC1" else "16UC1"
    if named not in ("", "png", "tiff"):
        return named
    try:        # the format does not tell the pixels: the picture does
        pixels = decode_picture(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
    except ValueError:
        return ""
    return {("uint16", 2): "mono16", ("uint8", 2): "mono8", ("uint8", 3): "bgr8"}.get((pixels.dtype.name, pixels.ndim), named)


def is_depth(topic: BagTopic) -> bool:
    """Whether the topic holds depth. Floats and 16UC1 are depth unless the name speaks against it, mono16 only if the name says so.

    Of a topic without a readable first message the name alone decides.
    """
    if topic.type not in IMAGE_TYPES or topic.count == 0 or _NO_DEPTH_NAME.search(topic.name):
        return False
    if topic.encoding in ("16UC1", "32FC1"):
        return True
    return topic.encoding in ("", "mono16") and _DEPTH_NAME.search(topic.name) is not None


def is_picture(topic: BagTopic) -> bool:
    """Whether the topic holds what a camera sees, in colour or grey."""
    return (topic.type in IMAGE_TYPES and topic.count != 0 and topic.encoding not in ("16UC1", "32FC1")
            and not _NO_COLOR_NAME.search(topic.name))
