"""Strain of surfaces whose deformation is known."""
from __future__ import annotations

import numpy as np

from dalf_core.reports.strain import VertexStrain

from .scene import grid


def test_a_uniform_stretch():
    triangles, sheet = grid(9, 7)
    np.testing.assert_allclose(VertexStrain(triangles, sheet).of(1.07 * sheet), 0.07, atol=1e-12)


def test_a_motion_and_a_roll_strain_nothing():
    """Rolled onto a cylinder of radius 0.2: distances along the sheet stay, chords of 10 mm are shorter by 1 / 9600."""
    triangles, sheet = grid(40, 5, spacing=0.01)
    angle = sheet[:, 0] / 0.2
    rolled = np.stack([0.2 * np.sin(angle), sheet[:, 1], 0.8 - 0.2 * np.cos(angle)], axis=1)
    assert np.abs(VertexStrain(triangles, sheet).of(rolled + [1, 2, 3])).max() < 1.1e-4


def test_a_stretch_along_x_is_seen_by_the_edges_along_x():
    """In the middle of a grid meet two edges along x, two along y and two diagonals."""
    triangles, sheet = grid(5, 5)
    strain = VertexStrain(triangles, sheet).of(sheet * [1.1, 1, 1])
    diagonal = np.hypot(1.1, 1) / np.sqrt(2) - 1
    np.testing.assert_allclose(strain[12], (2 * 0.1 + 2 * diagonal) / 6)


def test_what_belongs_to_no_triangle_has_none():
    triangles, sheet = grid(3, 3)
    strain = VertexStrain(triangles, np.vstack([sheet, [[9, 9, 9]]])).of(np.vstack([sheet, [[8, 8, 8]]]))
    assert np.isnan(strain[9]) and np.isfinite(strain[:9]).all()


def test_an_edge_without_length_is_left_out():
    strain = VertexStrain(np.array([[0, 1, 2]]), np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0]], float))
    np.testing.assert_allclose(strain.of(np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0]], float)), [0, np.sqrt(2) - 1, (np.sqrt(2) - 1) / 2])
