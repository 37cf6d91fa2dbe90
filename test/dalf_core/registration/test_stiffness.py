"""Stiffness: the spread of known strains, and the weight that a solve gives to stretching."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dalf_core.registration.energy import SUPPORTED, UNSEEN
from dalf_core.registration.graph import build_graph
from dalf_core.registration.rest_shape import standard_deviation
from dalf_core.registration.solver import Evaluation, Landmarks, Solver, State
from dalf_core.registration.stages import final_stage
from dalf_core.registration.stiffness import EVIDENCE, STRAIN, WITHIN, stretch_weight
from dalf_core.surface import surface_from_depth

from ..analytic import CAMERA, RolledSheet

STAGE = final_stage(0.02, 1)


@pytest.fixture(scope="module")
def solver():
    """Of a flat sheet that faces the camera."""
    surface = surface_from_depth(RolledSheet().depth(), CAMERA, max_vertices=1500)
    return Solver(surface, build_graph(surface, 0.02), CAMERA)


def stretched(solver: Solver, strain) -> State:
    """Along x, by a strain that is a function of x."""
    x = solver.graph.position[:, 0]
    grid = np.linspace(x.min(), x.max(), 2000)
    moved = np.concatenate([[0], np.cumsum(strain(grid)[:-1] * np.diff(grid))])
    t = np.zeros((len(x), 3))
    t[:, 0] = np.interp(x, grid, moved)
    return State(np.tile(np.eye(3), (len(x), 1, 1)), t)


def everywhere(solver: Solver, state: State, every: int = 10) -> Landmarks:
    """Landmarks on every so many vertices, which agree with the state."""
    some = np.arange(0, len(solver.vertices), every)
    return Landmarks(solver.vertices[some], solver.deformed(state)[0][some].astype(float), np.ones(len(some)), some)


def weight(solver: Solver, state: State, what: int, landmarks: Landmarks | None = None) -> float:
    landmarks = everywhere(solver, state) if landmarks is None else landmarks
    found = Evaluation(0.0, 0.0, 0, np.full(len(solver.vertices), what, np.uint8), landmarks.distances(state, solver.graph))
    return solver._adapted(STAGE, state, found, landmarks).stretch


def mixed(own: float, landmarks: int) -> float:
    """The weight when so many landmarks speak for their own."""
    share = landmarks**2 / (landmarks**2 + EVIDENCE**2)
    return share * own + (1 - share) * STAGE.stretch


def test_deviation_counts_by_trust() -> None:
    tensors, trust = np.zeros((4, 3, 3)), np.array([1.0, 1.0, 2.0, 0.0])
    tensors[:, 0, 0], tensors[:, 0, 1] = [0.1, 0.1, -0.1, 9.0], 0.7
    assert standard_deviation(tensors, trust) == pytest.approx(0.1)
    assert standard_deviation(tensors, np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(0, abs=1e-8)
    assert np.isnan(standard_deviation(tensors, np.zeros(4)))


def wavy(amount: float) -> Callable[[np.ndarray], np.ndarray]:
    """A wave of strain over the sheet, of standard deviation amount / sqrt 2."""
    return lambda x: amount * np.sin(2 * np.pi * x / 0.36)


def test_an_even_stretch_is_no_sign_of_softness(solver: Solver) -> None:
    even = stretched(solver, lambda x: 0.1 + 0 * x)
    count = len(everywhere(solver, even))
    assert weight(solver, even, SUPPORTED) == pytest.approx(mixed(WITHIN[1], count))


def test_an_uneven_stretch_softens(solver: Solver) -> None:
    state = stretched(solver, wavy(0.05))
    count = len(everywhere(solver, state))
    assert weight(solver, state, SUPPORTED) == pytest.approx(mixed((STRAIN * np.sqrt(2) / 0.05) ** 2, count), rel=0.25)
    assert weight(solver, stretched(solver, wavy(0.1)), SUPPORTED) < 0.8 * weight(solver, state, SUPPORTED)


def test_what_nobody_sees_says_nothing(solver: Solver) -> None:
    assert weight(solver, stretched(solver, wavy(0.05)), UNSEEN) == STAGE.stretch


def test_only_landmarks_show_stretching(solver: Solver) -> None:
    """Depth slides along a surface: without landmarks, or with such as disagree, its strain is no evidence; a few are little."""
    state = stretched(solver, wavy(0.1))
    untrusted, elsewhere = everywhere(solver, state), everywhere(solver, stretched(solver, lambda x: 0.5 + 0 * x))
    assert weight(solver, state, SUPPORTED, replace(untrusted, confidence=np.zeros(len(untrusted)))) == STAGE.stretch
    assert weight(solver, state, SUPPORTED, elsewhere) > 0.9 * STAGE.stretch
    few, many = (weight(solver, state, SUPPORTED, everywhere(solver, state, every)) for every in (100, 10))
    assert many < 0.5 * STAGE.stretch and 0.8 * STAGE.stretch < few < STAGE.stretch


def test_the_weight_has_bounds() -> None:
    assert stretch_weight(0.4, STRAIN, 1e9) == pytest.approx(1.0)
    assert [stretch_weight(0.4, strain, 1e9) for strain in (0.0, 10.0)] == pytest.approx([WITHIN[1], WITHIN[0]], rel=1e-6)
    assert stretch_weight(0.4, np.nan, 50) == stretch_weight(0.4, 0.1, 0) == 0.4


def test_energies_of_fits_compare(solver: Solver) -> None:
    """A crumpled state is no better than a smooth one because it softens its own stiffness."""
    depth = RolledSheet().depth()
    some = np.arange(0, len(solver.vertices), 20)
    landmarks = Landmarks(solver.vertices[some], solver.vertices[some], np.ones(len(some)), some)
    good = solver.solve(stretched(solver, lambda x: 0 * x), depth, landmarks, [STAGE])
    crumpled = solver.solve(stretched(solver, lambda x: 0.3 * np.sin(2 * np.pi * x / 0.1)), depth, landmarks, [STAGE])
    energies = [solver.energy_of(fit, depth, landmarks, STAGE) for fit in (good, crumpled)]
    assert energies[0] < energies[1]
    assert solver.energy_of(good, depth, landmarks, STAGE) == energies[0]
