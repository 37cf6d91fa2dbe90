import numpy as np
import pytest

from dalf_core.registration.graph import build_graph
from dalf_core.surface import Surface, surface_from_depth

from ..analytic import CAMERA, RolledSheet


@pytest.fixture(scope="module")
def surface():
    return surface_from_depth(RolledSheet(radius=0.2).depth(), CAMERA, max_vertices=6000)


def test_nodes_are_a_spacing_apart_and_cover_the_surface(surface):
    graph = build_graph(surface, 0.02)
    apart = np.linalg.norm(graph.position[:, None] - graph.position[None], axis=2) + np.eye(len(graph))
    assert apart.min() > 0.02 * 0.85                    # paths along mesh edges are up to 8 % longer than straight
    nearest = np.linalg.norm(surface.vertices[:, None] - graph.position[None], axis=2).min(axis=1)
    assert nearest.max() <= 0.02


def test_weights_sum_to_one_and_fade(surface):
    graph = build_graph(surface, 0.02)
    np.testing.assert_allclose(graph.weight.sum(axis=1), 1, atol=1e-12)
    assert (np.diff(graph.weight, axis=1) <= 1e-12).all()      # nearest node first


def test_automatic_spacing_bounds_the_number_of_nodes(surface):
    assert 250 <= len(build_graph(surface)) <= 500


def test_sheets_close_to_each_other_stay_separate():
    """Two flat sheets 5 mm apart with nodes 20 mm apart: nothing may tie one to the other."""
    flat = surface_from_depth(RolledSheet().depth(), CAMERA, max_vertices=3000)
    count = len(flat.vertices)
    two = Surface(np.concatenate([flat.vertices, flat.vertices + np.float32([0, 0, 0.005])]), np.tile(flat.normals, (2, 1)),
                  np.concatenate([flat.triangles, flat.triangles + count]))
    graph = build_graph(two, 0.02)
    upper = graph.position[:, 2] < flat.vertices[0, 2] + 0.0025
    assert (upper[graph.edges[:, 0]] == upper[graph.edges[:, 1]]).all()
    first_sheet = np.arange(2 * count) < count
    assert (upper[graph.node_index] == first_sheet[:, None]).all()


def test_edges_are_the_pairs_that_share_a_vertex(surface):
    graph = build_graph(surface, 0.02)
    expected = {(i, j) for nodes, weights in zip(graph.node_index, graph.weight)
                for i in nodes[weights > 0] for j in nodes[weights > 0] if i != j}
    assert [tuple(edge) for edge in graph.edges] == sorted(expected)
    np.testing.assert_array_equal(graph.edges[graph.reverse], graph.edges[:, ::-1])
    for k in range(len(graph)):
        assert (graph.edges[graph.first_edge[k]:graph.first_edge[k + 1], 0] == k).all()
    assert graph.first_edge[-1] == len(graph.edges)


def test_pairs_are_the_edges_between_the_nodes_of_a_vertex(surface):
    graph = build_graph(surface, 0.02)
    padded = 0
    for nodes, weights, pairs in zip(graph.node_index, graph.weight, graph.pairs):
        for pair, (a, b) in zip(pairs, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]):
            if weights[a] > 0 and weights[b] > 0:
                assert tuple(graph.edges[pair]) == (nodes[a], nodes[b])
            else:
                padded += 1
                assert pair == -1
    assert padded > 0


@pytest.mark.parametrize("spacing", [0, -0.01, float("nan")])
def test_spacing_must_be_positive(surface, spacing):
    with pytest.raises(ValueError, match="positive"):
        build_graph(surface, spacing)
