"""Landmarks: pixel matches lifted to 3D, pruned before any solve, and the first guess they give."""
from __future__ import annotations

import math

import numpy as np
from numba import njit
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from ..camera import PinholeCamera
from ..depth import fit_plane, jump_slope
from .graph import DeformationGraph
from .solver import State

NEIGHBOURS = 16          # landmarks that vote on each other
FAR_VOTERS = 96          # landmarks from anywhere that vote on each
DOUBT = 2.0              # votes against everyone: agreement with one or two dubious neighbours proves nothing
TRUSTED = 0.5            # confidence above which a landmark is used
CONTRADICTION = 0.03     # share of the pairs with the largest group that may grow; a group with more is dropped
STRETCH = 0.08           # share by which a distance on the surface may change
FOLD = 0.15              # share by which bending may shorten the chord between neighbours
STRAIGHTER = 1.1         # ratio by which unbending may lengthen the chord between any two
PIXEL_NOISE = 1.5        # pixels by which a match may be off


@njit(cache=True)
def _lift(depth, xy, radius, slope):
    out = np.zeros(len(xy))
    for n in range(len(xy)):
        u, v = xy[n, 0], xy[n, 1]
        if not (u == u and v == v) or abs(u) > 1e6 or abs(v) > 1e6:
            continue
        for r in range(radius, 0, -1):       # a smaller window close to the image border
            found, inverse, _, _ = fit_plane(depth, u, v, r, slope)
            if found and inverse > 0:
                z = 1.0 / inverse
                if abs(z - depth[int(math.floor(v + 0.5)), int(math.floor(u + 0.5))]) < slope:
                    out[n] = z
                break
    return out


