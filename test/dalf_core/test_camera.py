import numpy as np
import pytest

from dalf_core.camera import PinholeCamera

CAMERA = PinholeCamera(500.0, 510.0, 320.3, 239.1, 640, 480)


def test_lift_undoes_project():
    points = np.random.default_rng(0).uniform([-0.5, -0.4, 0.4], [0.5, 0.4, 2.0], (100, 3))
    np.testing.assert_allclose(CAMERA.lift(CAMERA.project(points), points[:, 2]), points, atol=1e-12)


def test_scaled_camera_sees_the_resized_image():
    """A resize by 2 puts pixel x at 2 x + 0.5, so a point must project there."""
    points = np.array([[0.1, -0.2, 1.0], [-0.3, 0.1, 0.8]])
    np.testing.assert_allclose(CAMERA.scaled(1280, 960).project(points), 2 * CAMERA.project(points) + 0.5, atol=1e-9)


def test_points_behind_the_camera_have_no_pixel():
    assert np.isnan(CAMERA.project(np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0]]))).all()


@pytest.mark.parametrize("fx", [0.0, -1.0, np.nan, np.inf])
def test_uncalibrated_camera_is_refused(fx):
    with pytest.raises(ValueError, match="calibrated"):
        PinholeCamera(fx, 500, 320, 240, 640, 480)
