"""How sure each vertex is: the inverse against the dense one, and standard deviations against true errors."""
from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bending_sheet import make_task
from dalf_core import NonRigidRegistration
from dalf_core.registration.uncertainty.block_tridiagonal import inverse_blocks


def registered(level: str, seed: int):
    task = make_task(level, seed)
    registration = NonRigidRegistration(task.camera)
    registration.set_reference_surface(task.reference)
    return task, registration, registration.register_points(task.depth, task.landmark_source, task.landmark_target)


def test_the_inverse_is_the_dense_one() -> None:
    _, registration, _ = registered("small", 50)
    graph, rng = registration.graph, np.random.default_rng(0)
    count, dense = len(graph), np.zeros((len(graph), 3, len(graph), 3))
    for i, j in graph.edges:
        if i < j:
            dense[i, :, j] = rng.normal(size=(3, 3))
            dense[j, :, i] = dense[i, :, j].T
    dense[np.arange(count), :, np.arange(count)] = 40.0 * np.eye(3)     # more than the rows' sums: positive definite
    first, second = graph.edges.T
    own, shared = inverse_blocks(dense[np.arange(count), :, np.arange(count)], dense[first, :, second], graph)
    inverse = np.linalg.inv(dense.reshape(3 * count, -1)).reshape(dense.shape)
    np.testing.assert_allclose(own, inverse[np.arange(count), :, np.arange(count)], atol=1e-12)
    np.testing.assert_allclose(shared, inverse[first, :, second], atol=1e-12)


def test_errors_are_as_large_as_it_says() -> None:
    """On tasks that nothing was fitted to: shares within one and two standard deviations along the axes of the covariance."""
    within = []
    for level in ("small", "medium", "large"):
        task, registration, result = registered(level, 51)
        variance, axes = np.linalg.eigh(registration.covariance().astype(np.float64))
        assert (variance > 0).all()
        within.append(np.abs(np.einsum("vij,vi->vj", axes, result.vertices - task.truth)) / np.sqrt(variance))
    shares = [np.mean(np.concatenate(within) < sigma) for sigma in (1, 2)]
    assert abs(shares[0] - 0.78) < 0.035 and abs(shares[1] - 0.963) < 0.015      # a normal distribution: .68 and .95


def test_what_is_not_known_is_refused() -> None:
    task, registration, _ = registered("small", 50)
    registration.register_points(np.zeros_like(task.depth), task.landmark_source[:0], task.landmark_target[:0])
    with pytest.raises(RuntimeError, match="not found in the frame"):
        registration.covariance()
    registration.set_reference_surface(task.reference)
    with pytest.raises(RuntimeError, match="no frame is registered"):
        registration.covariance()


def test_that_of_a_few_points_is_that_of_the_vertices_there() -> None:
    task, registration, _ = registered("medium", 51)
    some = np.array([3, 700, 1501])
    every, few = registration.covariance(), registration.covariance(task.reference.vertices[some])
    np.testing.assert_allclose(few, every[some], rtol=0.01, atol=0.01 * every[some].max())
    between = registration.covariance(task.reference.vertices[[700, 700, 701]].mean(axis=0))
    assert 0.5 < np.trace(between[0]) / np.trace(every[700]) < 2
    assert registration.covariance(np.zeros((0, 3))).shape == (0, 3, 3)


def test_errors_where_landmarks_fit_worse() -> None:
    """Half of the sheet's landmarks are ten times as noisy: along the surface it is told in both halves how far off they are."""
    task = make_task("medium", 52)
    left, rng = task.landmark_source[:, 0] < 0, np.random.default_rng(0)
    targets = task.landmark_target + left[:, None] * rng.normal(0, 0.004, task.landmark_target.shape)
    registration = NonRigidRegistration(task.camera)
    registration.set_reference_surface(task.reference)
    result = registration.register_points(task.depth, task.landmark_source, targets)
    covariance, error, normal = registration.covariance().astype(np.float64), result.vertices - task.truth, result.normals.astype(float)
    off = np.linalg.norm(error - np.einsum("vi,vi,vj->vj", error, normal, normal), axis=1)
    sigma = np.sqrt(np.trace(covariance, axis1=1, axis2=2) - np.einsum("vi,vij,vj->v", normal, covariance, normal))
    halves = [result.visible & side for side in (task.reference.vertices[:, 0] < 0, task.reference.vertices[:, 0] >= 0)]
    worse = [np.median(values[halves[0]]) / np.median(values[halves[1]]) for values in (off, sigma)]
    assert worse[0] > 1.4 and 0.75 < worse[1] / worse[0] < 1.1      # with one noise for the whole sheet it was .66
