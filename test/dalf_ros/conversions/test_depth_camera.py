"""When depth is aligned with colour, when it can be, and what is said where it cannot."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_core.lens import PLUMB_BOB, Lens
from dalf_ros.conversions.depth_camera import depth_camera
from dalf_ros.conversions.message_factory import bag_message
from dalf_ros.conversions.messages import camera_info, header
from dalf_ros.conversions.pinhole_view import pinhole_view, view_lens
from dalf_ros.conversions.transforms import IDENTITY, RigidTransform, rigid_transform
from dalf_ros.errors import SetupError

COLOR = Lens(PinholeCamera(200.0, 201.0, 95.5, 70.2, 192, 144), PLUMB_BOB, (-0.30, 0.10, 0.001, -0.0007, -0.01))
DEPTH = Lens(PinholeCamera(130.0, 130.0, 83.0, 60.0, 170, 120))
BESIDE = rigid_transform([-0.05, 0.004, 0.002, 0.01, -0.02, 0.005, 1])


def info(lens: Lens, frame: str):
    fields = camera_info(lens.camera, header(5, frame), lens.model, lens.coefficients or (0.0,) * 5)
    return bag_message("sensor_msgs/msg/CameraInfo", fields)


def test_aligned_depth_stays_as_it_is() -> None:
    for beside in (None, info(COLOR, "color"), info(COLOR.scaled(96, 72), "/color"), info(DEPTH, "depth")):
        assert depth_camera(COLOR, "color", "/color", beside, None, False) is None
    assert depth_camera(COLOR, "", "depth", None, None, False) is None


def test_another_camera_in_the_same_frame_is_aligned_without_a_transform() -> None:
    found = depth_camera(COLOR, "color", "color", info(DEPTH, "color"), BESIDE, False)
    assert found.lens == DEPTH and found.to_color is IDENTITY


def test_depth_of_another_frame() -> None:
    found = depth_camera(COLOR, "color", "depth", info(DEPTH, "depth"), BESIDE, False)
    assert found.lens == DEPTH and found.to_color is BESIDE


@pytest.mark.parametrize(("beside", "transform", "missing"), [
    (None, BESIDE, "without the camera_info of depth:"), (info(DEPTH, "depth"), None, "without the transform from depth to color:"),
    (info(DEPTH, "other"), None, "without the camera_info of depth and the transform from depth to color:")])
def test_what_is_missing_is_named(beside: object, transform: RigidTransform | None, missing: str) -> None:
    with pytest.raises(SetupError) as told:
        depth_camera(COLOR, "color", "depth", beside, transform, False)
    assert all(words in str(told.value) for words in (missing, "depth_camera_info", "depth_to_color", "/tf_static", "check_frames"))


def seen_from(relief, lens: Lens, to_color: RigidTransform) -> np.ndarray:
    """(H, W) metres along z of the relief as a camera elsewhere has it: where each ray meets the surface, by iteration."""
    camera = lens.camera
    x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    xy = lens.undistort(np.stack([x, y], axis=-1).reshape(-1, 2).astype(float))
    rays = camera.lift(xy, np.ones(len(xy))) @ to_color.rotation.T
    z = np.full(len(rays), 0.6)
    for _ in range(60):
        points = rays * z[:, None] + to_color.translation
        z += (relief.height(points[:, 0], points[:, 1]) - points[:, 2]) / rays[:, 2]
    return z.reshape(camera.height, camera.width).astype(np.float32)


def test_depth_through_its_own_camera(relief) -> None:
    """Both cameras bend lines, one is 5 cm beside the other and turned: depth is where the colour camera has the surface."""
    scene, own = relief(COLOR), Lens(DEPTH.camera, PLUMB_BOB, (0.1, -0.02, 0.0, 0.001, 0.0))
    found = depth_camera(COLOR, "color", "depth", info(own, "depth"), BESIDE, False)
    depth = seen_from(relief, own, BESIDE)
    lens = view_lens(COLOR, (170, 120), found)
    assert lens.camera.width == 125 and lens.camera.height == 94        # as many pixels a radian as depth has: 192 * 130 / 200
    view = pinhole_view(lens, scene.matches(2, np.zeros(3), 1, np.zeros(3)), depth, depth_camera=found)
    assert view.camera == lens.camera and view.depth_m.shape == (94, 125)
    exact = relief(Lens(lens.camera)).depth(np.zeros(3))
    inner = np.isfinite(view.depth_m)
    inner[:, :8] = inner[:, -8:] = inner[:8] = inner[-8:] = False
    assert inner.mean() > 0.6 and np.abs(view.depth_m - exact)[inner].max() < 4e-4
    assert np.nanmedian(np.abs(depth - relief(Lens(COLOR.camera.scaled(170, 120))).depth(np.zeros(3)))) > 4e-3


def test_depth_of_another_shape_than_its_camera(relief) -> None:
    found = depth_camera(COLOR, "color", "depth", info(DEPTH, "depth"), BESIDE, False)
    with pytest.raises(SetupError, match="depth is 170x170 but camera_info describes 170x120"):
        view_lens(COLOR, (170, 170), found)
    assert view_lens(COLOR, (85, 60), found).camera.width == 62
