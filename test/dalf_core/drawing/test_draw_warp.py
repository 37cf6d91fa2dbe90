"""Grid and registered picture of a shift."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core.drawing.draw_warp import UNSUPPORTED, draw_deformation_grid, draw_registered
from dalf_core.drawing.palette import GRID
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
    assert picture[40, 23] / picture[40, 23].max() == pytest.approx(np.array(GRID) / max(GRID), abs=0.02)
    assert np.flatnonzero(picture[:, 45, 1] > 200).tolist() == [20, 60, 100]


def test_only_the_supported_part_is_drawn_bright():
    image = np.full((120, 160, 3), 200, np.uint8)
    warp = shift((0.0, 0.0), left=80)
    assert not warp.support[:, :74].any() and warp.support[:, 80:].all()
    assert (draw_deformation_grid(image, warp)[:, :74] == 200).all()
    registered = draw_registered(image, warp)
    assert (registered[:, 80:] == 200).all() and (registered[:, :74] == int(200 * UNSUPPORTED)).all()


def test_the_grid_has_no_loose_ends_and_ends_with_the_matches():
    """Matches right of column 80, cells of 20 pixels: the grid begins with the first whole cell there."""
    picture = draw_deformation_grid(np.zeros((120, 160), np.uint8), shift((0.0, 0.0), left=80), cells=8)     # lines at 10, 30 … 90, 110 …
    ys, xs = np.nonzero(picture[:, :, 1] > 200)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (90, 150, 10, 110)
    assert np.flatnonzero(picture[20, :, 1] > 200).tolist() == [90, 110, 130, 150]


def test_the_edge_of_the_supported_part_is_smooth():
    """Support with lobes, as round matches: its outline in the picture is straight within a pixel, and soft."""
    warp = shift((0.0, 0.0))
    edge = 80 + np.rint(3 * np.sin(np.arange(120) / 3)).astype(int)
    vars(warp)["support"] = np.arange(160)[None] >= edge[:, None]
    gray = draw_registered(np.full((120, 160), 200, np.uint8), warp)[:, :, 0].astype(int)
    middle = (gray > 125).argmax(axis=1)
    assert np.ptp(edge) == 6 and np.ptp(middle[15:-15]) <= 1 and abs(np.median(middle) - 80) <= 1
    assert np.abs(np.diff(gray, axis=1)).max() < 60 and gray[:, 100:].min() == 200 and gray[:, :60].max() == 50


def test_the_image_is_left_alone_and_another_size_is_refused():
    image = np.zeros((120, 160, 3), np.uint8)
    draw_deformation_grid(image, shift((1.0, 1.0)))
    assert not image.any()
    with pytest.raises(ValueError, match="100x50"):
        draw_deformation_grid(np.zeros((50, 100), np.uint8), shift((1.0, 1.0)))
