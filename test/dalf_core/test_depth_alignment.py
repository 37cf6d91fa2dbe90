"""Depth moved into another camera: compared with what that camera itself would measure, ray by ray."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dalf_core.camera import PinholeCamera
from dalf_core.depth_alignment import _drawn_range, align_depth, aligned_camera

DEPTH = PinholeCamera(220.0, 225.0, 158.0, 117.0, 320, 240)
COLOR = PinholeCamera(275.0, 280.0, 159.5, 119.5, 320, 240)
TURN = Rotation.from_rotvec([0.01, -0.02, 0.015]).as_matrix()
SHIFT = np.array([0.03, -0.004, 0.006])
IDENTITY = np.eye(3), np.zeros(3)


def rays(camera: PinholeCamera) -> np.ndarray:
    """(H, W, 3) rays of the pixels, z = 1."""
    x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    return np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones(x.shape)], axis=-1)


def plane_depth(camera: PinholeCamera, normal: np.ndarray, offset: float) -> np.ndarray:
    """(H, W) z where the rays meet normal . p = offset."""
    return offset / (rays(camera) @ normal)


def moved_plane(normal: np.ndarray, offset: float) -> tuple[np.ndarray, float]:
    """The plane of the depth frame in the colour frame."""
    return TURN @ normal, offset + (TURN @ normal) @ SHIFT


@pytest.mark.parametrize("color", [COLOR, COLOR.scaled(900, 675), COLOR.scaled(120, 90)], ids=["same", "magnified", "reduced"])
@pytest.mark.parametrize("slant", [(0.0, 0.0), (0.7, -0.4)], ids=["square", "slanted"])
def test_a_plane_stays_that_plane(color: PinholeCamera, slant: tuple[float, float]) -> None:
    normal = np.array([*slant, 1.0])
    depth = plane_depth(DEPTH, normal, 0.5).astype(np.float32)
    got = align_depth(depth, DEPTH, color, TURN, SHIFT)
    wanted = plane_depth(color, *moved_plane(normal, 0.5))
    assert got.dtype == np.float32 and got.shape == (color.height, color.width)
    # where the depth camera saw the point, at least a pixel inside its image, there is depth, and it is exact
    seen = DEPTH.project((rays(color) * wanted[..., None]).reshape(-1, 3) @ TURN - SHIFT @ TURN).reshape(*wanted.shape, 2)
    inside = ((seen > 0.01) & (seen < [DEPTH.width - 1.01, DEPTH.height - 1.01])).all(axis=-1)
    outside = ((seen < -2) | (seen > [DEPTH.width + 1, DEPTH.height + 1])).any(axis=-1)
    assert inside.mean() > 0.5 and np.isfinite(got[inside]).all() and np.isnan(got[outside]).all()
    np.testing.assert_allclose(got[inside], wanted[inside], rtol=1e-5)


def test_the_nearer_plane_hides_the_farther() -> None:
    """A square patch before a wall, seen from aside: the patch moves by its own parallax, covers the wall, and leaves a shadow of NaN."""
    near, far, baseline = 0.4, 1.0, np.array([0.05, 0.0, 0.0])
    depth = np.full((240, 320), far, np.float32)
    depth[100:140, 150:180] = near
    got = align_depth(depth, DEPTH, DEPTH, np.eye(3), baseline)
    moved = DEPTH.fx * baseline[0] / near, DEPTH.fx * baseline[0] / far       # 27.5 and 11 pixels
    x = np.arange(320)
    patch = (x > 149.5 + moved[0]) & (x < 179.5 + moved[0])
    shadow = (x > 149.5 + moved[1] + 1) & (x < 149.5 + moved[0] - 1)        # the wall there was behind the patch for the depth camera
    np.testing.assert_allclose(got[105:135, patch], near, rtol=1e-6)
    assert np.isnan(got[105:135, shadow]).all() and shadow.sum() >= 10
    wall = (x > moved[1] + 1) & ~((x > 149 + moved[1]) & (x < 180 + moved[0]))
    np.testing.assert_allclose(got[105:135, wall], far, rtol=1e-6)
    np.testing.assert_allclose(got[20:90, x > moved[1] + 1], far, rtol=1e-6)
    assert not ((got > near * 1.001) & (got < far * 0.999)).any(), "no depth arises between the two"


def test_single_readings_cover_their_footprint_and_missing_ones_stay_missing() -> None:
    """At three times the resolution a lone reading is a square of nine pixels; a missing one leaves no more than the hole
    between its neighbours.
    """
    depth = np.zeros((240, 320), np.float32)
    depth[50, 60], depth[100:200, 100:200] = 0.7, 0.7
    depth[150, 150] = np.nan
    got = align_depth(depth, DEPTH, DEPTH.scaled(960, 720), *IDENTITY)
    lone = np.isfinite(got[:280, :280])
    rows, columns = np.nonzero(lone)
    assert lone.sum() == 9 and rows.min() == 150 and rows.max() == 152 and columns.min() == 180 and columns.max() == 182
    hole = np.isnan(got[300:600, 300:600])
    assert 1 <= hole.sum() <= 25 and hole[150:153, 150:153].all()
    assert np.isfinite(got[303:597, 303:597]).sum() + hole.sum() == 294 * 294


@pytest.mark.parametrize(("near_column", "far_column"), [(60, 64), (64, 60)], ids=["near first", "far first"])
def test_of_single_readings_on_one_pixel_the_nearer_is_seen(near_column: int, far_column: int) -> None:
    """Parallax brings two lone readings, .5 and 2 m away, onto one pixel; either may come first in the image."""
    depth = np.zeros((240, 320), np.float32)
    depth[50, near_column], depth[50, far_column] = 0.5, 2.0
    shift = (far_column - near_column) / (1 / 0.5 - 1 / 2.0) / DEPTH.fx          # metres: u moves by fx * shift / z
    got = align_depth(depth, DEPTH, DEPTH, np.eye(3), np.array([shift, 0.0, 0.0]))
    assert np.isfinite(got).sum() == 1 and np.nanmin(got) == pytest.approx(0.5)


def test_the_identity_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    depth = rng.uniform(0.3, 2, (240, 320)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.3] = np.nan
    np.testing.assert_allclose(align_depth(depth, DEPTH, DEPTH, *IDENTITY), depth, rtol=1e-6)


def test_what_no_camera_measures_is_no_reading() -> None:
    depth = np.zeros((240, 320), np.float32)
    depth[0, :5] = np.inf, -np.inf, -1, 1e30, np.nan
    assert np.isnan(align_depth(depth, DEPTH, COLOR, TURN, SHIFT)).all()
    behind = np.full((240, 320), 0.5, np.float32)
    assert np.isnan(align_depth(behind, DEPTH, COLOR, np.eye(3), np.array([0, 0, -1.0]))).all()


@pytest.mark.parametrize(("rotation", "translation", "words"), [
    (2 * np.eye(3), np.zeros(3), "rotation"), (np.diag([1.0, 1, -1]), np.zeros(3), "rotation"), (np.eye(3), np.full(3, np.nan), "nan"),
    (np.eye(4), np.zeros(3), "rotation")])
def test_a_transform_that_cannot_be(rotation: np.ndarray, translation: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        align_depth(np.ones((240, 320), np.float32), DEPTH, COLOR, rotation, translation)
    with pytest.raises(ValueError, match="320x240"):
        align_depth(np.ones((480, 640), np.float32), DEPTH, COLOR, *IDENTITY)


def test_aligned_camera_is_no_finer_than_depth() -> None:
    big = COLOR.scaled(1920, 1440)
    got = aligned_camera(DEPTH, big)
    assert got.fx == pytest.approx(DEPTH.fx, rel=0.05) and got.width / got.height == pytest.approx(4 / 3, rel=0.01)
    assert aligned_camera(big, DEPTH) == DEPTH


@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize("missing", ["first", "second"])
def test_only_pixels_of_what_is_drawn_are_searched(down: bool, missing: str) -> None:
    """Beside a missing reading, whose pixel is unknown (0), only the triangle that is left is searched: else a frame takes seconds."""
    corners = {"a": 300.2, "b": 301.3, "c": 301.4, "d": 300.1}
    corners["bd"[missing == "second"] if down else "ac"[missing == "second"]] = 0.0
    assert _drawn_range(*corners.values(), down, missing != "first", missing != "second", 640) == (301, 301)


def test_beside_missing_readings_and_behind_the_camera_a_plane_stays_exact() -> None:
    rng = np.random.default_rng(2)
    normal = np.array([0.3, -0.2, 1.0])
    depth = plane_depth(DEPTH, normal, 0.5).astype(np.float32)
    depth[rng.random(depth.shape) < 0.05] = np.nan
    got, wanted = align_depth(depth, DEPTH, COLOR, TURN, SHIFT), plane_depth(COLOR, *moved_plane(normal, 0.5))
    error = np.abs(got / wanted - 1)[np.isfinite(got)]
    # exact in triangles; a lone footprint is a reading's own depth, half a pixel off at most
    assert (error < 1e-5).mean() > 0.9 and error.max() < 0.5 * 0.4 / DEPTH.fx * 3 and np.isfinite(got).mean() > 0.8
