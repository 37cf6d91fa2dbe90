"""Lens models against their published formulas; images and depth resampled to the pinhole camera against analytic scenes."""
from __future__ import annotations

import cv2
import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_core.lens import EQUIDISTANT, PLUMB_BOB, RATIONAL_POLYNOMIAL, Lens

CAMERA = PinholeCamera(250.0, 252.0, 158.3, 121.4, 320, 240)
LENSES = {
    "barrel": Lens(CAMERA, PLUMB_BOB, (-0.30, 0.10, 0.001, -0.0007, -0.01)),
    "pincushion": Lens(CAMERA, PLUMB_BOB, (0.16, -0.2, 0.0003, -0.0002)),
    "rational": Lens(CAMERA, RATIONAL_POLYNOMIAL, (0.51, -2.6, 0.0006, -0.0002, 1.49, 0.39, -2.4, 1.4)),
    "fisheye": Lens(CAMERA, EQUIDISTANT, (-0.02, 0.01, -0.005, 0.001)),
}
each_lens = pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES.keys())


def formula(lens: Lens, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The models as CameraInfo's documentation and REP 104's sources write them, on rays x, y at z = 1."""
    if lens.model == EQUIDISTANT:
        r = np.hypot(x, y)
        theta = np.arctan(r)
        bent = theta * (1 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(lens.coefficients)))
        factor = np.where(r > 0, bent / np.maximum(r, 1e-12), 1)
        return x * factor, y * factor
    k1, k2, p1, p2, k3, k4, k5, k6 = (*lens.coefficients, 0, 0, 0, 0)[:8]
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y


def grid(step: int = 10) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(0, 320, step), np.arange(0, 240, step)), axis=-1).reshape(-1, 2).astype(float)


@each_lens
def test_the_models_are_the_published_ones(lens: Lens) -> None:
    xy = grid()
    x, y = formula(lens, (xy[:, 0] - CAMERA.cx) / CAMERA.fx, (xy[:, 1] - CAMERA.cy) / CAMERA.fy)
    np.testing.assert_allclose(lens.distort(xy), np.column_stack([x * CAMERA.fx + CAMERA.cx, y * CAMERA.fy + CAMERA.cy]), atol=1e-6)
    assert np.abs(lens.distort(xy) - xy).max() > 2         # it is a distortion worth the name


@each_lens
def test_undistorting_undoes_distorting(lens: Lens) -> None:
    undistorted = lens.undistort(grid())
    assert np.isfinite(undistorted).all()
    np.testing.assert_allclose(lens.distort(undistorted), grid(), atol=2e-3)
    assert lens.undistort(np.zeros((0, 2))).shape == (0, 2)


def test_where_the_model_has_no_inverse() -> None:
    """r (1 - 0.5 r^2) has its largest value 0.544 at r = 0.816: pixels further out belong to no ray."""
    lens = Lens(PinholeCamera(100.0, 100.0, 100.0, 100.0, 201, 201), PLUMB_BOB, (-0.5, 0, 0, 0))
    xy = lens.undistort(np.array([[150.0, 100.0], [160.0, 100.0], [np.nan, 3.0]]))
    assert np.isfinite(xy[0]).all() and np.isnan(xy[1:]).all()
    white = lens.rectify_image(np.full((201, 201), 255, np.uint8))
    assert white[100, 180] == 255 and white[100, 190] == 0         # r = 0.8, and 0.9, where the formula turns back into the image


def sphere_depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Depth along the optical axis of a ball of 0.15 m at (0.02, -0.01, 0.7) m before a wall at 1 m, on rays x, y at z = 1."""
    centre, radius = np.array([0.02, -0.01, 0.7]), 0.15
    ray = np.stack([x, y, np.ones_like(x)], axis=-1)
    a, b = (ray * ray).sum(-1), ray @ centre
    root = b * b - a * (centre @ centre - radius * radius)
    return np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, 1.0)


def seen(lens: Lens) -> np.ndarray:
    """The exact depth image of that scene through the lens."""
    pinhole = lens.undistort(grid(1))
    x, y = (pinhole[:, 0] - lens.camera.cx) / lens.camera.fx, (pinhole[:, 1] - lens.camera.cy) / lens.camera.fy
    return sphere_depth(x, y).reshape(240, 320).astype(np.float32)


