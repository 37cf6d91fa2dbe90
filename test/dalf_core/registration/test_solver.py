"""Steps are guarded, and no more of them are made than pay."""
import numpy as np
import pytest

from dalf_core.registration import energy
from dalf_core.registration.graph import build_graph
from dalf_core.registration.normal_equations import NormalEquations
from dalf_core.registration.solver import RISE, Landmarks, Solver, State
from dalf_core.registration.stages import cold_stages, final_stage, warm_stages
from dalf_core.surface import surface_from_depth

from ..analytic import CAMERA, RolledSheet, turn

MOVED = RolledSheet(R=turn((0, 1, 0.2), 3), shift=(0.004, 0, 0.005))
STAGE = final_stage(0.02, 10)


@pytest.fixture()
def scene():
    """(solver, start, depth, landmarks, where the vertices are)"""
    surface = surface_from_depth(RolledSheet().depth(), CAMERA, max_vertices=1500)
    graph = build_graph(surface, 0.04)
    some = np.arange(0, len(surface.vertices), 20)
    truth = MOVED.move(surface.vertices.astype(float))
    landmarks = Landmarks(surface.vertices[some].astype(float), truth[some], np.ones(len(some)), some)
    start = State(np.tile(np.eye(3), (len(graph), 1, 1)), np.zeros((len(graph), 3)))
    return Solver(surface, graph, CAMERA), start, MOVED.depth(), landmarks, truth


def energy_at(solver, state, depth, landmarks):
    return solver._evaluate(state, depth, landmarks, STAGE, None).energy


def test_found_in_few_steps_and_kept(scene):
    solver, start, depth, landmarks, _ = scene
    fit = solver.solve(start, depth, landmarks, [STAGE])
    assert fit.iterations <= 4 and fit.energy < 0.02 * energy_at(solver, start, depth, landmarks)
    assert np.median(fit.landmark_residual) < 5e-4
    assert fit.energy == pytest.approx(energy_at(solver, fit.state, depth, landmarks), rel=1e-12)
    again = solver.solve(fit.state, depth, landmarks, [STAGE])
    assert again.iterations == 1 and again.energy == pytest.approx(fit.energy, rel=0.05)


@pytest.mark.parametrize("step", [None, np.nan, 1e12])
def test_steps_that_are_no_use_are_refused(scene, monkeypatch, step):
    """No solution, not finite, far beyond: the start stays, and damping grows until that is given up."""
    solver, start, depth, landmarks, _ = scene
    solve, damping = NormalEquations.solve, []

    def useless(self, amount):
        damping.append(amount[3])
        return None if step is None else step * solve(self, amount)

    monkeypatch.setattr(NormalEquations, "solve", useless)
    fit = solver.solve(start, depth, landmarks, [STAGE])
    np.testing.assert_array_equal(fit.state.R, start.R)
    np.testing.assert_array_equal(fit.state.t, start.t)
    assert fit.energy == energy_at(solver, start, depth, landmarks)
    np.testing.assert_allclose(np.diff(np.log(damping)), np.log(30))


def test_a_step_uphill_raises_the_energy_by_no_more_than_new_neighbours_do(scene, monkeypatch):
    solver, start, depth, landmarks, _ = scene
    solve = NormalEquations.solve
    monkeypatch.setattr(NormalEquations, "solve", lambda self, damping: -solve(self, damping))
    fit = solver.solve(start, depth, landmarks, [STAGE])
    assert fit.energy <= (1 + RISE) * energy_at(solver, start, depth, landmarks)


def test_a_refused_step_is_made_again_with_more_damping(scene, monkeypatch):
    """The equations are still those of the state that stayed."""
    solver, start, depth, landmarks, _ = scene
    expected = solver.solve(start, depth, landmarks, [STAGE])
    solve, calls = NormalEquations.solve, []

    def first_fails(self, damping):
        calls.append(damping[3])
        return (-1e3 if len(calls) == 1 else 1.0) * solve(self, damping)

    monkeypatch.setattr(NormalEquations, "solve", first_fails)
    fit = solver.solve(start, depth, landmarks, [STAGE])
    assert calls[1] == pytest.approx(30 * calls[0])
    assert fit.energy == pytest.approx(expected.energy, rel=0.05)


def test_nothing_to_go_by_leaves_the_state(scene):
    """No depth and no landmark: rigidity alone, which is content, and an equation system that is singular but for its damping."""
    solver, start, depth, landmarks, _ = scene
    none = Landmarks(landmarks.points[:0], landmarks.targets[:0], landmarks.confidence[:0], landmarks.vertex[:0])
    fit = solver.solve(start, np.zeros_like(depth), none, [STAGE])
    np.testing.assert_allclose(fit.state.t, 0, atol=1e-9)
    assert fit.state.finite() and fit.energy == pytest.approx(0, abs=1e-12) and fit.supported == 0


@pytest.mark.parametrize(("stages", "seen"), [(warm_stages(0.02), True), (cold_stages(0.02), False)])
def test_a_tracked_surface_is_followed_from_behind(scene, stages, seen):
    """The sheet turned by 150 degrees shows its back: tracking knows that it does, a first guess may as well be of a hidden part."""
    solver, _, _, _, _ = scene
    turned = RolledSheet(R=turn((0, 1, 0), 150))
    truth = turned.move(solver.vertices)
    moved = turned.move(solver.graph.position) - solver.graph.position + (0, 0, 0.008)
    start = State(np.tile(turned.R, (len(solver.graph), 1, 1)), moved)
    fit = solver.solve(start, turned.depth(), Landmarks(*np.zeros((2, 0, 3)), np.zeros(0), np.zeros(0, int)), stages)
    assert (np.mean(fit.seen == energy.SUPPORTED) > 0.9) == seen
    off = np.abs((solver.deformed(fit.state)[0] - truth) @ turned.R[:, 2])
    assert (np.median(off) < 2e-4) == seen
