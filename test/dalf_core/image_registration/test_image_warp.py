"""Maps fitted to matches of a known bend, shift, or tear."""
from __future__ import annotations

import cv2
import numpy as np
import pytest

from dalf_core.image_registration.image_warp import ImageWarpError, fit_image_warp, jacobian_determinant, warp_to_template

from ..feature_fixtures import bent, textured

SIZE = (320, 240)
WIDE = (640, 480)


def scattered(count: int, seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, np.array(size) - 1.0, (count, 2))


def every_pixel(size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), axis=-1).reshape(-1, 2).astype(float)


def shifted(count: int = 60, by: tuple[float, float] = (0.0, 0.0)):
    xy = scattered(count)
    return fit_image_warp(xy, xy + by, SIZE, SIZE)


# ---------------------------------------------------------------- the map

def test_affine_map_is_exact():
    xy = scattered(12)
    matrix, offset = np.array([[0.9, -0.4], [0.3, 1.1]]), np.array([30.0, -12.0])
    warp = fit_image_warp(xy, xy @ matrix.T + offset, SIZE, SIZE)
    assert np.abs(warp.image_positions(every_pixel()) - (every_pixel() @ matrix.T + offset)).max() < 1e-6
    assert warp.inlier.all() and warp.image_positions(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("wrong, noise, median, worst", [(0.0, 0.0, 0.05, 1.5), (0.1, 0.0, 0.1, 2.0), (0.1, 0.7, 0.55, 3.0)])
def test_bend_is_recovered_with_wrong_matches_and_noise(wrong, noise, median, worst):
    rng = np.random.default_rng(1)
    xy = scattered(400)
    target = bent(xy, SIZE[0], 0.03) + rng.normal(0, noise, xy.shape)
    bad = rng.random(len(xy)) < wrong
    target[bad] += rng.uniform(8, 60, (bad.sum(), 2)) * rng.choice([-1, 1], (bad.sum(), 2))
    warp = fit_image_warp(xy, target, SIZE, SIZE)
    error = np.linalg.norm(warp.image_positions(every_pixel()) - bent(every_pixel(), SIZE[0], 0.03), axis=1)
    assert np.median(error) < median and error.max() < worst
    assert not warp.inlier[bad].any() and warp.inlier[~bad].mean() > 0.97


def test_smoothing_of_zero_passes_through_the_matches():
    xy = scattered(50)
    target = xy + np.random.default_rng(2).normal(0, 2, xy.shape)
    assert np.abs(fit_image_warp(xy, target, SIZE, SIZE, smoothing=0).image_positions(xy) - target).max() < 1e-6


def test_the_fit_does_not_depend_on_the_scale():
    xy = scattered(100)
    target = bent(xy, SIZE[0], 0.03) + np.random.default_rng(3).normal(0, 2, xy.shape)
    one = fit_image_warp(xy, target, SIZE, SIZE).image_positions(xy)
    larger = fit_image_warp(xy * 10, target * 10, (3200, 2400), (3200, 2400)).image_positions(xy * 10)
    assert np.abs(larger / 10 - one).max() < 1e-3


@pytest.mark.parametrize("size", [WIDE, (101, 47), (9, 300), (1, 1)])
def test_dense_map_is_the_spline_to_a_tenth_of_a_pixel(size):
    rng = np.random.default_rng(4)
    xy = rng.uniform(0, np.array(WIDE), (500, 2))
    warp = fit_image_warp(xy, bent(xy, WIDE[0], 0.04) + rng.normal(0, 1.0, xy.shape), size, WIDE)
    assert warp.image_map.shape == (size[1], size[0], 2) and warp.image_map.dtype == np.float32
    exact = warp.image_positions(every_pixel(size)).reshape(size[1], size[0], 2)
    assert np.abs(warp.image_map - exact).max() < 0.1


# ---------------------------------------------------------------- resampling

def test_identity_reproduces_the_image_bit_for_bit():
    image = textured(*SIZE)
    registered = warp_to_template(image, shifted())
    assert (registered == image).all()
    assert (warp_to_template(image[:, :, 0], shifted()) == image[:, :, 0]).all()


def test_shift_by_whole_pixels_moves_pixels_bit_for_bit():
    image = textured(*SIZE)
    registered = warp_to_template(image, shifted(by=(7.0, -5.0)))
    assert (registered[5:, :-7] == image[:-5, 7:]).all()
    assert not registered[:4].any() and not registered[:, -6:].any()


def test_shift_by_half_a_pixel_lies_between_the_pixels():
    ramp = np.tile(np.arange(SIZE[0], dtype=np.float32), (SIZE[1], 1))
    registered = warp_to_template(ramp, shifted(by=(0.5, 0.0)))
    assert np.abs(registered[1:-1, 1:-2] - (ramp[1:-1, 1:-2] + 0.5)).max() < 1e-3


def test_registered_image_of_a_bend_is_the_template():
    wave = lambda p: p + 6 * np.stack([np.sin(p[:, 1] / 40), np.cos(p[:, 0] / 50)], axis=1)  # noqa: E731  image to template
    grid = wave(every_pixel()).reshape(SIZE[1], SIZE[0], 2).astype(np.float32)
    template = textured(*SIZE)
    image = cv2.remap(template, grid, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    xy = scattered(300)
    warp = fit_image_warp(wave(xy), xy, SIZE, SIZE)
    difference = np.abs(warp_to_template(image, warp).astype(int) - template)[warp.support]
    assert warp.support.mean() > 0.8 and difference.mean() < 4


def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match="320x240"):
        warp_to_template(np.zeros((10, 10), np.uint8), shifted())


# ---------------------------------------------------------------- support

def test_support_is_where_matches_are_and_gaps_are_closed():
    y, x = np.mgrid[40:200:8, 40:160:8]
    xy = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)
    xy = xy[np.linalg.norm(xy - (100, 120), axis=1) > 16]                 # a gap of 32 px: reach is 24
    support = fit_image_warp(xy, xy, SIZE, SIZE).support
    assert support[40:192, 40:152].all()
    assert support[40:192, 37].all() and not support[:, :30].any() and not support[:, 170:].any()
    alone = np.vstack([xy, [[280.0, 120.0]]])
    assert not fit_image_warp(alone, alone, SIZE, SIZE).support[:, 250:].any()


