"""The analytic derivatives against numeric ones."""
from dataclasses import replace

import numpy as np
import pytest

from dalf_core.registration import energy
from dalf_core.registration.graph import build_graph
from dalf_core.registration.normal_equations import NormalEquations
from dalf_core.registration.outline import Outline
from dalf_core.registration.solver import Landmarks, Solver, Stage, State
from dalf_core.surface import surface_from_depth

from ..analytic import CAMERA, RolledSheet, turn
from .dense import dense_matrix

# only the named term, and no robust gate in reach of the test
NONE = Stage(iterations=1, landmark_sigma=0.02, depth_tukey=0.1, depth_gate=0.5, landmark_weight=0.0, depth_weight=0.0, stretch=0.0,
             bend=0.0)
TERMS = {"depth": replace(NONE, depth_weight=1.0), "landmark": replace(NONE, landmark_weight=1.0),
         "stretch": replace(NONE, stretch=1.0), "bend": replace(NONE, bend=1.0),
         "free space": replace(NONE, depth_gate=1e-4, free_space=1.0)}         # a gate that no vertex passes: none is supported


@pytest.fixture(scope="module")
def scene():
    surface = surface_from_depth(RolledSheet().depth(), CAMERA, max_vertices=1500)
    graph = build_graph(surface, 0.06)
    rng = np.random.default_rng(1)
    rest = np.tile(np.eye(3), (len(graph), 1, 1)), np.zeros((len(graph), 3))
    state = State(*energy.apply_step(*rest, 0.02 * rng.normal(size=6 * len(graph))))
    chosen = rng.choice(len(surface.vertices), 40, replace=False)
    points = surface.vertices[chosen].astype(float)
    landmarks = Landmarks(points, points + 0.01 * rng.normal(size=points.shape), rng.uniform(0.3, 1, 40), chosen, rng.random(40) < 0.5)
    # a plane everywhere: its fit does not depend on where a vertex lands, so that the derivative is exact
    depth = RolledSheet(R=turn((0, 1, 0.2), 12), half_width=9, half_height=9).depth()
    return Solver(surface, graph, CAMERA), state, depth, landmarks


def far_outline(depth):
    """One place far from all, so that a pixel more or less is nothing."""
    return Outline(np.zeros(depth.shape, np.int32), np.float32([[-300.0, 220.0]]))


@pytest.mark.parametrize("term", TERMS)
def test_gradient(scene, term):
    solver, state, depth, landmarks = scene
    stage = TERMS[term]
    solver._outline = far_outline(depth)

    def value(step):
        return solver._evaluate(State(*energy.apply_step(state.R, state.t, step)), depth, landmarks, stage, None).energy

    equations = NormalEquations(solver.graph)
    there = solver._evaluate(state, depth, landmarks, stage, equations)
    downhill = equations.rhs.ravel()
    assert there.energy == pytest.approx(value(np.zeros_like(downhill)), rel=1e-12)
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
    one = Landmarks(landmarks.points[:1], landmarks.targets[:1], np.ones(1), landmarks.vertex[:1])
    graph, equations = solver.graph, NormalEquations(solver.graph)
    solver._evaluate(state, depth, one, TERMS["landmark"], equations)
    size = equations.rhs.size

    def place(step):
        R, t = energy.apply_step(state.R, state.t, step)
        return energy.deform_points(one.points, graph.node_index[one.vertex], graph.weight[one.vertex], R, t, graph.position)[0]

    J = np.stack([(place(1e-6 * row) - place(-1e-6 * row)) / 2e-6 for row in np.eye(size)], axis=1)
    square = ((place(np.zeros(size)) - one.targets[0]) ** 2).sum()
    robust = (0.02**2 / (0.02**2 + square)) ** 2
    np.testing.assert_allclose(dense_matrix(equations, graph), robust * J.T @ J, atol=2e-6)


@pytest.mark.parametrize("stretch, bend", [(1.0, 0.0), (0.0, 1.0), (0.5, 0.02)])
def test_normal_matrix_of_rigidity(scene, stretch, bend):
    """H = J^T J with J from finite differences of the misfits: the neighbour where it is, less where the node puts it, in axes that turn
    with the node."""
    solver, state, depth, landmarks = scene
    graph, equations = solver.graph, NormalEquations(solver.graph)
    solver._evaluate(state, depth, landmarks, replace(NONE, stretch=stretch, bend=bend), equations)
    i, j = graph.edges.T
    weight = np.sqrt([bend, stretch, stretch])

    def misfits(step):
        R, t = energy.apply_step(state.R, state.t, step)
        apart = graph.position[j] - graph.position[i]
        r = np.einsum("eij,ej->ei", R[i], apart) - apart + t[i] - t[j]
        return (weight * np.einsum("eaj,ekj,ek->ea", solver.frame[i], R[i], r)).ravel()

    rows = np.eye(equations.rhs.size)
    J = np.stack([(misfits(1e-6 * row) - misfits(-1e-6 * row)) / 2e-6 for row in rows], axis=1)
    np.testing.assert_allclose(dense_matrix(equations, graph), J.T @ J, atol=1e-5)
    np.testing.assert_allclose(equations.rhs.ravel(), -J.T @ misfits(0 * rows[0]), atol=1e-7)


def test_normal_matrix_of_all_terms_is_the_sum(scene):
    """All at once, against term after term; symmetric, with no negative eigenvalue."""
    solver, state, depth, landmarks = scene
    solver._outline = far_outline(depth)
    graph, equations = solver.graph, NormalEquations(solver.graph)
    parts = np.zeros((equations.rhs.size,) * 2)
    terms = [{"landmark_weight": 2.0}, {"depth_weight": 0.7}, {"stretch": 0.5, "bend": 0.1}, {"free_space": 0.3}]
    for weights in terms:
        solver._evaluate(state, depth, landmarks, replace(NONE, **weights), equations)
        parts += dense_matrix(equations, graph)
    every = {name: weight for weights in terms for name, weight in weights.items()}
    solver._evaluate(state, depth, landmarks, replace(NONE, **every), equations)
    whole = dense_matrix(equations, graph)
    np.testing.assert_allclose(whole, parts, atol=1e-4)
    np.testing.assert_allclose(whole, whole.T, atol=1e-6)
    assert np.linalg.eigvalsh(whole).min() > -1e-4


def test_step_keeps_rotations_orthonormal():
    rng = np.random.default_rng(0)
    R, t = np.tile(np.eye(3), (5, 1, 1)), np.zeros((5, 3))
    for _ in range(3000):
        R, t = energy.apply_step(R, t, 0.3 * rng.normal(size=30))
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.tile(np.eye(3), (5, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(R), 1, atol=1e-12)
