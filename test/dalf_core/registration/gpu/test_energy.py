"""Each term on Warp's devices against that of energy.py."""
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("warp")

from dalf_core.registration import energy  # noqa: E402
from dalf_core.registration.gpu.solver import GpuSolver  # noqa: E402
from dalf_core.registration.graph import build_graph  # noqa: E402
from dalf_core.registration.outline import nearest_surface  # noqa: E402
from dalf_core.registration.planes import plane_at  # noqa: E402
from dalf_core.registration.solver import Landmarks, Solver, Stage, State  # noqa: E402
from dalf_core.surface import surface_from_depth  # noqa: E402

from ...analytic import CAMERA, RolledSheet, turn  # noqa: E402
from .devices import DEVICES  # noqa: E402

NONE = Stage(iterations=1, landmark_sigma=0.01, depth_tukey=0.02, depth_gate=0.03, landmark_weight=0.0, depth_weight=0.0, stretch=0.0,
             bend=0.0)
TERMS = {"depth": replace(NONE, depth_weight=1.0), "landmark": replace(NONE, landmark_weight=2.0), "stretch": replace(NONE, stretch=1.0),
         "bend": replace(NONE, bend=1.0), "free space": replace(NONE, free_space=1.0),
         "all": replace(NONE, landmark_weight=2.0, depth_weight=0.7, stretch=0.5, bend=0.1, free_space=0.3)}


@pytest.fixture(scope="module")
def scene():
    """(surface, graph, state, depth, landmarks, outline): noise and holes, and vertices of every kind."""
    rng = np.random.default_rng(1)
    surface = surface_from_depth(RolledSheet().depth(), CAMERA, max_vertices=1500)
    graph = build_graph(surface, 0.04)
    rest = np.tile(np.eye(3), (len(graph), 1, 1)), np.zeros((len(graph), 3))
    state = State(*energy.apply_step(*rest, 0.03 * rng.normal(size=6 * len(graph))))
    chosen = rng.choice(len(surface.vertices), 60)      # some vertices have two
    points = surface.vertices[chosen] + 1e-3 * rng.normal(size=(60, 3))
    landmarks = Landmarks(points, points + 0.01 * rng.normal(size=points.shape), rng.choice([0.0, 0.5, 1.0], 60), chosen,
                          rng.random(60) < 0.4)
    depth = RolledSheet(0.3, R=turn((0, 1, 0.2), 12), shift=(0.02, 0, 0)).depth()
    depth[:, 170:190] *= 0.9
    depth += np.float32(0.001) * rng.normal(size=depth.shape).astype(np.float32)
    depth[(rng.random(depth.shape) < 0.1) | (depth < 0.1)] = 0
    return surface, graph, state, depth, landmarks


def solvers(scene, device):
    """(numba's, Warp's), before the scene's frame."""
    surface, graph, state, depth, _ = scene
    both = Solver(surface, graph, CAMERA), GpuSolver(surface, graph, CAMERA, device=device)
    for solver in both:
        solver._outline = nearest_surface(depth, solver._coarse, solver._reach(state))
    return both


@pytest.fixture(scope="module", params=DEVICES)
def both(request, scene):
    return solvers(scene, request.param)