def test_support_ends_where_the_map_leaves_the_image_or_folds():
    xy = every_pixel()[::97]
    outside = fit_image_warp(xy, xy + (200, 0), SIZE, SIZE)
    assert outside.support[:, :120].all() and not outside.support[:, 120:].any()
    folded = np.stack([160 - np.abs(xy[:, 0] - 160), xy[:, 1]], axis=1)
    warp = fit_image_warp(xy, folded, SIZE, SIZE)
    assert warp.support[60:180, 60:130].all() and not warp.support[:, 185:].any()
    assert (jacobian_determinant(warp.image_map)[60:180, 60:130] > 0.5).all()


# ---------------------------------------------------------------- what cannot be

@pytest.mark.parametrize("template_xy, error, words", [
    (scattered(5), ImageWarpError, "5 matches"),
    (np.stack([np.arange(30.0), np.arange(30.0)], axis=1), ImageWarpError, "on a line"),
    (np.tile([[5.0, 5.0]], (20, 1)), ImageWarpError, "on a line"),
    (np.full((20, 2), np.nan), ValueError, "NaN"),
    (np.zeros((20, 3)), ValueError, r"\(M, 2\)"),
])
def test_matches_that_determine_no_map_are_refused(template_xy, error, words):
    with pytest.raises(error, match=words):
        fit_image_warp(template_xy, template_xy, SIZE, SIZE)


def test_arguments_that_cannot_be_are_refused():
    xy = scattered(20)
    with pytest.raises(ValueError, match=r"\(M, 2\)"):
        fit_image_warp(xy, xy[:10], SIZE, SIZE)
    for options in ({"smoothing": -1.0}, {"smoothing": np.nan}, {"reach": 0.0}):
        with pytest.raises(ValueError, match="smoothing"):
            fit_image_warp(xy, xy, SIZE, SIZE, **options)
    with pytest.raises(ValueError, match="sizes"):
        fit_image_warp(xy, xy, (0, 10), SIZE)
    with pytest.raises(ValueError, match="finite"):
        fit_image_warp(xy, xy, SIZE, SIZE).image_positions(np.array([[np.nan, 0.0]]))


def test_matches_at_the_same_place_do_no_harm():
    xy = np.repeat(scattered(20), 3, axis=0)
    warp = fit_image_warp(xy, xy + 2, SIZE, SIZE)
    assert np.abs(warp.image_positions(xy) - xy - 2).max() < 1e-6
