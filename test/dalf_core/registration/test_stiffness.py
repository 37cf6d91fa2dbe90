"""Stiffness: the spread of known strains, and the weight that a solve gives to stretching."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core.registration.energy import SUPPORTED, UNSEEN
from dalf_core.registration.graph import build_graph
from dalf_core.registration.nonrigid import final_stage
from dalf_core.registration.rest_shape import spread
from dalf_core.registration.solver import Landmarks, Solver, State
from dalf_core.registration.stiffness import STRAIN, WITHIN, stretch_weight
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


def weight(solver: Solver, state: State, what: int) -> float:
    return solver._followed(STAGE, state, np.full(len(solver.vertices), what, np.uint8)).stretch


def test_spread_counts_by_trust() -> None:
    tensors, trust = np.zeros((4, 3, 3)), np.array([1.0, 1.0, 2.0, 0.0])
    tensors[:, 0, 0], tensors[:, 0, 1] = [0.1, 0.1, -0.1, 9.0], 0.7
    assert spread(tensors, trust) == pytest.approx(0.1)
    assert spread(tensors, np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(0, abs=1e-8)
    assert np.isnan(spread(tensors, np.zeros(4)))


def test_an_even_stretch_is_no_sign_of_softness(solver: Solver) -> None:
    assert weight(solver, stretched(solver, lambda x: 0.1 + 0 * x), SUPPORTED) == WITHIN[1]


def test_an_uneven_stretch_softens(solver: Solver) -> None:
    """A wave of strain over the sheet: its standard deviation is the amplitude / sqrt 2."""
    soft = weight(solver, stretched(solver, lambda x: 0.05 * np.sin(2 * np.pi * x / 0.36)), SUPPORTED)
    assert soft == pytest.approx((STRAIN * np.sqrt(2) / 0.05) ** 2, rel=0.25)
    softer = weight(solver, stretched(solver, lambda x: 0.1 * np.sin(2 * np.pi * x / 0.36)), SUPPORTED)
    assert softer == pytest.approx(soft / 4, rel=0.01)


def test_what_nobody_sees_says_nothing(solver: Solver) -> None:
    assert weight(solver, stretched(solver, lambda x: 0.05 * np.sin(2 * np.pi * x / 0.36)), UNSEEN) == STAGE.stretch


def test_the_weight_has_bounds() -> None:
    assert stretch_weight(STRAIN) == 1.0
    assert [stretch_weight(strain) for strain in (0.0, 10.0)] == [WITHIN[1], WITHIN[0]]


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
