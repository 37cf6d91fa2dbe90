"""The depth image's systematic error: known ones are found and taken off, none is found where there is none."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core.registration import NonRigidRegistration
from dalf_core.registration.depth_error import MIN_COMPARED, DepthError, corrected, find_depth_error

from ..analytic import CAMERA, RolledSheet

SHEET = RolledSheet(radius=0.15, shift=(0.0, 0.0, 0.02))        # slopes from 0 to 1.5 m a metre
TRUE = DepthError(offset=-0.002, footprint=-0.5)


def on_sheet(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points of the flat sheet, and where they are, (count, 3) metres each."""
    rng = np.random.default_rng(seed)
    points = np.stack([rng.uniform(-0.13, 0.13, count), rng.uniform(-0.12, 0.12, count), np.full(count, 0.7)], axis=1)
    return points, SHEET.move(points)


def slope(depth: np.ndarray) -> np.ndarray:
    """Metres a pixel, by differences."""
    with np.errstate(invalid="ignore"):
        rows, columns = np.gradient(np.where(depth > 0, depth, np.nan))
    return np.nan_to_num(np.hypot(rows, columns))


def wrong_depth(error: DepthError = TRUE) -> np.ndarray:
    depth = SHEET.depth()
    return np.where(depth > 0, depth + error.offset + error.footprint * slope(depth), 0).astype(np.float32)


def test_a_known_error_is_found_and_taken_off() -> None:
    found = find_depth_error(wrong_depth(), on_sheet(300)[1], CAMERA)
    assert found is not None
    assert found.offset == pytest.approx(TRUE.offset, abs=5e-5) and found.footprint == pytest.approx(TRUE.footprint, abs=0.05)
    truth, inner = SHEET.depth(), np.zeros((240, 320), bool)
    inner[90:150, 120:200] = True
    np.testing.assert_allclose(corrected(wrong_depth(), TRUE, CAMERA)[inner], truth[inner], atol=2e-4)
    assert ((corrected(wrong_depth(), TRUE, CAMERA) > 0) == (truth > 0)).all()


def test_a_fifth_of_the_landmarks_may_be_wrong() -> None:
    targets = on_sheet(300)[1] + np.random.default_rng(1).normal(size=(300, 3)) * 1e-3
    targets[::5, 2] += np.random.default_rng(2).uniform(-0.05, 0.05, 60)
    found = find_depth_error(wrong_depth(), targets, CAMERA)
    assert found is not None
    assert found.offset == pytest.approx(TRUE.offset, abs=5e-4) and found.footprint == pytest.approx(TRUE.footprint, abs=0.2)


def test_noise_alone_is_no_error() -> None:
    depth = SHEET.depth()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        noisy = np.where(depth > 0, depth + rng.normal(size=depth.shape) * 1e-3, 0).astype(np.float32)
        assert find_depth_error(noisy, on_sheet(150, seed)[1] + rng.normal(size=(150, 3)) * 1.5e-3, CAMERA) is None


@pytest.mark.parametrize("targets", [np.zeros((0, 3)), on_sheet(MIN_COMPARED - 1)[1], on_sheet(200)[1] * [1, 1, -1],
                                     np.full((99, 3), np.nan)])
def test_too_few_landmarks_show_nothing(targets: np.ndarray) -> None:
    assert find_depth_error(wrong_depth(), targets, CAMERA) is None


def test_what_hides_the_surface_is_no_error() -> None:
    """A hand 8 cm before all of it: its depth must not be moved onto the landmarks."""
    depth = SHEET.depth()
    assert find_depth_error(np.where(depth > 0, depth - 0.08, 0).astype(np.float32), on_sheet(300)[1], CAMERA) is None


def test_landmarks_measured_otherwise_correct_the_surface() -> None:
    """Those lifted through the depth image share its error: then the surface is where the depth image says."""
    source, target = on_sheet(300)
    pixels = [CAMERA.project(points) for points in (source, target)]
    off_by = {}
    for how in ("points", "pixels"):
        registration = NonRigidRegistration(CAMERA, max_vertices=1500)
        registration.set_reference(RolledSheet().depth())
        if how == "points":
            result = registration.register_points(wrong_depth(), source, target)
        else:
            result = registration.register(wrong_depth(), *pixels)
        assert result.status == "tracked"
        truth = SHEET.move(registration.reference_vertices.astype(float))
        off_by[how] = np.median(result.vertices[:, 2] - truth[:, 2])
    assert abs(off_by["points"]) < 0.1 * abs(off_by["pixels"])
    assert off_by["pixels"] == pytest.approx(np.median((wrong_depth() - SHEET.depth())[SHEET.depth() > 0]), abs=6e-4)
    assert off_by["pixels"] < -0.002
