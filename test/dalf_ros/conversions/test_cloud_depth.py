"""Clouds of a relief whose depth along every pixel is known."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_core.lens import PLUMB_BOB, Lens
from dalf_ros.conversions.cloud_depth import cloud_depth
from dalf_ros.conversions.transforms import rigid_transform
from dalf_ros.errors import SetupError

CAMERA = PinholeCamera(200.0, 201.0, 95.5, 70.2, 192, 144)
BARREL = Lens(CAMERA, PLUMB_BOB, (-0.30, 0.10, 0.001, -0.0007, -0.01))


def cloud(relief: type, lens: Lens) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) points in the camera's frame, with holes, and (H, W) depth."""
    scene = relief(lens)
    x, y = np.meshgrid(np.arange(scene.size[0]), np.arange(scene.size[1]))
    points = scene.points(np.stack([x, y], axis=-1).reshape(-1, 2).astype(float), np.zeros(3)).reshape(*x.shape, 3)
    points[20:30, 40:70] = np.nan
    return points.astype(np.float32), points[..., 2].astype(np.float32)


@pytest.mark.parametrize("lens", [Lens(CAMERA), BARREL], ids=["pinhole", "barrel"])
def test_the_depth_of_every_pixel(relief: type, lens: Lens) -> None:
    points, depth = cloud(relief, lens)
    np.testing.assert_array_equal(cloud_depth(points, lens), depth)


def test_a_driver_that_knows_no_distortion(relief: type) -> None:
    """Its points are those of the pinhole camera's rays: depth is right all the same."""
    points, depth = cloud(relief, Lens(CAMERA))
    np.testing.assert_array_equal(cloud_depth(points, BARREL), depth)


def test_a_resized_copy(relief: type) -> None:
    points, depth = cloud(relief, Lens(CAMERA.scaled(96, 72)))
    np.testing.assert_array_equal(cloud_depth(points, Lens(CAMERA)), depth)


def test_points_in_a_frame_with_x_forward(relief: type) -> None:
    """As zed_wrapper has them, and a hand's breadth away."""
    points, depth = cloud(relief, Lens(CAMERA))
    to_color = rigid_transform([0.06, -0.01, 0.02, -0.5, 0.5, -0.5, -0.5])
    elsewhere = ((points - to_color.translation) @ to_color.rotation).astype(np.float32)
    assert np.nanmedian(elsewhere[..., 0]) == pytest.approx(0.58, abs=0.05)         # x forward
    np.testing.assert_allclose(cloud_depth(elsewhere, Lens(CAMERA), to_color), depth, atol=1e-6)
    with pytest.raises(SetupError, match="does not lie on the colour image"):
        cloud_depth(elsewhere, Lens(CAMERA))


def test_a_cloud_on_another_cameras_pixels_is_refused(relief: type) -> None:
    points, _ = cloud(relief, Lens(CAMERA))
    with pytest.raises(SetupError, match=r"its points are seen 17 px \(median\) from the pixels of their rows and columns"):
        cloud_depth(points + np.float32([0.05, 0, 0]), Lens(CAMERA))
    with pytest.raises(SetupError, match="of the point cloud.s [0-9]+ points lie behind the colour camera"):
        cloud_depth(-points, Lens(CAMERA))


def test_another_shape_is_refused(relief: type) -> None:
    points, _ = cloud(relief, Lens(CAMERA))
    with pytest.raises(SetupError, match="the point cloud is 192x108 but camera_info describes 192x144"):
        cloud_depth(points[:108], Lens(CAMERA))


def test_a_cloud_without_points_has_no_depth() -> None:
    assert np.isnan(cloud_depth(np.full((144, 192, 3), np.nan, np.float32), Lens(CAMERA))).all()
