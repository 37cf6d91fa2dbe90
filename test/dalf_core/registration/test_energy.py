"""The analytic derivatives against numeric ones."""
import numpy as np
import pytest

from dalf_core.registration import energy
from dalf_core.registration.energy import EQUATIONS, GRADIENT, VALUE
from dalf_core.registration.graph import build_graph
from dalf_core.registration.solver import Landmarks, Solver, Stage, State
from dalf_core.surface import surface_from_depth

from ..analytic import CAMERA, RolledSheet, turn

# only the named term, and no robust gate in reach of the test
TERMS = {"depth": Stage(1, 1.0, 0.1, 0.5, 0.0, 1.0, 0.0, 0.0), "landmark": Stage(1, 0.02, 0.1, 0.5, 1.0, 0.0, 0.0, 0.0),
         "stretch": Stage(1, 1.0, 0.1, 0.5, 0.0, 0.0, 1.0, 0.0), "bend": Stage(1, 1.0, 0.1, 0.5, 0.0, 0.0, 0.0, 1.0),
         "free space": Stage(1, 1.0, 0.1, 1e-4, 0.0, 0.0, 0.0, 0.0, 1.0)}         # a gate that no vertex passes: none is supported


@pytest.fixture(scope="module")
def scene():
    surface = surface_from_depth(RolledSheet().depth(), CAMERA, max_vertices=1500)
    graph = build_graph(surface, 0.06)
    rng = np.random.default_rng(1)
    rest = np.tile(np.eye(3), (len(graph), 1, 1)), np.zeros((len(graph), 3))
    state = State(*energy.apply_step(*rest, 0.02 * rng.normal(size=6 * len(graph))))
    chosen = rng.choice(len(surface.vertices), 40, replace=False)
    points = surface.vertices[chosen].astype(float)
    landmarks = Landmarks(points, points + 0.01 * rng.normal(size=points.shape), rng.uniform(0.3, 1, 40),
                          graph.node_index[chosen], graph.weight[chosen])
    # a plane everywhere: its fit does not depend on where a vertex lands, so that the derivative is exact
    depth = RolledSheet(R=turn((0, 1, 0.2), 12), half_width=9, half_height=9).depth()
    return Solver(surface, graph, CAMERA), state, depth, landmarks


@pytest.mark.parametrize("term", TERMS)
def test_gradient(scene, term):
    solver, state, depth, landmarks = scene
    stage = TERMS[term]
    solver._outline = np.full((*depth.shape, 2), (-300.0, 220.0), np.float32)        # far from all, so that one pixel is nothing

    def value(step):
        return solver._evaluate(State(*energy.apply_step(state.R, state.t, step)), depth, landmarks, stage, VALUE).energy

    solver._evaluate(state, depth, landmarks, stage, EQUATIONS)
    downhill = solver._rhs.copy()
    solver._evaluate(state, depth, landmarks, stage, GRADIENT)
    np.testing.assert_array_equal(solver._rhs, downhill)
    numeric = np.zeros_like(downhill)
    for i in range(len(numeric)):
        step = np.zeros_like(numeric)
        step[i] = 1e-5
        numeric[i] = (value(step) - value(-step)) / 2e-5
    if term == "depth":        # no weight: only where the vertices are seen
        assert np.abs(numeric).max() > 1e-4
    assert np.linalg.norm(numeric + downhill) < 2e-3 * np.linalg.norm(downhill)


def test_normal_matrix_is_that_of_the_landmark_rows(scene):
    """One landmark: H = a w^2 J^T J with J from finite differences of the deformed point."""
    solver, state, depth, landmarks = scene
    one = Landmarks(landmarks.points[:1], landmarks.targets[:1], np.ones(1), landmarks.node_index[:1], landmarks.node_weight[:1])
    solver._evaluate(state, depth, one, TERMS["landmark"], EQUATIONS)
    size = len(solver._rhs)

    def place(step):
        R, t = energy.apply_step(state.R, state.t, step)
        return energy.deform_points(one.points, one.node_index, one.node_weight, R, t, solver.graph.position)[0]

    J = np.stack([(place(1e-6 * row) - place(-1e-6 * row)) / 2e-6 for row in np.eye(size)], axis=1)
    square = ((place(np.zeros(size)) - one.targets[0]) ** 2).sum()
    robust = (0.02**2 / (0.02**2 + square)) ** 2
    expected = robust * J.T @ J
    got = np.zeros((size, size))
    for c in range(size):
        for k in range(min(solver._band.shape[1], size - c)):
            got[c + k, c] = got[c, c + k] = solver._band[c, k]
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_step_keeps_rotations_orthonormal():
    rng = np.random.default_rng(0)
    R, t = np.tile(np.eye(3), (5, 1, 1)), np.zeros((5, 3))
    for _ in range(3000):
        R, t = energy.apply_step(R, t, 0.3 * rng.normal(size=30))
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.tile(np.eye(3), (5, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(R), 1, atol=1e-12)