def lift_pixels(depth: np.ndarray, xy: np.ndarray, camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    """Pixels to 3D through the depth image, by a local plane that does not cross depth jumps.

    depth: clean (H, W) metres. xy: (M, 2) pixels. Returns (M, 3) metres and (M,) bool: lifted, i.e. there is depth around it.
    """
    xy = np.ascontiguousarray(xy, dtype=np.float64).reshape(-1, 2)
    z = _lift(depth, xy, 2, 2.0 * jump_slope(camera) * float(np.median(depth[depth > 0])) if (depth > 0).any() else 0.01)
    return camera.lift(xy, z), z > 0


def prune(source: np.ndarray, target: np.ndarray, noise_m: float, rounds: int = 6) -> np.ndarray:
    """Confidence 0..1 of each landmark, by isometry: bending keeps short distances along the surface and never lengthens long ones.

    source, target: (M, 3) metres. noise_m: how far a lifted point may be off. Each landmark is judged by its neighbours (short
    distances must be kept) and by landmarks everywhere (no distance may grow), each voter counting by its own confidence, so
    that a coherent group in the wrong place is outvoted by the rest. Returns (M,) float64; keep those above TRUSTED.
    """
    count = len(source)
    if count < 4:
        return np.zeros(count)
    near = min(NEIGHBOURS, count - 1)
    _, neighbour = cKDTree(source).query(source, near + 1)
    neighbour = np.ascontiguousarray(neighbour[:, 1:])
    far = np.random.default_rng(0).permutation(count)[:FAR_VOTERS]
    source, target = np.ascontiguousarray(source), np.ascontiguousarray(target)
    confidence = _vote(source, target, neighbour, far, noise_m, STRETCH, rounds)
    return _drop_contradicting_groups(source, target, neighbour, confidence, noise_m)


def _drop_contradicting_groups(source: np.ndarray, target: np.ndarray, neighbour: np.ndarray, confidence: np.ndarray,
                               noise_m: float) -> np.ndarray:
    """Landmarks that keep short distances to each other form groups; a group that the largest one contradicts is wrong as a whole."""
    count, near = neighbour.shape
    a, b = np.repeat(np.arange(count), near), neighbour.ravel()
    before, after = np.linalg.norm(source[a] - source[b], axis=1), np.linalg.norm(target[a] - target[b], axis=1)
    agree = (after <= before * (1 + STRETCH) + noise_m) & (after >= before * (1 - STRETCH - FOLD) - noise_m)
    agree &= (confidence[a] > TRUSTED) & (confidence[b] > TRUSTED)
    _, group = connected_components(coo_matrix((np.ones(agree.sum(), bool), (a[agree], b[agree])), shape=(count, count)), directed=False)
    size = np.bincount(group, weights=confidence > TRUSTED)
    main = np.nonzero((group == size.argmax()) & (confidence > TRUSTED))[0]
    main = main[:: max(1, len(main) // 200)]
    others = np.nonzero((group != size.argmax()) & (confidence > 0))[0]
    if not len(main) or not len(others):
        return confidence
    grown = cdist(target[others], target[main]) > cdist(source[others], source[main]) * (1 + STRETCH) * STRAIGHTER + 2 * noise_m
    members = np.bincount(group[others], minlength=len(size))
    share = np.bincount(group[others], grown.mean(axis=1), minlength=len(size)) / np.maximum(members, 1)
    return np.where(share[group] > CONTRADICTION, 0.0, confidence)


@njit(cache=True)
def _distance(points, a, b):
    return math.sqrt((points[a, 0] - points[b, 0]) ** 2 + (points[a, 1] - points[b, 1]) ** 2 + (points[a, 2] - points[b, 2]) ** 2)


@njit(cache=True)
def _vote(source, target, neighbour, far, noise, stretch, rounds):
    count = len(source)
    confidence = np.ones(count)
    fresh = np.empty(count)
    for _ in range(rounds):
        for i in range(count):
            agree = 0.0
            total = DOUBT
            for k in range(neighbour.shape[1]):
                j = neighbour[i, k]
                before = _distance(source, i, j)
                after = _distance(target, i, j)
                low = before * (1.0 - stretch - FOLD) - noise
                high = before * (1.0 + stretch) + noise
                vote = confidence[j]
                total += vote
                if low <= after <= high:
                    agree += vote
            local = agree / total
            agree = 0.0
            total = 1e-9
            for j in far:
                if j == i:
                    continue
                vote = confidence[j]
                total += vote
                if _distance(target, i, j) <= _distance(source, i, j) * (1.0 + stretch) * STRAIGHTER + 2.0 * noise:
                    agree += vote
            overall = agree / total
            fresh[i] = local * local * max(0.0, 2.0 * overall - 1.0)
        top = fresh.max()
        if top <= 0.0:
            return np.zeros(count)
        for i in range(count):
            confidence[i] = min(1.0, fresh[i] / (0.6 * top))
    return confidence


def initial_state(source: np.ndarray, target: np.ndarray, confidence: np.ndarray, graph: DeformationGraph, rounds: int = 4) -> State | None:
    """First guess from landmarks: each node gets the robust rigid motion of the landmarks around it (moving least squares).

    Returns None when fewer than 4 landmarks are trusted.
    """
    trusted = confidence > TRUSTED
    if trusted.sum() < 4:
        return None
    source, target, base = source[trusted], target[trusted], confidence[trusted]
    near = min(24, len(source))
    distance, index = cKDTree(source).query(graph.position, near)
    reach = np.maximum(distance[:, -1:], 1e-6) * 1.01
    # a thin far share of all landmarks keeps nodes with few neighbours from spinning
    weight = (1.0 - (distance / reach) ** 2) ** 2 * base[index]
    weight += 1e-6
    a, b = source[index], target[index]
    robust = np.ones_like(weight)
    for _ in range(rounds):
        R, mean_a, mean_b = _rigid_fits(a, b, weight * robust)
        residual = np.linalg.norm(np.einsum("kij,knj->kni", R, a - mean_a[:, None]) + mean_b[:, None] - b, axis=2)
        scale = np.maximum(1.5 * np.median(residual, axis=1, keepdims=True), 2e-3)
        robust = (scale**2 / (scale**2 + residual**2)) ** 2
    t = np.einsum("kij,kj->ki", R, graph.position - mean_a) + mean_b - graph.position
    return State(np.ascontiguousarray(R), np.ascontiguousarray(t))


def _rigid_fits(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted rigid motions b = R (a - mean_a) + mean_b, K at once (Kabsch 1976). a, b: (K, n, 3); weight: (K, n)."""
    weight = weight / weight.sum(axis=1, keepdims=True)
    mean_a = np.einsum("kn,kni->ki", weight, a)
    mean_b = np.einsum("kn,kni->ki", weight, b)
    covariance = np.einsum("kn,kni,knj->kij", weight, b - mean_b[:, None], a - mean_a[:, None])
    U, _, Vt = np.linalg.svd(covariance)
    U[:, :, 2] *= np.sign(np.linalg.det(U @ Vt))[:, None]
    return U @ Vt, mean_a, mean_b
