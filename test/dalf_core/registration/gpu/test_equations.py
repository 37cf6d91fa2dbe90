"""Conjugate gradients on Warp's devices against a dense solve, as in test_normal_equations."""
import numpy as np
import pytest

wp = pytest.importorskip("warp")

from dalf_core.registration.gpu.device import device_of  # noqa: E402
from dalf_core.registration.gpu.equations import GpuEquations  # noqa: E402
from dalf_core.registration.graph import build_graph  # noqa: E402
from dalf_core.registration.normal_equations import NormalEquations  # noqa: E402
from dalf_core.surface import Surface, surface_from_depth  # noqa: E402

from ...analytic import CAMERA, RolledSheet  # noqa: E402
from ..dense import dense_matrix  # noqa: E402
from .devices import DEVICES  # noqa: E402

DAMPING = np.array([1e-6, 1e-6, 1e-6, 1e-3, 1e-3, 1e-3])
SCALE = np.array([0.02, 0.02, 0.02, 1, 1, 1])


@pytest.fixture(scope="module")
def graph():
    return build_graph(surface_from_depth(RolledSheet().depth(), CAMERA, max_vertices=1500), 0.03)


@pytest.fixture()
def numbas(graph):
    """Numba's equations: positive definite, couplings as strong as they get, unknowns of very different scale as in practice."""
    equations, rng = NormalEquations(graph), np.random.default_rng(3)
    for e, (i, j) in enumerate(graph.edges):
        a, b = SCALE * rng.normal(size=(2, 6))
        equations.diagonal[i, :, :6] += np.outer(a, a)
        equations.diagonal[j, :, :6] += np.outer(b, b)
        equations.coupling[e, :, :6] += np.outer(b, a)
    equations.symmetrise()
    equations.rhs[:] = SCALE * rng.normal(size=equations.rhs.shape)
    return equations


@pytest.fixture(params=[*DEVICES, "cpu in blocks"])
def device(request, monkeypatch):
    """In blocks: as on a GPU, the threads of a block take turns, which the CPU does on request."""
    monkeypatch.setattr(wp.config, "enable_cpu_blocks", request.param == "cpu in blocks")
    return device_of(request.param.split()[0])


def sent(numbas, graph, device):
    equations = GpuEquations(graph, device)
    equations.diagonal.assign(np.ascontiguousarray(numbas.diagonal[:, :, :6].swapaxes(1, 2)))
    if len(graph.edges):
        equations.coupling.assign(np.ascontiguousarray(numbas.coupling[:, :, :6].swapaxes(1, 2)))
    equations.gradient.assign(-numbas.rhs.astype(np.float32))
    return equations


@pytest.mark.parametrize("tolerance, limit", [(1e-3, 2e-2), (1e-5, 3e-4)])
def test_step_is_that_of_a_dense_solve_and_of_numba(graph, numbas, device, tolerance, limit):
    whole = dense_matrix(numbas, graph) + np.diag(np.tile(DAMPING, len(graph)))
    expected = np.linalg.solve(whole, numbas.rhs.ravel())
    equations = sent(numbas, graph, device)
    np.testing.assert_allclose(equations.rhs, numbas.rhs, rtol=1e-6)
    size = np.sqrt(expected @ whole @ expected)
    for other, within in ((expected, limit), (numbas.solve(DAMPING, tolerance).ravel(), limit)):
        off = equations.solve(DAMPING, tolerance).ravel() - other
        assert np.sqrt(off @ whole @ off) < within * size


def test_solving_leaves_the_equations_as_they_are(graph, numbas, device):
    equations = sent(numbas, graph, device)
    first = equations.solve(DAMPING)
    assert np.linalg.norm(equations.solve(1e3 * DAMPING)) < np.linalg.norm(first)
    np.testing.assert_array_equal(equations.solve(DAMPING), first)


@pytest.mark.parametrize("count", [1, 3, 16, 17])       # less than a block of threads, one, and more
def test_nodes_that_nothing_couples(device, count):
    corner = np.float32([[0, 0, 1], [0, 1e-3, 1], [1e-3, 0, 1]])
    vertices = np.concatenate([corner + np.float32([k, 0, 0]) for k in range(count)])
    surface = Surface(vertices, np.tile(np.float32([0, 0, -1]), (3 * count, 1)), np.arange(3 * count, dtype=np.int32).reshape(-1, 3))
    graph = build_graph(surface, 0.1)
    assert len(graph) == count and len(graph.edges) == 0
    numbas, rng = NormalEquations(graph), np.random.default_rng(0)
    J = rng.normal(size=(count, 9, 6))
    numbas.diagonal[:, :, :6] = np.einsum("kri,krj->kij", J, J)
    numbas.rhs[:] = rng.normal(size=(count, 6))
    x = sent(numbas, graph, device).solve(np.zeros(6), 1e-3)
    np.testing.assert_allclose(x, [np.linalg.solve(j.T @ j, b) for j, b in zip(J, numbas.rhs)], rtol=1e-3, atol=1e-4)


def test_nothing_to_do_is_no_step(graph, numbas, device):
    numbas.rhs[:] = 0
    np.testing.assert_array_equal(sent(numbas, graph, device).solve(DAMPING), 0)


@pytest.mark.parametrize("spoil", ["singular", "negative", "nan", "infinite", "indefinite", "nan on the right"])
def test_what_is_not_positive_definite_is_refused(graph, numbas, device, spoil):
    if spoil == "singular":
        numbas.diagonal[5, :, 2] = numbas.diagonal[5, 2] = 0
    elif spoil == "negative":
        numbas.diagonal[5] *= -1
    elif spoil == "indefinite":
        numbas.coupling *= 100
    elif spoil == "nan on the right":
        numbas.rhs[3, 2] = np.nan
    else:
        numbas.coupling[7, 2, 3] = np.nan if spoil == "nan" else np.inf
    equations = sent(numbas, graph, device)
    assert equations.solve(np.zeros(6) if spoil == "singular" else DAMPING) is None


def test_a_refusal_is_not_remembered(graph, numbas, device):
    equations = sent(numbas, graph, device)
    expected = equations.solve(DAMPING)
    right = equations.diagonal.numpy().copy()
    equations.diagonal.assign(-right)
    assert equations.solve(DAMPING) is None
    equations.diagonal.assign(right)
    np.testing.assert_array_equal(equations.solve(DAMPING), expected)


def test_nothing_is_captured(graph, numbas, device, monkeypatch):
    """While a stream is captured, CUDA forbids what PyTorch does meanwhile in another thread."""
    def refuse(*arguments, **options):
        raise AssertionError("captured")

    monkeypatch.setattr(wp, "capture_begin", refuse)
    expected = np.linalg.solve(dense_matrix(numbas, graph) + np.diag(np.tile(DAMPING, len(graph))), numbas.rhs.ravel())
    np.testing.assert_allclose(sent(numbas, graph, device).solve(DAMPING, 1e-5).ravel(), expected, atol=1e-3 * np.abs(expected).max())
