"""A sheet with a ragged edge, a shred and a hole, as depth images give them."""
from __future__ import annotations

import numpy as np

from dalf_core.drawing.neat_mesh import NeatMesh, long_edges


def sheet(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles (F, 3) of the cells of a grid that are true."""
    rows, columns = cells.shape
    y, x = np.mgrid[:rows + 1, :columns + 1]
    index = np.arange(x.size).reshape(x.shape)
    a, b, c, d = (corner[cells] for corner in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    return np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1), np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])


def test_shreds_go_and_the_rest_stays():
    cells = np.zeros((24, 40), bool)
    cells[2:22, 2:22] = True
    cells[10, 22:38] = True                         # a strip of one cell
    vertices, triangles = sheet(cells)
    neat = NeatMesh.of(triangles, len(vertices))
    right = vertices[neat.triangles][:, :, 0].max()
    assert 22 <= right <= 24 and len(neat.triangles) > 0.95 * 2 * 400
    inside = neat.vertices(vertices)[(np.abs(vertices[:, :2] - 12) < 8).all(axis=1)]
    assert np.array_equal(inside, vertices[(np.abs(vertices[:, :2] - 12) < 8).all(axis=1)])


def test_a_staircase_becomes_a_straight_edge():
    """The pixels' steps along a slanting silhouette: vertices lie 0.7 apart across the edge, and in a line when drawn."""
    y, x = np.mgrid[:60, :60]
    vertices, triangles = sheet(x < y)
    neat = NeatMesh.of(triangles, len(vertices))
    drawn = neat.vertices(vertices)
    edge = np.unique(long_edges(neat.triangles))
    slant = edge[(vertices[edge, 1] - vertices[edge, 0] < 5) & (np.abs(vertices[edge, :2].sum(axis=1) - 60) < 30)]
    before, after = (np.ptp(points[slant, 1] - points[slant, 0]) / np.sqrt(2) for points in (vertices, drawn))
    assert len(slant) > 20 and before > 0.7 and after < 0.02
    assert np.abs(drawn - vertices).max() < 2.5 and drawn.dtype == vertices.dtype


def test_small_holes_and_small_meshes_stay_as_they_are():
    cells = np.ones((20, 20), bool)
    cells[8:10, 8:10] = False
    vertices, triangles = sheet(cells)
    neat = NeatMesh.of(triangles, len(vertices))
    hole = (np.abs(vertices[:, :2] - 9) <= 1).all(axis=1)
    assert np.array_equal(neat.vertices(vertices)[hole], vertices[hole]) and len(neat.triangles) >= len(triangles) - 8
    for small in (triangles[:1], triangles[:0]):
        neat = NeatMesh.of(small, len(vertices))
        assert np.array_equal(neat.triangles, small) and np.array_equal(neat.vertices(vertices), vertices)
