"""Conjugate gradients against a dense solve."""
import numpy as np
import pytest

from dalf_core.registration.graph import build_graph
from dalf_core.registration.normal_equations import NormalEquations, conjugate_gradients
from dalf_core.surface import Surface, surface_from_depth

from ..analytic import CAMERA, RolledSheet
from .dense import dense_matrix

DAMPING = np.array([1e-6, 1e-6, 1e-6, 1e-3, 1e-3, 1e-3])


@pytest.fixture(scope="module")
def graph():
    return build_graph(surface_from_depth(RolledSheet().depth(), CAMERA, max_vertices=1500), 0.03)


@pytest.fixture()
def equations(graph):
    """Positive definite, couplings as strong as they get, unknowns of very different scale as in practice."""
    equations, rng = NormalEquations(graph), np.random.default_rng(3)
    scale = np.array([0.02, 0.02, 0.02, 1, 1, 1])
    for i, j in graph.edges:
        a, b = scale * rng.normal(size=(2, 6))
        equations.diagonal[i, :, :6] += np.outer(a, a)
        equations.diagonal[j, :, :6] += np.outer(b, b)
        equations.coupling[(graph.edges == (i, j)).all(axis=1), :, :6] += np.outer(b, a)
    equations.symmetrise()
    equations.rhs[:] = scale * rng.normal(size=equations.rhs.shape)
    return equations


@pytest.mark.parametrize("tolerance, limit", [(1e-3, 2e-2), (1e-5, 3e-4)])
def test_step_is_that_of_a_dense_solve(graph, equations, tolerance, limit):
    whole = dense_matrix(equations, graph) + np.diag(np.tile(DAMPING, len(graph)))
    expected = np.linalg.solve(whole, equations.rhs.ravel())
    step = equations.solve(DAMPING, tolerance).ravel()
    energy_norm = np.sqrt((step - expected) @ whole @ (step - expected)) / np.sqrt(expected @ whole @ expected)
    assert energy_norm < limit


def test_solving_leaves_the_equations_as_they_are(graph, equations):
    first = equations.solve(DAMPING)
    assert np.linalg.norm(equations.solve(1e3 * DAMPING)) < np.linalg.norm(first)
    np.testing.assert_array_equal(equations.solve(DAMPING), first)


def test_nodes_that_nothing_couples_are_solved_at_once():
    """Three triangles far apart: three nodes without edges."""
    corner = np.float32([[0, 0, 1], [0, 1e-3, 1], [1e-3, 0, 1]])
    vertices = np.concatenate([corner, corner + np.float32([1, 0, 0]), corner + np.float32([2, 0, 0])])
    surface = Surface(vertices, np.tile(np.float32([0, 0, -1]), (9, 1)), np.arange(9, dtype=np.int32).reshape(3, 3))
    graph = build_graph(surface, 0.1)
    assert len(graph) == 3 and len(graph.edges) == 0
    equations, rng = NormalEquations(graph), np.random.default_rng(0)
    J = rng.normal(size=(3, 9, 6))
    equations.diagonal[:, :, :6] = np.einsum("kri,krj->kij", J, J)
    equations.rhs[:] = rng.normal(size=(3, 6))
    x, solved, iterations = conjugate_gradients(graph.first_edge, graph.edges, equations.diagonal, equations.coupling, equations.rhs,
                                                np.zeros(6), 1e-3, 50)
    assert solved and iterations == 1
    np.testing.assert_allclose(x, [np.linalg.solve(j.T @ j, b) for j, b in zip(J, equations.rhs)], rtol=1e-3)


def test_nothing_to_do_is_no_step(graph, equations):
    equations.rhs[:] = 0
    np.testing.assert_array_equal(equations.solve(DAMPING), 0)


@pytest.mark.parametrize("spoil", ["singular", "negative", "nan", "infinite", "indefinite"])
def test_what_is_not_positive_definite_is_refused(graph, equations, spoil):
    if spoil == "singular":
        equations.diagonal[5, :, 2] = equations.diagonal[5, 2] = 0
    elif spoil == "negative":
        equations.diagonal[5] *= -1
    elif spoil == "indefinite":
        equations.coupling *= 100
    else:
        equations.coupling[7, 2, 3] = np.nan if spoil == "nan" else np.inf
    assert equations.solve(np.zeros(6) if spoil == "singular" else DAMPING) is None