def assert_close(actual, expected, share):
    """Within a share of the largest."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=share * np.abs(expected).max())


@pytest.mark.parametrize("term", TERMS)
def test_term(scene, both, term):
    _, _, state, depth, landmarks = scene
    ours, other = both
    expected = ours._evaluate(state, depth, landmarks, TERMS[term], ours._here)
    found = other._evaluate(state, depth, landmarks, TERMS[term], other._here)
    assert found.energy == pytest.approx(expected.energy, rel=1e-6) and found.energy > 0
    assert found.squares == pytest.approx(expected.squares, rel=1e-6) and found.supported == expected.supported > 300
    np.testing.assert_array_equal(found.seen, expected.seen)
    assert len(np.unique(found.seen)) == 4
    np.testing.assert_allclose(found.landmark_residual, expected.landmark_residual, rtol=1e-5)
    assert_close(other._here.rhs, ours._here.rhs, 5e-6)
    assert_close(other._here.diagonal.numpy(), ours._here.diagonal[:, :, :6].swapaxes(1, 2), 5e-6)
    assert_close(other._here.coupling.numpy(), ours._here.coupling[:, :, :6].swapaxes(1, 2), 5e-6)
    assert other._evaluate(state, depth, landmarks, TERMS[term], None).energy == found.energy


@pytest.mark.parametrize("two_sided", [True, False])
def test_from_behind(scene, both, two_sided):
    """The state turned round, so that most vertices show the camera their back."""
    surface, graph, state, _, landmarks = scene
    turned = RolledSheet(R=turn((0, 1, 0), 140))
    behind = State(turned.R @ state.R, state.t + turned.move(graph.position) - graph.position)
    depth, stage = turned.depth(), replace(TERMS["depth"], two_sided=two_sided)
    for solver in both:
        solver._planes.forget()
    expected, found = (solver._evaluate(behind, depth, landmarks, stage, solver._here) for solver in both)
    for solver in both:
        solver._planes.forget()
    np.testing.assert_array_equal(found.seen, expected.seen)
    assert found.energy == pytest.approx(expected.energy, rel=1e-6) and (expected.supported > 300) == two_sided
    assert_close(both[1]._here.rhs, both[0]._here.rhs, 2e-6)


def test_without_landmarks_and_with_others(scene, both):
    """What was sent for one set is not used for the next."""
    _, _, state, depth, landmarks = scene
    ours, other = both
    few = Landmarks(landmarks.points[:7], landmarks.targets[:7], landmarks.confidence[:7], landmarks.vertex[:7])
    none = Landmarks(landmarks.points[:0], landmarks.targets[:0], landmarks.confidence[:0], landmarks.vertex[:0])
    for some in (landmarks, few, none):
        expected = ours._evaluate(state, depth, some, TERMS["all"], ours._here)
        found = other._evaluate(state, depth, some, TERMS["all"], other._here)
        assert found.energy == pytest.approx(expected.energy, rel=1e-6)
        np.testing.assert_allclose(found.landmark_residual, expected.landmark_residual, rtol=1e-5)
        assert_close(other._here.rhs, ours._here.rhs, 5e-6)


def test_rest_shape_that_follows(scene, both):
    """Strained and curved as the scene, and what the stretch is then measured against."""
    _, graph, state, depth, landmarks = scene
    ours, other = both
    seen = ours._evaluate(state, depth, landmarks, TERMS["all"], None).seen
    marked = np.random.default_rng(3).uniform(0, 2, len(graph))
    rests = [solver._shape.following(state.R, state.t, seen, marked) for solver in both]
    assert rests[1].strain == pytest.approx(rests[0].strain, rel=1e-5) and rests[0].strain > 0.01
    for solver, rest in zip(both, rests):
        solver._rest = rest.offsets
    np.testing.assert_allclose(other._rest.numpy(), ours._rest, atol=1e-6 * graph.spacing)
    assert np.abs(ours._rest - ours._shape.reference).max() > 0.05 * graph.spacing
    try:
        expected = ours._evaluate(state, depth, landmarks, TERMS["stretch"], ours._here)
        found = other._evaluate(state, depth, landmarks, TERMS["stretch"], other._here)
    finally:
        for solver in both:
            solver._rest = solver._shape.reference
    assert found.energy == pytest.approx(expected.energy, rel=1e-6)
    assert_close(other._here.rhs, ours._here.rhs, 1e-6)


def test_planes_of_every_pixel(scene, both):
    _, _, _, depth, _ = scene
    ours, other = both
    planes = other._fitted_planes(depth).numpy()
    ours._planes.forget()
    expected = np.zeros_like(planes)
    for y, x in np.ndindex(depth.shape):
        found, inverse, b, c = plane_at(depth, ours._planes.value, ours._planes.known, ours._planes.radius, ours._planes.gate,
                                        float(x), float(y))
        if found:
            expected[y, x] = inverse, b, c
    assert (expected[..., 0] > 0).sum() > 5000
    np.testing.assert_allclose(planes, expected, rtol=2e-6, atol=2e-7)


def test_deformed_surface(scene, both):
    state = scene[2]
    for found, expected, limit in zip(both[1].deformed(state), both[0].deformed(state), (1e-7, 1e-6)):
        assert found.dtype == expected.dtype == np.float32 and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=limit)


def test_same_input_same_output(scene, both):
    _, _, state, depth, landmarks = scene
    other = both[1]
    found = [(other._evaluate(state, depth, landmarks, TERMS["all"], into).energy, into.rhs, into.coupling.numpy().copy())
             for into in (other._here, other._there)]
    for first, second in zip(*found):
        np.testing.assert_array_equal(first, second)
