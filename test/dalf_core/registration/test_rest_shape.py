"""Rest shape: analytic strains and curvatures of a plane, and what a solve makes of them."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dalf_core.registration.energy import SUPPORTED, UNSEEN
from dalf_core.registration.graph import build_graph
from dalf_core.registration.rest_shape import PRIOR, SHORTENED, STRAIN, RestShape, _rest
from dalf_core.surface import Surface, vertex_normals

TRUSTED = 1 / (1 + PRIOR)           # what is left of a tensor that is the same everywhere, all of it seen


@pytest.fixture(scope="module")
def plane():
    """A flat sheet of 0.4 x 0.3 m facing the camera, its graph, and its rest shape with the axes z, x, y everywhere."""
    x, y = np.meshgrid(np.linspace(-0.2, 0.2, 60), np.linspace(-0.15, 0.15, 45))
    vertices = np.stack([x, y, np.full_like(x, 0.7)], axis=-1).reshape(-1, 3).astype(np.float32)
    corner = np.arange(60 * 45).reshape(45, 60)
    a, b, c, d = corner[:-1, :-1].ravel(), corner[:-1, 1:].ravel(), corner[1:, :-1].ravel(), corner[1:, 1:].ravel()
    triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]).astype(np.int32)
    graph = build_graph(Surface(vertices, vertex_normals(vertices, triangles), triangles), 0.025)
    frame = np.tile(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), (len(graph), 1, 1))
    return graph, RestShape(graph, frame)


def seen_as(graph, what):
    return np.full(len(graph.node_index), what, np.uint8)


def offsets(plane, R, t, seen):
    """The rest that follows a state, without landmarks."""
    graph, shape = plane
    return shape.following(R, t, seen, np.zeros(len(graph))).offsets


def unturned(graph):
    return np.tile(np.eye(3), (len(graph), 1, 1))


def cylinder(graph, radius):
    """State of the sheet rolled isometrically about the y axis, away from the camera (+z)."""
    angle = graph.position[:, 0] / radius
    where = np.stack([radius * np.sin(angle), graph.position[:, 1], 0.7 + radius * (1 - np.cos(angle))], axis=1)
    return Rotation.from_rotvec(np.stack([0 * angle, -angle, 0 * angle], axis=1)).as_matrix(), where - graph.position


def test_a_rigid_motion_leaves_the_reference(plane):
    graph, shape = plane
    turn = Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
    state = np.tile(turn, (len(graph), 1, 1)), graph.position @ turn.T + [0.1, 0.0, 0.2] - graph.position
    np.testing.assert_allclose(offsets(plane, *state, seen_as(graph, SUPPORTED)), shape.reference, atol=1e-12)


def test_a_uniform_strain_is_taken_over_by_its_share(plane):
    graph, shape = plane
    strain = np.array([[0.04, 0.01, 0.0], [0.01, -0.02, 0.0], [0.0, 0.0, 0.0]])
    rest = offsets(plane, unturned(graph), graph.position @ strain, seen_as(graph, SUPPORTED))
    np.testing.assert_allclose(rest - shape.reference, STRAIN * TRUSTED * shape.reference @ strain, rtol=0.02, atol=1e-6)


def test_the_curvature_of_a_cylinder_is_taken_over(plane):
    graph, shape = plane
    rest = offsets(plane, *cylinder(graph, 0.2), seen_as(graph, SUPPORTED))
    d = shape.reference[:, 0]
    inner = (np.abs(graph.position[graph.edges[:, 0]]) < [0.1, 0.08, 1.0]).all(axis=1)
    np.testing.assert_allclose(rest[inner, 2], TRUSTED * d[inner] ** 2 / (2 * 0.2), rtol=0.05, atol=1e-5)


def test_what_is_bent_rises_as_an_arc_and_is_shorter_along_the_surface():
    """An edge of 0.1 m along x with a radius of curvature of 0.08 m: 1.25 rad of a circle."""
    tensors = np.zeros((2, 2, 3, 3))
    tensors[:, 1, 0, 0] = 1 / (2 * 0.08)
    frame = np.tile([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], (2, 1, 1))
    found = _rest(np.array([[0, 1], [1, 0]]), np.array([[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0]]), frame, tensors)
    chord, rise = 0.08 * np.sin(1.25), 0.08 * (1 - np.cos(1.25))
    along = 0.1 - SHORTENED * (0.1 - chord)
    np.testing.assert_allclose(found, [[along, 0, rise], [-along, 0, rise]], atol=1e-9)


def test_nothing_is_taken_over_where_nothing_is_seen(plane):
    graph, shape = plane
    np.testing.assert_array_equal(offsets(plane, *cylinder(graph, 0.2), seen_as(graph, UNSEEN)), shape.reference)


def test_hidden_parts_take_the_curvature_of_the_seen_ones_beside_them(plane):
    """The left half is bent and seen, the right half flat and hidden: just beyond the rim the rest shape is bent, far from it flat."""
    graph, shape = plane
    R, t = cylinder(graph, 0.2)
    right = graph.position[:, 0] > 0
    R[right], t[right] = np.eye(3), 0.0
    left_vertex = graph.position[graph.node_index[:, 0], 0] <= 0
    rest = offsets(plane, R, t, np.where(left_vertex, SUPPORTED, UNSEEN).astype(np.uint8))
    curvature = 2 * rest[:, 2] / np.maximum(shape.reference[:, 0] ** 2, 1e-12)
    x, along = graph.position[graph.edges[:, 0], 0], np.abs(shape.reference[:, 0]) > 0.02
    assert np.median(curvature[along & (x > 0.02) & (x < 0.05)]) == pytest.approx(1 / 0.2, rel=0.3)
    assert np.abs(curvature[along & (x > 0.19)]).max() < 0.1 / 0.2
