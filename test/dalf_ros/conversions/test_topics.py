"""Names that image_transport gives to the topics beside an image."""
from __future__ import annotations

import pytest

from dalf_ros.conversions.topics import camera_info_beside, of_transport


@pytest.mark.parametrize(("topic", "transport", "expected"), [
    ("/a/image_raw", "raw", "/a/image_raw"), ("/a/image_raw", "zstd", "/a/image_raw/zstd"),
    ("/a/image_raw", "compressedDepth", "/a/image_raw/compressedDepth"), ("/a/points", "points", "/a/points"),
    ("/a/image_raw/zstd", "zstd", "/a/image_raw/zstd"),            # named in full already
    ("/a/image_raw/compressed", "compressedDepth", "/a/image_raw/compressed/compressedDepth")])
def test_the_topic_of_a_transport(topic: str, transport: str, expected: str) -> None:
    assert of_transport(topic, transport) == expected


@pytest.mark.parametrize(("image", "expected"), [
    ("/a/b/image_raw", "/a/b/camera_info"), ("/a/b/image_raw/compressed", "/a/b/camera_info"), ("/a/b/image_raw/zstd", "/a/b/camera_info"),
    ("/a/b/depth/compressedDepth", "/a/b/camera_info"), ("/image", "/camera_info"), ("/a/points", "/a/camera_info")])
def test_the_camera_info_of_an_image(image: str, expected: str) -> None:
    assert camera_info_beside(image) == expected
