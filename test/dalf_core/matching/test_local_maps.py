"""Affine maps around keypoints, from exact ones."""
from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from dalf_core.matching.local_maps import LEAST, local_maps

XY = np.random.default_rng(1).uniform(0, 200, (80, 2)).astype(np.float32)
NEIGHBOURS = cKDTree(XY).query(XY, 12)[1].astype(np.int64)
MATRIX, SHIFT = np.array([[0.8, -0.5], [0.3, 1.1]], np.float32), np.array([40.0, -7.0], np.float32)
MOVED = XY @ MATRIX.T + SHIFT


def test_an_affine_map_is_found_again_without_the_keypoint_itself() -> None:
    known = np.ones(len(XY), bool)
    known[::5] = False
    places, affine, fits = local_maps(XY, NEIGHBOURS, np.where(known[:, None], MOVED, np.nan), known)
    assert fits.all()
    assert np.abs(places - MOVED).max() < 2e-3 and np.abs(affine - MATRIX).max() < 2e-4


def test_too_few_known_neighbours_give_none() -> None:
    known = np.zeros(len(XY), bool)
    known[NEIGHBOURS[0, :LEAST - 1]] = True
    places, affine, fits = local_maps(XY, NEIGHBOURS, MOVED, known)
    assert not fits[0] and np.isnan(places[0]).all() and (affine[0] == np.eye(2)).all()
    known[NEIGHBOURS[0, LEAST - 1]] = True
    assert local_maps(XY, NEIGHBOURS, MOVED, known)[2][0]


def test_neighbours_on_a_line_give_none() -> None:
    line = np.stack([np.arange(12.0), 2 * np.arange(12.0)], axis=1).astype(np.float32)
    neighbours = np.tile(np.arange(12), (12, 1))
    assert not local_maps(line, neighbours, line + 3, np.ones(12, bool))[2].any()
