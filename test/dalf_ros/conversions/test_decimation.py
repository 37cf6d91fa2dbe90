"""Fewer triangles: the shape, the border and the sides of the surface stay."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from dalf_ros.conversions.decimation import border_edges, decimate


def test_decimation_keeps_the_shape() -> None:
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 50), indexing="xy"), -1).reshape(-1, 2)
    vertices = np.column_stack([grid, 0.1 * np.sin(6 * grid[:, 0])])
    index = np.arange(3000).reshape(50, 60)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    triangles = np.concatenate([np.column_stack([a, c, b]), np.column_stack([b, c, d])])
    for most in (50, 500, 5000):
        fewer = decimate(vertices, triangles, most)
        assert 0.3 * most < len(fewer) <= most
        a, b, c = (vertices[fewer[:, k], :2] for k in range(3))
        area = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).sum() / 2
        assert area == pytest.approx(1.0, abs=0.03)
        # no hole: an edge of one triangle alone runs along the sheet's own border
        edges, count = np.unique(np.sort(fewer[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0, return_counts=True)
        ends = vertices[edges[count == 1], :2]
        assert count.max() <= 2 and np.isin(ends, (0, 1)).any(axis=-1).all()
    assert decimate(vertices, triangles, 10_000) is triangles


def measured_disc(noise_m: float, side: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """A wavy sheet as a depth camera has it: a petalled outline in steps of 3.3 mm, a round hole, noise along z."""
    number = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    x, y = ((number - side / 2) * 0.5 / side).T
    kept = (np.hypot(x, y) < 0.2 + 0.02 * np.sin(5 * np.arctan2(y, x))) & (np.hypot(x - 0.05, y - 0.03) > 0.05)
    z = 0.7 + 0.02 * np.sin(20 * x) * np.cos(17 * y) + np.random.default_rng(0).normal(0, noise_m, len(x))
    index = np.where(kept, np.arange(side * side), -1).reshape(side, side)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    triangles = np.concatenate([np.column_stack([a, c, b]), np.column_stack([b, c, d])])
    used, inverse = np.unique(triangles[(triangles >= 0).all(axis=1)], return_inverse=True)
    return np.column_stack([x, y, z])[used], inverse.reshape(-1, 3).astype(np.int32)


def along(vertices: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Points along edges, twenty on each."""
    share = np.linspace(0, 1, 20)[:, None, None]
    return (vertices[edges[:, 0]] * (1 - share) + vertices[edges[:, 1]] * share).reshape(-1, 3)


@pytest.mark.parametrize(("most", "noise_m"), [(300, 0.0), (300, 0.001), (1000, 0.001)])
def test_the_border_of_a_measured_surface_stays(most: int, noise_m: float) -> None:
    """Within 8 mm, where a pixel is 3.3 mm, either way. Plain edge collapse moves it by 35 mm where there is
    noise, and folds the surface.
    """
    vertices, triangles = measured_disc(noise_m)
    fewer = decimate(vertices, triangles, most)
    assert 0.6 * most < len(fewer) <= most and fewer.max() < len(vertices)
    before, after = along(vertices, border_edges(triangles)), along(vertices, border_edges(fewer))
    assert max(cKDTree(after).query(before)[0].max(), cKDTree(before).query(after)[0].max()) < 0.008
    _, count = np.unique(np.sort(fewer[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0, return_counts=True)
    assert count.max() == 2
    a, b, c = (vertices[fewer[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    steep = np.abs(normals[:, 2]) < 0.3 * np.linalg.norm(normals, axis=1)
    assert steep.mean() < 0.03 and (normals[:, 2] * np.median(normals[:, 2]) > 0).mean() > 0.99
