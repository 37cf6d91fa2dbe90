import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from dalf_core.registration import landmarks
from dalf_core.registration.energy import deform_points
from dalf_core.registration.graph import build_graph
from dalf_core.registration.landmarks import (
    DOUBT,
    FAR_VOTERS,
    FOLD,
    STRAIGHTER,
    STRETCH,
    TRUSTED,
    _kept,
    _usual_depth,
    _vote,
    initial_state,
    lift_pixels,
    prune,
)
from dalf_core.surface import surface_from_depth

from ..analytic import CAMERA, DISTANCE, RolledSheet, turn


def sheet_points(count, seed):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(-0.16, 0.16, count), rng.uniform(-0.12, 0.12, count), np.full(count, DISTANCE)], axis=1), rng


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("radius", [np.inf, 0.15])
def test_a_third_of_random_outliers_is_told_from_the_rest(radius, seed):
    source, rng = sheet_points(200, seed)
    target = RolledSheet(radius, turn((0.2, 1, 0.5), 30), (0.02, -0.03, 0.05)).move(source) + 0.0015 * rng.normal(size=source.shape)
    wrong = rng.random(200) < 0.34
    target[wrong] = target[rng.permutation(200)[: wrong.sum()]]
    wrong &= np.linalg.norm(target - RolledSheet(radius, turn((0.2, 1, 0.5), 30), (0.02, -0.03, 0.05)).move(source), axis=1) > 0.02
    kept = prune(source, target, 0.006) > 0.5
    assert (kept & wrong).sum() <= 0.03 * kept.sum()
    assert (kept & ~wrong).sum() >= 0.9 * (~wrong).sum()


def test_a_coherent_patch_in_the_wrong_place_is_outvoted():
    """A fifth of the matches agree with each other but put a corner of the sheet at its other end."""
    source, rng = sheet_points(200, 5)
    target = source + 0.001 * rng.normal(size=source.shape)
    patch = (source[:, 0] < -0.08) & (source[:, 1] < 0.04)
    target[patch] += [0.2, 0.05, 0]
    kept = prune(source, target, 0.006) > 0.5
    assert not kept[patch].any()
    assert kept[~patch].mean() > 0.9


def outvoted(radius, seed, shift, count=200):
    """30 % of the matches at random places, 30 % a patch mapped to another place on the sheet, where it outnumbers the right ones: are
    these kept and those not?"""
    source, rng = sheet_points(count, seed)
    sheet = RolledSheet(radius, turn((0.2, 1, 0.5), 20), (0.02, -0.03, 0.05))
    order, some = np.argsort(np.linalg.norm(source[:, :2] - [0.07, 0.02], axis=1)), 3 * count // 10
    patch, rest = order[:some], rng.permutation(order[some:])[:some]
    claimed = source.copy()
    claimed[patch] += rng.choice(shift)
    claimed[rest] = source[rng.permutation(count)[:some]]
    target = sheet.move(claimed) + 0.0015 * rng.normal(size=source.shape)
    wrong = np.linalg.norm(claimed - source, axis=1) > 0.02
    kept = prune(source, target, 0.006) > 0.5
    return (kept & wrong).sum() <= 0.02 * count and (kept & ~wrong).sum() >= 0.85 * (~wrong).sum()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("radius", [np.inf, 0.15])
def test_a_coherent_patch_among_the_right_ones_is_outvoted_though_it_is_denser(radius, seed):
    assert outvoted(radius, seed, [[-0.12, 0, 0], [-0.09, -0.06, 0], [-0.14, 0.02, 0]])


@pytest.mark.parametrize("radius", [np.inf, 0.15])
def test_a_coherent_patch_that_half_overlaps_its_own_place_is_mostly_outvoted(radius):
    """Few of the right ones are where it claims to be: now and then it wins."""
    assert sum(outvoted(radius, seed, [[-0.08, 0, 0]], count=120) for seed in range(20)) >= 15


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_to_judge_are_not_trusted(count):
    points = np.random.default_rng(0).normal(size=(count, 3))
    assert (prune(points, points, 0.005) == 0).all() and len(prune(points, points, 0.005)) == count


def test_first_guess_of_a_rigid_motion_is_exact():
    surface = surface_from_depth(RolledSheet().depth(), CAMERA, max_vertices=3000)
    graph = build_graph(surface, 0.03)
    source, _ = sheet_points(120, 1)
    moved = RolledSheet(R=turn((1, 2, 3), 70), shift=(0.1, 0.05, -0.1))
    state = initial_state(source, moved.move(source), np.ones(120), graph)
    assert state is not None
    vertices = surface.vertices.astype(float)
    got = deform_points(vertices, graph.node_index, graph.weight, state.R, state.t, graph.position)
    np.testing.assert_allclose(got, moved.move(vertices), atol=1e-6)


