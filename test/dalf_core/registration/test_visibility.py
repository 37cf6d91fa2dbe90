"""Where there is no depth, a match makes visible what is beside it, if depth is not far."""
import numpy as np
import pytest

from dalf_core.registration.energy import OCCLUDED, SUPPORTED, UNSEEN
from dalf_core.registration.graph import build_graph
from dalf_core.registration.visibility import visible_vertices
from dalf_core.surface import surface_from_depth

from ..analytic import CAMERA, RolledSheet

SPACING = 0.02


@pytest.fixture(scope="module")
def sheet():
    """(vertices, graph, seen): depth supports what is left of x = 0, and reads something in front at the bottom."""
    surface = surface_from_depth(RolledSheet().depth(), CAMERA)
    vertices = surface.vertices
    seen = np.where(vertices[:, 0] < 0, SUPPORTED, UNSEEN).astype(np.uint8)
    seen[(vertices[:, 0] >= 0) & (vertices[:, 1] > 0.06)] = OCCLUDED
    return vertices, build_graph(surface, SPACING), seen


def nearest(vertices, x, y):
    return np.argmin(np.linalg.norm(vertices[:, :2] - (x, y), axis=1))


def test_depth_alone(sheet):
    vertices, graph, seen = sheet
    np.testing.assert_array_equal(visible_vertices(graph, seen, np.zeros(0, int)), seen == SUPPORTED)


def test_beside_a_match_near_depth(sheet):
    vertices, graph, seen = sheet
    at = nearest(vertices, SPACING, -0.05)
    added = visible_vertices(graph, seen, np.array([at])) & (seen != SUPPORTED)
    distance = np.linalg.norm(vertices[added] - vertices[at], axis=1)
    assert added[at] and added.sum() > 20 and distance.max() < 4 * SPACING


def test_not_far_from_depth_nor_behind_something(sheet):
    vertices, graph, seen = sheet
    far, hidden = nearest(vertices, 0.14, 0.0), nearest(vertices, SPACING, 0.1)
    np.testing.assert_array_equal(visible_vertices(graph, seen, np.array([far])), seen == SUPPORTED)
    assert not visible_vertices(graph, seen, np.array([hidden]))[seen == OCCLUDED].any()
