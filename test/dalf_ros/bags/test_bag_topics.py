"""Topics are chosen by what their messages hold, and by the camera that they belong to."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_ros.bags.bag_source import BagError, BagSource
from dalf_ros.bags.bag_topics import CAMERA_INFO, COMPRESSED, IMAGE, CameraTopics, choose_topics
from dalf_ros.bags.bag_writer import BagWriter
from dalf_ros.conversions.messages import header
from dalf_ros.launch_support.cameras import CAMERAS

BYTES = {"rgb8": 3, "bgr8": 3, "bgra8": 4, "mono8": 1, "16UC1": 2, "mono16": 2, "32FC1": 4, "yuv422_yuy2": 2}
FIRST_NS = 1_700_000_000_000_000_000


def write(path: Path, topics: dict[str, tuple[str, str]]) -> Path:
    """A bag of one message of 4x4 pixels a topic; topics: {name: (encoding, frame)}, "info" for camera_info, "x; y" for compressed ones."""
    with BagWriter(path) as writer:
        for number, (name, (encoding, frame)) in enumerate(topics.items()):
            head, time_ns = header(FIRST_NS, frame), FIRST_NS + number
            if encoding == "info":
                writer.write(name, CAMERA_INFO, time_ns, {"header": head})
            elif encoding in BYTES:
                size = BYTES[encoding]
                writer.write(name, IMAGE, time_ns, {"header": head, "height": 4, "width": 4, "encoding": encoding, "is_bigendian": 0,
                                                    "step": 4 * size, "data": np.ones(16 * size, np.uint8)})
            else:
                pixels = np.ones((4, 4), np.uint16) if "16" in encoding else np.ones((4, 4, 3), np.uint8)
                data = cv2.imencode(".jpg" if "jpeg" in encoding else ".png", pixels)[1].reshape(-1)
                lead = np.zeros(12 * ("compressedDepth" in encoding), np.uint8)
                form = encoding.removesuffix(" of 16 bits")
                writer.write(name, COMPRESSED, time_ns, {"header": head, "format": form, "data": np.concatenate([lead, data])})
    return path


def chosen(path: Path, topics: dict[str, tuple[str, str]], **named: str) -> CameraTopics:
    with BagSource(write(path, topics)) as source:
        return choose_topics(source.topics, **named)


def test_a_thermal_camera_must_be_named(tmp_path: Path) -> None:
    """16UC1 is depth by itself; a topic that is named as colour is colour, and no depth."""
    topics = {"/boson/image_raw": ("16UC1", "boson"), "/boson/camera_info": ("info", "boson")}
    with pytest.raises(BagError, match="no colour image topic"):
        chosen(tmp_path / "unnamed", topics)
    assert chosen(tmp_path / "named", topics, color="/boson/image_raw") == CameraTopics("/boson/image_raw", None, None, None)
    beside = {**topics, "/boson/depth": ("16UC1", "boson")}
    assert chosen(tmp_path / "beside", beside, color="/boson/image_raw") == CameraTopics("/boson/image_raw", "/boson/depth",
                                                                                         "/boson/camera_info", None)


# What each driver publishes beside the topics of the launch table, {name: (encoding, frame)}, and the encodings of these.
BESIDE = {
    "realsense": ("rgb8", "16UC1", {
        "/camera/camera/depth/image_rect_raw": ("16UC1", "camera_depth_optical_frame"),
        "/camera/camera/depth/camera_info": ("info", "camera_depth_optical_frame"),
        "/camera/camera/infra1/image_rect_raw": ("mono8", "camera_infra1_optical_frame"),
        "/camera/camera/aligned_depth_to_color/camera_info": ("info", "camera_color_optical_frame")}),
    "orbbec": ("rgb8", "16UC1", {
        "/camera/ir/image_raw": ("mono16", "camera_ir_optical_frame"),
        "/camera/left_ir/image_raw": ("mono8", "camera_left_ir_optical_frame"),
        "/camera/depth/camera_info": ("info", "camera_color_optical_frame")}),
    "azure_kinect": ("bgra8", "16UC1", {
        "/depth/image_raw": ("16UC1", "depth_camera_link"), "/depth/camera_info": ("info", "depth_camera_link"),
        "/ir/image_raw": ("mono16", "depth_camera_link"), "/ir/camera_info": ("info", "depth_camera_link"),
        "/rgb_to_depth/image_raw": ("bgra8", "depth_camera_link"), "/rgb_to_depth/camera_info": ("info", "depth_camera_link"),
        "/depth_to_rgb/camera_info": ("info", "rgb_camera_link")}),
    "zed": ("bgra8", "32FC1", {
        "/zed/zed_node/left/color/rect/image": ("bgra8", "zed_left_camera_frame_optical"),
        "/zed/zed_node/left/color/rect/camera_info": ("info", "zed_left_camera_frame_optical"),
        "/zed/zed_node/right/color/rect/image": ("bgra8", "zed_right_camera_frame_optical"),
        "/zed/zed_node/right/color/rect/camera_info": ("info", "zed_right_camera_frame_optical"),
        "/zed/zed_node/rgb/gray/rect/image": ("mono8", "zed_left_camera_frame_optical"),
        "/zed/zed_node/rgb/color/raw/image": ("bgra8", "zed_left_camera_frame_optical"),
        "/zed/zed_node/confidence/confidence_map": ("32FC1", "zed_left_camera_frame_optical"),
        "/zed/zed_node/depth/camera_info": ("info", "zed_left_camera_frame_optical")}),
    "oak": ("bgr8", "16UC1", {
        "/oak/rgb/image_raw": ("bgr8", "oak_rgb_camera_optical_frame"),
        "/oak/stereo/camera_info": ("info", "oak_rgb_camera_optical_frame"),
        "/oak/left/image_raw": ("mono8", "oak_left_camera_optical_frame"),
        "/oak/left/camera_info": ("info", "oak_left_camera_optical_frame"),
        "/oak/right/image_raw": ("mono8", "oak_right_camera_optical_frame")}),
    "usb_cam": ("yuv422_yuy2", "", {"/camera1/image_raw/compressed": ("rgb8; jpeg compressed bgr8", "camera")}),
}


@pytest.mark.parametrize("family", CAMERAS)
@pytest.mark.parametrize("beside", [False, True])
def test_every_camera_of_the_launch_table(family: str, beside: bool, tmp_path: Path) -> None:
    camera = CAMERAS[family]
    color, depth, others = BESIDE[family]
    topics = {camera.color: (color, camera.frame), camera.camera_info: ("info", camera.frame)}
    if camera.depth:
        topics[camera.depth] = (depth, camera.frame)
    expected = CameraTopics(camera.color, camera.depth or None, camera.camera_info if camera.depth else None, None)
    assert chosen(tmp_path / "bag", {**(others if beside else {}), **topics}) == expected


@pytest.mark.parametrize(("encoding", "name", "expected"), [
    ("16UC1", "/cam/stereo/image_raw", True), ("32FC1", "/cam/range/image", True), ("mono16", "/cam/depth/image", True),
    ("mono16", "/cam/stereo/image_raw", False), ("bgr8", "/cam/depth/image_color", False), ("mono8", "/cam/depth/image", False),
    ("32FC1", "/cam/confidence/map", False), ("32FC1", "/cam/disparity/image", False), ("16UC1", "/cam/labels", False),
    ("16UC1; compressedDepth png", "/cam/stereo/image_raw/compressedDepth", True),
    ("16UC1; png compressed ", "/cam/stereo/compressed", True),
    ("png of 16 bits", "/cam/depth/image/compressed", True), ("png", "/cam/depth/image/compressed", False),
    ("bgr8; jpeg compressed bgr8", "/cam/depth/image/compressed", False),
])
def test_depth_is_told_by_the_first_message_and_the_name(encoding: str, name: str, expected: bool, tmp_path: Path) -> None:
    """An 8-bit picture of depth is none, whatever its name; numbers that may be depth are, unless the name says what else they are."""
    found = chosen(tmp_path / "bag", {"/cam/color/image_raw": ("rgb8", "cam"), name: (encoding, "cam")})
    assert found.color == "/cam/color/image_raw" and found.depth == (name if expected else None)


TWO = {
    "/cam1/color/image_raw": ("rgb8", "cam1_color"), "/cam1/color/camera_info": ("info", "cam1_color"),
    "/cam1/depth/image_rect_raw": ("16UC1", "cam1_depth"), "/cam1/depth/camera_info": ("info", "cam1_depth"),
    "/cam2/color/image_raw": ("rgb8", "cam2_color"), "/cam2/color/camera_info": ("info", "cam2_color"),
    "/cam2/aligned_depth_to_color/image_raw": ("16UC1", "cam2_color"),
}


def test_depth_and_camera_info_of_colours_own_camera(tmp_path: Path) -> None:
    write(tmp_path / "bag", TWO)
    with BagSource(tmp_path / "bag") as source:
        first = CameraTopics("/cam1/color/image_raw", "/cam1/depth/image_rect_raw", "/cam1/color/camera_info", None)
        second = CameraTopics("/cam2/color/image_raw", "/cam2/aligned_depth_to_color/image_raw", "/cam2/color/camera_info", None)
        for expected in (first, second):
            assert choose_topics(source.topics, color=expected.color) == expected
            assert choose_topics(source.topics, depth=expected.depth) == expected
        with pytest.raises(BagError, match=r"more than one colour topic \(/cam1/color/image_raw, /cam2/color/image_raw\).*--color-topic"):
            choose_topics(source.topics)


def test_a_camera_without_depth_gets_none_of_another(tmp_path: Path) -> None:
    topics = {"/front_rgb/image_raw": ("rgb8", "front"), "/front_rgb/camera_info": ("info", "front"), "/wrist/image_raw": ("rgb8", "wrist"),
              "/wrist/camera_info": ("info", "wrist"), "/wrist/depth/image_raw": ("16UC1", "wrist")}
    write(tmp_path / "bag", topics)
    with BagSource(tmp_path / "bag") as source:
        wrist = CameraTopics("/wrist/image_raw", "/wrist/depth/image_raw", "/wrist/camera_info", None)
        assert choose_topics(source.topics) == choose_topics(source.topics, color="/wrist/image_raw") == wrist
        with pytest.raises(BagError, match=r"\(/wrist/depth/image_raw\) lies beside other cameras than /front_rgb.*--depth-topic"):
            choose_topics(source.topics, color="/front_rgb/image_raw")
        without = choose_topics(source.topics, color="/front_rgb/image_raw", with_depth=False)
        assert without == CameraTopics("/front_rgb/image_raw", None, None, None)


def test_frames_tell_what_namespaces_do_not(tmp_path: Path) -> None:
    topics = {"/rgb/image_raw": ("bgra8", "rgb_camera_link"), "/usb/image_raw": ("rgb8", "usb"), "/usb_info": ("info", "usb"),
              "/depth/image_raw": ("16UC1", "rgb_camera_link"), "/calibration": ("info", "rgb_camera_link")}
    write(tmp_path / "bag", topics)
    with BagSource(tmp_path / "bag") as source:
        assert choose_topics(source.topics) == CameraTopics("/rgb/image_raw", "/depth/image_raw", "/calibration", None)
        with pytest.raises(BagError, match="lies beside other cameras than /usb/image_raw"):
            choose_topics(source.topics, color="/usb/image_raw")


def test_camera_info_of_another_camera_is_not_taken(tmp_path: Path) -> None:
    topics = {"/cam1/image": ("rgb8", "cam1"), "/cam1/depth": ("16UC1", "cam1"), "/cam2/image": ("rgb8", "cam2"),
              "/cam2/camera_info": ("info", "cam2")}
    assert chosen(tmp_path / "bag", topics, color="/cam1/image") == CameraTopics("/cam1/image", "/cam1/depth", None, None)


def test_the_odd_recordings_of_two_cameras(tmp_path: Path, data_folder: Path) -> None:
    """As the data's make.py writes them, from the foam recording."""
    import os
    import subprocess
    import sys

    script = data_folder / "odd_recordings" / "make.py"
    if not script.is_file():
        pytest.skip("the test data has no odd_recordings")
    subprocess.run([sys.executable, script, tmp_path], check=True, env={**os.environ, "DALF_TEST_DATA": str(data_folder)})
    with BagSource(tmp_path / "two_cameras" / "bag") as source:
        found = choose_topics(source.topics, color="/cam1/color/image_raw")
        assert (found.depth, found.camera_info) == ("/cam1/depth/image_rect_raw", "/cam1/color/camera_info")
    with BagSource(tmp_path / "two_cameras" / "front_rgb_wrist_rgbd") as source:
        assert choose_topics(source.topics) == CameraTopics("/wrist/image_raw", "/wrist/depth/image_raw", "/wrist/camera_info", None)
    with BagSource(tmp_path / "unaligned_depth" / "bag") as source:
        assert choose_topics(source.topics).depth == "/camera/depth/image_rect_raw"
