"""Sparse flow on halved images: known shifts, and points that cannot be followed."""
from __future__ import annotations

import numpy as np

from dalf_core.matching.flow import bring_forward, follow, follow_surely
from dalf_core.matching.patch_alignment import pyramid

from .scenes import affine_view, centre, grid


def halved(shift: tuple[float, float]) -> np.ndarray:
    return pyramid(affine_view(np.eye(2), centre() + shift)).images[1]


def test_a_shift_is_followed_in_pixels_of_the_whole_image() -> None:
    moved = follow(halved((0, 0)), halved((6.0, -3.0)), grid())
    assert np.abs(moved - grid() - (6.0, -3.0)).max() < 0.3


def test_what_is_nowhere_stays_nowhere() -> None:
    xy = np.array([[np.nan, 5.0], [-20.0, 5.0], [5000.0, 5.0], [100.0, 100.0]], np.float32)
    moved = follow(halved((0, 0)), halved((1.0, 0)), xy)
    assert np.isnan(moved[:3]).all() and np.abs(moved[3] - (101.0, 100.0)).max() < 0.3
    assert follow(halved((0, 0)), halved((1, 0)), np.zeros((0, 2))).shape == (0, 2)


def test_what_is_covered_is_not_followed_surely() -> None:
    """Plain flow takes it along with what covers it, or leaves it anywhere."""
    before, now, xy = halved((0, 0)), halved((3.0, 1.0)), grid()
    covered = xy[:, 0] > 170
    now[:, 80:] = np.random.default_rng(0).integers(0, 255, (now.shape[0], now.shape[1] - 80))
    moved = follow_surely(before, now, xy)
    sure = np.isfinite(moved[:, 0])
    assert np.isfinite(follow(before, now, xy))[covered].all()
    assert sure[xy[:, 0] < 130].all() and sure[covered].mean() < 0.1
    assert np.abs(moved - xy - (3.0, 1.0))[xy[:, 0] < 130].max() < 0.5
    assert np.isnan(follow_surely(before, now, np.array([[np.nan, 5.0], [-20.0, 5.0]]))).all()


def test_through_several_images() -> None:
    images = [halved((5.0 * k, 2.0 * k)) for k in range(8)]
    moved = bring_forward(images, grid())
    assert np.abs(moved - grid() - (35.0, 14.0)).max() < 1.0
    assert (bring_forward(images[:1], grid()) == grid()).all()
