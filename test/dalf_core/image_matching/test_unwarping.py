"""Unwarped images, and the way back from them, against maps that are known."""
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dalf_core.image_matching.unwarping import Unwarped, unwarp
from dalf_core.image_registration.image_warp import fit_image_warp

from ..feature_fixtures import bent, textured

SIZE = (320, 240)
IMAGE = (480, 400)


def curved():
    xy = np.random.default_rng(0).uniform(0, np.array(SIZE) - 1.0, (300, 2))
    return fit_image_warp(xy, bent(xy, SIZE[0], 0.02) + [90, 0], SIZE, IMAGE)


def test_blobs_found_in_the_unwarped_image_are_led_back_to_a_fraction_of_a_pixel() -> None:
    warp = curved()
    template_xy = np.array([[x + 0.37, y + 0.81] for x in range(60, 280, 40) for y in range(50, 210, 40)])
    centres = warp.image_positions(template_xy)
    y, x = np.mgrid[:IMAGE[1], :IMAGE[0]]
    image = np.zeros((IMAGE[1], IMAGE[0]), np.float32)
    for cx, cy in centres:
        image = np.maximum(image, np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 2.0 ** 2)))
    unwarped = unwarp(image, warp)
    found = []
    for tx, ty in template_xy:          # the centre of gravity of each blob
        left, top = round(tx) - 8, round(ty) - 8
        window = unwarped.picture[top:top + 17, left:left + 17].astype(float)
        rows, columns = np.mgrid[:17, :17]
        found.append([left + (columns * window).sum() / window.sum(), top + (rows * window).sum() / window.sum()])
    error = np.linalg.norm(unwarped.to_image(np.array(found)) - centres, axis=1)
    assert np.median(error) < 0.05 and error.max() < 0.15           # rounding alone would be 0.4 off


def test_the_way_back_is_the_map_the_picture_was_sampled_by() -> None:
    warp = curved()
    unwarped = unwarp(textured(*IMAGE), warp)
    corners = np.array([[0, 0], [319, 0], [0, 239], [319, 239], [17, 33]])
    assert np.allclose(unwarped.to_image(corners), warp.image_map[corners[:, 1], corners[:, 0]], atol=1e-5)
    between = np.random.default_rng(1).uniform(1, np.array(SIZE) - 2.0, (200, 2))
    assert np.abs(unwarped.to_image(between) - warp.image_positions(between)).max() < 0.1


def flat_map(scale: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[:240, :320].astype(np.float32)
    return np.stack([scale * x, scale * y], axis=-1)


def test_what_leaves_the_image_folds_or_shrinks_to_nothing_is_not_covered() -> None:
    image_map = flat_map()
    image_map[:, :50, 0] -= 60                                      # outside
    image_map[:, 100:140, 0] = 140 - (image_map[:, 100:140, 0] - 100)     # backwards
    image_map[:, 200:260, 0] = 200 + (image_map[:, 200:260, 0] - 200) / 40  # squeezed flat
    covered = unwarp(textured(*SIZE), SimpleNamespace(image_map=image_map, image_size=SIZE)).covered
    assert not covered[:, :50].any() and not covered[:, 102:138].any() and not covered[:, 202:258].any()
    assert covered[:, 60:98].all() and covered[:, 145:198].all() and covered[:, 265:320].all()


def test_a_finer_image_is_smoothed_before_it_is_sampled() -> None:
    """Single black and white pixels are grey from farther off; without smoothing they would alias."""
    fine = (np.indices((960, 1280)).sum(axis=0) % 2 * 255).astype(np.uint8)
    picture = unwarp(fine, SimpleNamespace(image_map=flat_map(3.9), image_size=(1280, 960))).picture
    assert np.abs(picture[5:-5, 5:-5].astype(int) - 127).max() < 10


def test_float_images_keep_their_range() -> None:
    image = np.zeros((240, 320), np.float32)
    image[:, 160:] = 1
    picture = unwarp(image, SimpleNamespace(image_map=flat_map() + np.float32(0.4), image_size=SIZE)).picture
    assert picture.dtype == np.float32 and picture.min() == 0 and picture.max() == 1


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.5])
def test_shown_is_what_the_covered_part_was_sampled_from(scale: float) -> None:
    size = (int(320 * scale) + 100, int(240 * scale) + 100)
    covered = np.zeros((240, 320), bool)
    covered[40:200, 40:280] = True
    unwarped = Unwarped(np.zeros((240, 320), np.uint8), covered, flat_map(scale))
    inside = np.random.default_rng(0).uniform([42, 42], [277, 197], (500, 2)) * scale
    assert unwarped.shown(inside, size).all()
    outside = np.array([[20, 100], [300, 100], [150, 20], [150, 220]]) * scale
    assert not unwarped.shown(outside, size).any()
