"""Whole registrations on Warp's devices against numba's on the CPU."""
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

pytest.importorskip("warp")

from dalf_core import NonRigidRegistration  # noqa: E402
from dalf_core.registration import devices  # noqa: E402
from dalf_core.registration.devices import solver_on  # noqa: E402
from dalf_core.registration.gpu.solver import GpuSolver  # noqa: E402
from dalf_core.registration.graph import build_graph  # noqa: E402
from dalf_core.registration.solver import Landmarks, Solver, State  # noqa: E402
from dalf_core.registration.stages import final_stage  # noqa: E402
from dalf_core.surface import Surface, surface_from_depth  # noqa: E402

from ...analytic import CAMERA, RolledSheet, turn  # noqa: E402
from .devices import DEVICES  # noqa: E402

SAME_MM = 0.05          # the same to within this, at every vertex; 0.001 unless one at a threshold is judged otherwise


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


def pair(device, **options):
    """(on the CPU, by Warp)"""
    both = [NonRigidRegistration(CAMERA, max_vertices=2500, **options) for _ in range(2)]
    both[1]._make_solver = partial(GpuSolver, device=device)
    for registration in both:
        registration.set_reference(RolledSheet().depth())
    return both


def noisy(scene, index):
    """(depth, reference pixels, current pixels): 1 mm of noise, a tenth of the readings missing, a fifth of the matches wrong."""
    rng = np.random.default_rng(index)
    depth = scene.depth()
    depth[depth > 0] += rng.normal(0, 1e-3, (depth > 0).sum()).astype(np.float32)
    depth[rng.random(depth.shape) < 0.1] = np.nan
    reference, current = scene.pairs(seed=index)
    wrong = rng.random(len(current)) < 0.2
    current[wrong] = rng.uniform([90, 70], [230, 170], (wrong.sum(), 2))
    return depth, reference, current


def assert_same(found, expected):
    assert found.status == expected.status and found.reason == expected.reason
    assert 1e3 * np.linalg.norm(found.vertices - expected.vertices, axis=1).max() < SAME_MM
    np.testing.assert_allclose(found.normals, expected.normals, atol=1e-3)
    assert (found.visible != expected.visible).mean() < 1e-3
    np.testing.assert_array_equal(found.inlier, expected.inlier)
    assert found.residual_m == pytest.approx(expected.residual_m, rel=1e-3, nan_ok=True)


def test_cold_start_and_tracking(device):
    """Bending and turning, then hidden for a frame, then found elsewhere."""
    ours, other = pair(device)
    scenes = [RolledSheet(1 / (0.5 + k), turn((0.3, 1, 0), 3 * k), (0.004 * k, 0, 0.005 * k)) for k in range(6)]
    for index, scene in enumerate(scenes):
        frame = noisy(scene, index)
        expected, found = ours.register(*frame), other.register(*frame)
        assert found.status == "tracked"
        assert_same(found, expected)
    hidden = np.full((240, 320), 0.3, np.float32), np.zeros((0, 2)), np.zeros((0, 2))
    assert_same(other.register(*hidden), ours.register(*hidden))
    frame = noisy(RolledSheet(0.25, turn((0, 0, 1), 30), (-0.04, 0.02, 0.05)), 9)
    assert_same(other.register(*frame), ours.register(*frame))


@pytest.mark.parametrize("reading", [0.0, np.nan, np.inf, 5.0])
def test_useless_depth_is_lost_not_nan(device, reading):
    _, other = pair(device)
    frame = noisy(RolledSheet(0.3), 0)
    assert other.register(*frame).status == "tracked"
    result = other.register(np.full((240, 320), reading, np.float32), *frame[1:])
    assert result.status == "lost" and np.isfinite(result.vertices).all()


def test_depth_alone(device):
    ours, other = pair(device)
    for registration in (ours, other):
        registration.register(*noisy(RolledSheet(), 0))
    moved = RolledSheet(R=turn((0.2, 1, 0), 1), shift=(0, 0, 0.002)).depth(), np.zeros((0, 2)), np.zeros((0, 2))
    assert_same(other.register(*moved), ours.register(*moved))


