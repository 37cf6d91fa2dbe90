"""Grid and registered picture of a shift."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core.drawing.draw_warp import GRID_COLOR, UNSUPPORTED, draw_deformation_grid, draw_registered
from dalf_core.image_registration.image_warp import fit_image_warp

SIZE = (160, 120)


def shift(by: tuple[float, float], left: int = 0):
    """A map known from matches right of the column `left`."""
    x, y = np.meshgrid(np.arange(left, SIZE[0], 5.0), np.arange(0, SIZE[1], 5.0))
    xy = np.stack([x.ravel(), y.ravel()], axis=1)
    return fit_image_warp(xy, xy + by, SIZE, SIZE)


def test_grid_lines_lie_where_the_map_takes_them():
    picture = draw_deformation_grid(np.zeros((120, 160), np.uint8), shift((3.0, 0.0)), cells=4)      # lines at 20, 60, 100, 140
    assert np.flatnonzero(picture[40, :, 1] > 200).tolist() == [23, 63, 103, 143]
    assert picture[40, 23] / picture[40, 23].max() == pytest.approx(np.array(GRID_COLOR) / max(GRID_COLOR), abs=0.02)
    assert np.flatnonzero(picture[:, 45, 1] > 200).tolist() == [20, 60, 100]


def test_only_the_supported_part_is_drawn_bright():
    image = np.full((120, 160, 3), 200, np.uint8)
    warp = shift((0.0, 0.0), left=80)
    assert not warp.support[:, :74].any() and warp.support[:, 80:].all()
    assert (draw_deformation_grid(image, warp)[:, :74] == 200).all()
    registered = draw_registered(image, warp)
    assert (registered[:, 80:] == 200).all() and (registered[:, :74] == int(200 * UNSUPPORTED)).all()


def test_the_image_is_left_alone_and_another_size_is_refused():
    image = np.zeros((120, 160, 3), np.uint8)
    draw_deformation_grid(image, shift((1.0, 1.0)))
    assert not image.any()
    with pytest.raises(ValueError, match="100x50"):
        draw_deformation_grid(np.zeros((50, 100), np.uint8), shift((1.0, 1.0)))