def truth() -> np.ndarray:
    x, y = np.meshgrid((np.arange(320) - CAMERA.cx) / CAMERA.fx, (np.arange(240) - CAMERA.cy) / CAMERA.fy)
    return sphere_depth(x, y)


@each_lens
def test_depth_through_a_lens_is_where_the_surface_is(lens: Lens) -> None:
    """Against the analytic depth of the pinhole camera: tenths of a millimetre on the ball, exact on the wall, nothing between both."""
    depth, exact = lens.rectify_depth(seen(lens)), truth()
    inside = np.isfinite(depth)
    assert inside.mean() > 0.9 and depth.dtype == np.float32
    edge = cv2.dilate((cv2.morphologyEx(exact, cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0.02).astype(np.uint8), np.ones((3, 3))) > 0
    error = np.abs(depth - exact)
    assert error[inside & ~edge].max() < 3e-4
    assert np.abs(depth[inside & (exact == 1) & ~edge] - 1).max() < 1e-6
    assert not ((depth > 0.72) & (depth < 0.995)).any()
    ignored = np.abs(seen(lens) - exact)[~edge & (exact < 0.99)]
    assert ignored.max() > 10 * error[inside & ~edge & (exact < 0.99)].max()


def test_missing_readings_stay_missing() -> None:
    lens = LENSES["barrel"]
    depth = np.full((240, 320), 0.6, np.float32)
    depth[100:140, 150:200] = np.nan
    depth[10:20, 10:20] = 0
    out = lens.rectify_depth(depth)
    hole = lens.rectify_mask(np.isfinite(depth) & (depth > 0)) == 0
    assert (np.isnan(out) == hole).all() and np.isnan(out[120, 175])
    np.testing.assert_allclose(out[~hole], 0.6, atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.inf, 3e38, 1e20, 1e-45, -3e38])
def test_what_no_camera_measures_is_missing(value: float) -> None:
    depth, missing = np.full((2, 240, 320), 0.6, np.float32)
    depth[100:140, 150:200], missing[100:140, 150:200] = value, np.nan
    np.testing.assert_array_equal(LENSES["barrel"].rectify_depth(depth), LENSES["barrel"].rectify_depth(missing))


@each_lens
def test_other_resolutions(lens: Lens) -> None:
    """Half the resolution: the same scene, pixel centres half a pixel apart."""
    half = lens.scaled(160, 120)
    xy = grid()
    np.testing.assert_allclose(half.undistort((xy + 0.5) / 2 - 0.5), (lens.undistort(xy) + 0.5) / 2 - 0.5, atol=2e-3)
    small = cv2.resize(seen(lens), (160, 120), interpolation=cv2.INTER_NEAREST)
    assert lens.rectify_depth(small).shape == (120, 160)


def test_images_and_masks() -> None:
    lens = LENSES["barrel"]
    ramp = np.broadcast_to(np.arange(320, dtype=np.float32)[None], (240, 320)).copy()      # its value is its column
    expected = lens.distort(grid(1))[:, 0].reshape(240, 320)
    inner = (slice(10, -10), slice(10, -10))
    np.testing.assert_allclose(lens.rectify_image(ramp)[inner], expected[inner], atol=0.02)     # remap's places: 1/32 pixel
    mask = (ramp > 160).astype(np.uint8) * 255
    assert set(np.unique(lens.rectify_mask(mask))) == {0, 255}
    assert lens.rectify_image(np.zeros((240, 320, 3), np.uint8)).shape == (240, 320, 3)


def test_a_pinhole_camera_is_left_alone() -> None:
    lens, depth = Lens(CAMERA), np.ones((240, 320), np.float32)
    assert lens.is_pinhole and lens.rectify_depth(depth) is depth and lens.rectify_image(depth) is depth
    assert lens.rectify_mask(depth) is depth
    np.testing.assert_array_equal(lens.undistort(grid()), grid())
    np.testing.assert_array_equal(lens.distort(grid()), grid())


@pytest.mark.parametrize(("model", "coefficients", "words"), [
    ("fancy", (0.1,), "'fancy' is not known .*rectified images"), (PLUMB_BOB, (0.1, 0.2), "plumb_bob takes 4 or 5 or 8 or 12 or 14"),
    (EQUIDISTANT, (0.1, 0.2, 0.3, np.nan), "finite"), (EQUIDISTANT, (0.1,) * 5, "takes 4"),
])
def test_what_is_refused(model: str, coefficients: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Lens(CAMERA, model, coefficients)