def test_growing_sends_the_new_surface(device):
    """Half the sheet is the reference; the other half joins."""
    sizes = []
    for registration in pair(device, grow_to=4000):
        half = RolledSheet().depth()
        half[:, 160:] = np.nan
        registration.set_reference(half)
        before = len(registration.reference_vertices)
        for index in range(6):
            result = registration.register(RolledSheet().depth(), *RolledSheet().pairs(seed=index))
            assert result.status == "tracked" and result.vertices.shape == result.normals.shape == registration.reference_vertices.shape
        sizes.append(len(result.vertices))
        assert len(result.vertices) > before
    assert sizes[0] == sizes[1]


def test_nodes_without_edges(device):
    """Three small pieces far apart, which a landmark each draws."""
    corner = np.float32([[0, 0, 1], [0, 1e-3, 1], [1e-3, 0, 1]])
    vertices = np.concatenate([corner, corner + np.float32([0.1, 0, 0]), corner + np.float32([0.2, 0, 0])])
    surface = Surface(vertices, np.tile(np.float32([0, 0, -1]), (9, 1)), np.arange(9, dtype=np.int32).reshape(3, 3))
    graph = build_graph(surface, 0.05)
    assert len(graph) == 3 and len(graph.edges) == 0
    moved = np.array([[0.0, 0, 0.01], [0, 0.01, 0], [0.01, 0, 0]])
    landmarks = Landmarks(vertices[[0, 3, 6]].astype(float), vertices[[0, 3, 6]] + moved, np.ones(3), np.array([0, 3, 6]))
    start = State(np.tile(np.eye(3), (3, 1, 1)), np.zeros((3, 3)))
    fits = [solver.solve(start, np.zeros((240, 320), np.float32), landmarks, [final_stage(0.02, 10)])
            for solver in (Solver(surface, graph, CAMERA), GpuSolver(surface, graph, CAMERA, device=device))]
    np.testing.assert_allclose(fits[1].state.t, fits[0].state.t, atol=1e-7)
    assert np.median(fits[1].landmark_residual) < 1e-4


def test_nothing_to_go_by_leaves_the_state(device):
    surface = surface_from_depth(RolledSheet().depth(), CAMERA, max_vertices=1500)
    graph = build_graph(surface, 0.04)
    start = State(np.tile(np.eye(3), (len(graph), 1, 1)), np.zeros((len(graph), 3)))
    none = Landmarks(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros(0, int))
    fit = GpuSolver(surface, graph, CAMERA, device=device).solve(start, np.zeros((240, 320), np.float32), none, [final_stage(0.02, 10)])
    np.testing.assert_allclose(fit.state.t, 0, atol=1e-7)
    assert fit.state.finite() and fit.energy == pytest.approx(0, abs=1e-10) and fit.supported == 0


def test_same_input_same_output(device):
    results = []
    for _ in range(2):
        other = pair(device)[1]
        results.append([other.register(*noisy(RolledSheet(0.3), index)).vertices for index in range(2)])
    np.testing.assert_array_equal(*results)


def test_threads_do_not_disturb_each_other(device):
    """Two surfaces, each made and followed in a thread of its own, come out as one after the other."""
    def follow(seed):
        other = pair(device)[1]
        return [other.register(*noisy(RolledSheet(0.3), seed + index)).vertices for index in range(3)]

    expected = [follow(seed) for seed in (0, 10)]
    with ThreadPoolExecutor(2) as pool:
        for first, second in zip(pool.map(follow, (0, 10)), expected):
            np.testing.assert_array_equal(first, second)


# ---------------------------------------------------------------- which device

def test_names_of_devices():
    for name in ("cpu", "auto"):
        assert solver_on(name) == ("cpu", Solver)
    for name in ("gpu", "cuda:", "cuda:x", ""):
        with pytest.raises(ValueError, match='use "auto", "cpu", "cuda"'):
            NonRigidRegistration(CAMERA, device=name)


def test_without_nvidia_warp_cuda_is_refused(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(f"{devices.__package__}.gpu.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "warp", None)
    with pytest.raises(RuntimeError, match="pip install warp-lang"):
        NonRigidRegistration(CAMERA, device="cuda")


@pytest.mark.gpu
def test_cuda_by_its_name():
    registration = NonRigidRegistration(CAMERA, device="cuda")
    assert registration.device == "cuda:0"
    registration.set_reference(RolledSheet().depth())
    assert registration.register(*noisy(RolledSheet(0.3), 0)).status == "tracked"
    assert isinstance(registration._model.solver, GpuSolver)
    with pytest.raises(RuntimeError, match="cuda:99"):
        NonRigidRegistration(CAMERA, device="cuda:99")
