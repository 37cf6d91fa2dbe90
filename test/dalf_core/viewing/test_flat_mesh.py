"""The sheet of `live`: its corners, its colours, which side is up, and where a known map takes it."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core.image_registration.image_warp import fit_image_warp
from dalf_core.viewing.flat_mesh import CELLS, FlatMesh


def test_the_grid_covers_the_template():
    template = np.zeros((120, 256, 3), np.uint8)
    template[:60, :, 2] = 200               # red above
    template[60:, :, 0] = 100               # blue below
    mesh = FlatMesh.of(template)
    assert mesh.xy[0].tolist() == [0, 0] and mesh.xy[-1].tolist() == [255, 119] and len(mesh.xy) == (CELLS + 1) * 61
    assert mesh.colors[mesh.xy[:, 1] < 50].tolist() == [[200, 0, 0]] * (mesh.xy[:, 1] < 50).sum()
    assert mesh.colors[mesh.xy[:, 1] > 70].tolist() == [[0, 0, 100]] * (mesh.xy[:, 1] > 70).sum()
    a, b, c = (mesh.xy[corner].astype(float) for corner in mesh.triangles.T)
    twice_area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert np.all(twice_area < 0) and twice_area.sum() == -2 * 255 * 119        # counter-clockwise where y points down; no gap, no overlap


def test_it_moves_with_the_map():
    x, y = np.meshgrid(np.arange(20, 100, 8.0), np.arange(10, 70, 8.0))
    xy = np.stack([x, y], axis=-1).reshape(-1, 2)
    warp = fit_image_warp(xy, 0.5 * xy + [7, 3], (128, 96), (160, 120))
    mesh = FlatMesh.of(np.zeros((96, 128), np.uint16))
    vertices, visible = mesh.moved(warp)
    seen = mesh.xy[visible]
    assert vertices[visible] == pytest.approx(np.column_stack([(0.5 * seen + [7, 3]) / 160, np.zeros(len(seen))]), abs=1e-3)
    assert visible[np.all(np.abs(mesh.xy - [60, 40]) < 15, axis=1)].all() and not visible[-1]
