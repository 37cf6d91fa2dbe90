"""Alignment of patches: exact shifts of a drawn texture, through an affine map, and what cannot be found."""
from __future__ import annotations

import cv2
import numpy as np
import pytest

from dalf_core.matching.patch_alignment import LEVELS, align, make_templates, pyramid

from .scenes import affine_view, centre, grid, mapped, turned

XY = grid()
FIRST = affine_view(np.eye(2), centre())
TEMPLATES = make_templates(pyramid(FIRST), XY)
ALL = np.ones(len(XY), bool)
STRAIGHT = np.tile(np.eye(2, dtype=np.float32), (len(XY), 1, 1))


def test_a_shift_is_found_to_a_thirtieth_of_a_pixel() -> None:
    image = affine_view(np.eye(2), centre() + (2.4, -1.7))
    xy, correlation = align(pyramid(image), TEMPLATES, XY, STRAIGHT, ALL)
    assert np.abs(xy - XY - (2.4, -1.7)).max() < 0.03 and correlation.min() > 0.995


@pytest.mark.parametrize("degrees, zoom", [(40.0, 1.0), (-75.0, 0.8), (10.0, 1.4)])
def test_through_the_affine_map_of_a_turned_surface(degrees: float, zoom: float) -> None:
    matrix = turned(degrees, zoom)
    expected = mapped(XY, matrix, centre())
    inside = (np.abs(expected - centre()) < (120, 80)).all(axis=1)
    affine = np.tile(matrix.astype(np.float32), (len(XY), 1, 1))
    image = pyramid(affine_view(matrix, centre() + (1.2, 0.9)))
    xy, correlation = align(image, TEMPLATES, expected.astype(np.float32), affine, inside)
    assert inside.sum() > 50
    assert np.abs(xy - expected - (1.2, 0.9))[inside].max() < 0.1 and correlation[inside].min() > 0.97
    if abs(degrees) < 30:
        return
    _, unbent = align(image, TEMPLATES, expected.astype(np.float32), STRAIGHT, inside)
    assert np.median(unbent[inside]) < 0.7                  # the map is what makes it alike


@pytest.mark.parametrize("coarsest, shift", [(0, 2.0), (1, 6.0), (2, 12.0)])
def test_coarser_levels_reach_farther(coarsest: int, shift: float) -> None:
    image = pyramid(affine_view(np.eye(2), centre() + (shift, 0)))
    found = [np.mean(np.abs(align(image, TEMPLATES, XY, STRAIGHT, ALL, level)[0] - XY - (shift, 0)).max(axis=1) < 0.1)
             for level in range(LEVELS)]
    assert found[coarsest] > 0.65
    assert coarsest == 0 or found[coarsest - 1] < found[coarsest]


def test_brightness_and_contrast_do_not_count() -> None:
    image = np.rint(0.5 * affine_view(np.eye(2), centre() + (1.0, 1.0)) + 60).astype(np.uint8)
    xy, correlation = align(pyramid(image), TEMPLATES, XY, STRAIGHT, ALL)
    assert np.abs(xy - XY - 1.0).max() < 0.05 and correlation.min() > 0.99


def test_another_texture_is_not_alike() -> None:
    other = affine_view(np.eye(2), centre() + (400.0, 300.0))
    _, correlation = align(pyramid(other), TEMPLATES, XY, STRAIGHT, ALL)
    assert np.mean(correlation > 0.7) < 0.15


def test_what_cannot_be_looked_for_has_no_correlation() -> None:
    places = XY.copy()
    places[0], places[1], places[2] = np.nan, (2.0, 100.0), (1e7, -1e7)
    use = ALL.copy()
    use[3] = False
    _, correlation = align(pyramid(FIRST), TEMPLATES, places, STRAIGHT, use)
    assert (correlation[:4] == -1).all() and correlation[4:].min() > 0.999


def test_edges_and_plain_patches_are_no_templates() -> None:
    picture = np.full((120, 120), 90, np.uint8)
    picture[:, 60:] = 160                                   # an edge: a patch can slide along it
    templates = make_templates(pyramid(picture), np.array([[60.0, 60.0], [25.0, 60.0], [1.0, 1.0]], np.float32))
    assert not templates.usable.any()
    picture[60:, :] = 40                                    # a corner
    assert make_templates(pyramid(picture), np.array([[60.0, 60.0]], np.float32)).usable[0, 0]


def test_what_is_blurred_or_plain_comes_last() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 240), np.uint8)
    image = np.hstack([cv2.GaussianBlur(noise[:, :120], (0, 0), 2), noise[:, 120:]])
    image[:, :40] = 128
    image[:60, 200:] = np.where(np.arange(40) < 20, 0, 255)     # an edge: it can slide along it
    xy = np.array([[20, 60], [70, 60], [160, 60], [220, 30], [160, 90], [80, 90]], np.float32)
    order = make_templates(pyramid(image), xy).sharpest_first().tolist()
    assert set(order[:2]) == {2, 4} and set(order[2:4]) == {1, 5} and set(order[4:]) == {0, 3}