def test_votes_are_those_of_the_formula() -> None:
    """Beside it in plain NumPy: neighbours whose distance is kept, landmarks anywhere whose distance has not grown, itself left out."""
    rng = np.random.default_rng(3)
    source = rng.uniform(-0.2, 0.2, (150, 3)) * (1, 1, 0)
    target = source + rng.normal(0, 0.001, source.shape)
    target[:60] += rng.uniform(0.0, 0.15, (60, 1)) * (1, 0, 0)
    neighbour, far, noise = cKDTree(source).query(source, 17)[1][:, 1:], rng.permutation(150)[:FAR_VOTERS], 0.003
    near, apart = _kept(source, target, neighbour, far, noise, STRETCH)
    before, after = cdist(source, source), cdist(target, target)
    kept = (after >= before * (1 - STRETCH - FOLD) - noise) & (after <= before * (1 + STRETCH) + noise)
    not_grown = after <= before * (1 + STRETCH) * STRAIGHTER + 2 * noise
    assert np.array_equal(near, kept[np.arange(150)[:, None], neighbour]) and np.array_equal(apart, not_grown[:, far])
    assert 0.2 < near.mean() < 0.9 and apart.mean() < 0.95

    expected = np.ones(150)
    for _ in range(6):
        local = (expected[neighbour] * near).sum(axis=1) / (expected[neighbour].sum(axis=1) + DOUBT)
        votes = np.tile(expected[far], (150, 1)) * (far != np.arange(150)[:, None])
        fresh = local**2 * np.maximum(2 * (votes * apart).sum(axis=1) / votes.sum(axis=1) - 1, 0)
        expected = np.minimum(1, fresh / (0.6 * fresh.max()))
    found = _vote(neighbour, far, near, apart, 6, np.ones(150))
    assert np.abs(found - expected).max() < 1e-4 and 0.2 < (expected > TRUSTED).mean() < 0.9


def test_lifted_pixels_lie_on_the_plane_between_pixel_centres():
    R = turn((1, 0.5, 0), 30)
    xy = np.random.default_rng(0).uniform([110, 95], [210, 145], (50, 2))
    points, lifted = lift_pixels(RolledSheet(R=R).depth(), xy, CAMERA)
    assert lifted.all()
    assert np.abs((points - np.array([0, 0, DISTANCE])) @ R[:, 2]).max() < 1e-5
    np.testing.assert_allclose(CAMERA.project(points), xy, atol=1e-9)


def test_pixels_without_depth_or_outside_are_not_lifted():
    xy = np.array([[2.0, 2.0], [-5.0, 10.0], [1e9, 3.0], [np.nan, 5.0], [160.0, 120.0]])
    assert lift_pixels(RolledSheet().depth(), xy, CAMERA)[1].tolist() == [False, False, False, False, True]


def neighbour_graph(count, seed):
    """Links of two clouds of points that hang together by a few."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.uniform([0, 0], [1.0, 1.0], (count // 2, 2)), rng.uniform([1.02, 0], [2.6, 1.0], (count - count // 2, 2))])
    points = points[(np.abs(points[:, 0] - 1.01) > 0.06) | (np.abs(points[:, 1] - 0.5) < 0.1)]
    index = cKDTree(points).query(points, 9)[1]
    link = csr_matrix((np.ones(8 * len(points), np.int32), (np.repeat(np.arange(len(points)), 8), index[:, 1:].ravel())))
    return link.maximum(link.T)


@pytest.mark.parametrize("count, seed", [(400, 0), (700, 1), (2000, 2)])
def test_the_sparse_cut_is_the_dense_one(monkeypatch, count, seed):
    link = neighbour_graph(count, seed)
    assert connected_components(link)[0] == 1
    sparse = landmarks._weakest_cut(link)
    monkeypatch.setattr(landmarks, "DENSE_CUT", len(sparse))
    dense = landmarks._weakest_cut(link)
    assert 0.2 < dense.mean() < 0.8 and (sparse == (dense if sparse[0] == dense[0] else ~dense)).all()


def test_two_thousand_landmarks_are_judged_without_a_dense_eigenvector(monkeypatch):
    """A sheet whose right part is claimed to lie on its left one, both seen. An eigenvector of 2000 x 2000 takes half a second."""
    sizes, eigh = [], np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: sizes.append(len(matrix)) or eigh(matrix))
    cuts, cut = [], landmarks._weakest_cut
    monkeypatch.setattr(landmarks, "_weakest_cut", lambda link: cuts.append(link.shape[0]) or cut(link))
    source, rng = sheet_points(2000, 0)
    target = source + 0.0005 * rng.normal(size=source.shape)
    folded = source[:, 0] > 0.03
    target[folded, 0] = 0.06 - target[folded, 0]
    kept = prune(source, target, 0.006) > 0.5
    assert max(cuts) > 1500 and max(sizes, default=0) <= 400
    clear = np.abs(source[:, 0] - 0.03) > 0.02
    assert not kept[folded & clear].any() and kept[~folded & clear].mean() > 0.95


def test_usual_depth_of_many_readings_few_and_none() -> None:
    depth = np.zeros((60, 80), np.float32)
    assert _usual_depth(depth) == 0.0
    depth[1::4, 1::4] = np.linspace(0.5, 0.7, 15 * 20, dtype=np.float32).reshape(15, 20)       # beside every fourth pixel
    assert _usual_depth(depth) == pytest.approx(0.6, abs=1e-3)
    depth[::2, ::2] = 2.0                                                                       # most of them now, and every fourth
    assert _usual_depth(depth) == 2.0
