"""What CameraInfo says."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_core.lens import EQUIDISTANT, PLUMB_BOB, Lens
from dalf_ros.conversions.camera_model import fitted, is_empty, is_rectified, lens_of
from dalf_ros.conversions.message_factory import bag_message, ros_message
from dalf_ros.conversions.messages import camera_info, header
from dalf_ros.errors import SetupError

HEAD = header(5, "cam")
CAMERA = PinholeCamera(200.0, 201.0, 95.5, 70.2, 192, 144)
BARREL = (-0.30, 0.10, 0.001, -0.0007, -0.01)


@pytest.fixture(params=["ros", "bag"])
def info(request: pytest.FixtureRequest):
    """camera_info fields to a message."""
    if request.param == "ros":
        pytest.importorskip("rclpy")
    make = ros_message if request.param == "ros" else bag_message
    return lambda **changes: make("sensor_msgs/msg/CameraInfo", {**camera_info(CAMERA, HEAD), **changes})


def test_plain(info) -> None:
    assert lens_of(info()) == Lens(CAMERA)
    assert lens_of(info(d=np.zeros(0), distortion_model="")) == Lens(CAMERA)
    assert lens_of(info(d=np.zeros(4), distortion_model="whatever")) == Lens(CAMERA)       # all zero: none, as everywhere in ROS


def test_distorted(info) -> None:
    assert lens_of(info(d=np.array(BARREL))) == Lens(CAMERA, PLUMB_BOB, BARREL)
    fish = (0.1, 0.01, 0.0, 0.002)
    assert lens_of(info(d=np.array(fish), distortion_model="equidistant")) == Lens(CAMERA, EQUIDISTANT, fish)


def test_rectified_images_take_p(info) -> None:
    p = np.array([150, 0, 90, -7, 0, 150, 71, 0, 0, 0, 1, 0], float)
    assert lens_of(info(d=np.array(BARREL), p=p), rectified=True) == Lens(PinholeCamera(150.0, 150.0, 90.0, 71.0, 192, 144))


def test_cut_and_binned(info) -> None:
    """K is of the full sensor image: a region of it, then every 2x2 pixels as one. Pixel u of the region is (u + 0.5) / 2 - 0.5."""
    roi = {"x_offset": 20, "y_offset": 10, "width": 100, "height": 80, "do_rectify": False}
    camera = lens_of(info(roi=roi, binning_x=2, binning_y=2)).camera
    assert (camera.width, camera.height, camera.fx) == (50, 40, 100.0)
    point = np.array([[0.03, -0.02, 0.8]])
    np.testing.assert_allclose(camera.project(point), (CAMERA.project(point) - [20, 10] + 0.5) / 2 - 0.5)


@pytest.mark.parametrize(("changes", "words"), [
    ({"k": np.zeros(9), "p": np.zeros(12)}, "K and P are all zero"), ({"width": 0}, "calibrated"),
    ({"d": np.ones(5), "distortion_model": "fancy"}, "'fancy' is not known"),
    ({"d": np.ones(3)}, "takes")])
def test_refusals(info, changes: dict, words: str) -> None:
    with pytest.raises(SetupError, match=words):
        lens_of(info(**changes))


def test_the_matrix_that_is_there_stands_in_for_the_one_that_is_not(info) -> None:
    p = np.array([150, 0, 90, -7, 0, 151, 71, 0, 0, 0, 1, 0], float)
    seen = PinholeCamera(150.0, 151.0, 90.0, 71.0, 192, 144)
    assert lens_of(info(k=np.zeros(9), p=p)) == Lens(seen)
    assert lens_of(info(k=np.zeros(9), p=p, d=np.array(BARREL))) == Lens(seen, PLUMB_BOB, BARREL)
    assert lens_of(info(p=np.zeros(12)), rectified=True) == Lens(CAMERA)
    assert is_empty(info(k=np.zeros(9), p=np.zeros(12))) and not is_empty(info(k=np.zeros(9))) and not is_empty(info(p=np.zeros(12)))


@pytest.mark.parametrize(("topic", "expected"), [
    ("/zed/rgb/image_rect_color", True), ("/camera/depth_registered/image_rect", True), ("/cam/rectified/image", True),
    ("/camera/color/image_raw", False), ("/direct/image", False), ("/rectangle/image", False)])
def test_names_of_rectified_images(topic: str, expected: bool) -> None:
    assert is_rectified("auto", "", topic) is expected
    assert is_rectified("rectified", topic) and not is_rectified("raw", topic)


def test_other_resolutions() -> None:
    assert fitted(Lens(CAMERA), 384, 288, "depth").camera == CAMERA.scaled(384, 288)
    assert fitted(Lens(CAMERA), 95, 72, "depth").camera.width == 95        # rounded
    with pytest.raises(SetupError, match="depth is 192x108 but camera_info describes 192x144"):
        fitted(Lens(CAMERA), 192, 108, "depth")
