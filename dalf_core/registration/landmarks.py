"""Landmarks: lifting pixel matches to 3D, pruning them by isometry, and the initial state that they give."""
from __future__ import annotations

import math

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, laplacian
from scipy.sparse.linalg import eigsh
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from ..camera import PinholeCamera
from ..compiled import REORDERED, njit
from ..depth import DEPTH_NOISE_M, fit_plane, jump_slope
from .graph import DeformationGraph
from .solver import State

NEIGHBOURS = 16          # landmarks that vote on each other
FAR_VOTERS = 96          # landmarks from anywhere that vote on each
DOUBT = 2.0              # votes against every landmark, so that one or two doubtful neighbours alone cannot confirm it
TRUSTED = 0.5            # confidence above which a landmark is used
CONTRADICTION = 0.03     # share of the pairs with the largest group that may grow; a group with more is dropped
AMONG = 0.2              # share of a group that may lie among the largest one without having been there before
LINKS = 8                # nearest landmarks that one may be grouped with; farther ones may keep their distance by chance
COMMON = 2               # common neighbours that two landmarks need to be in one group
ON_ITSELF = 0.1          # share of a group that lies among others of it that came from elsewhere
AROUND = 2.0             # ratio of arc to chord that no bending reaches between neighbours: half a circle has 1.6
MAX_CUTS = 2             # of the largest group, where it lies on itself
DENSE_CUT = 300          # landmarks; a larger group is cut by a sparse eigenvector, since a dense one costs the cube
ASKED = 300              # landmarks of a group that are asked whether it lies on itself
MIN_GROUP = 6            # landmarks; a smaller group cannot exclude others
MAX_RIVALRIES = 3        # groups excluded one after the other
STRETCH = 0.08           # share by which a distance on the surface may change
FOLD = 0.15              # share by which bending may shorten the chord between neighbours
STRAIGHTER = 1.1         # ratio by which unbending may lengthen the chord between any two
PIXEL_NOISE = 1.5        # pixels by which a match may be off
SPARSE, ENOUGH_READINGS = 4, 100    # readings of depth that tell how far the surface is: every fourth each way, or all if they are few


@njit
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
    z = _lift(depth, xy, 2, 2.0 * jump_slope(camera) * _usual_depth(depth))
    return camera.lift(xy, z), z > 0


def _usual_depth(depth: np.ndarray) -> float:
    """The median of the readings, of every fourth one each way if those suffice; 0 where there are none."""
    for some in (depth[::SPARSE, ::SPARSE], depth):
        readings = some[some > 0]
        if len(readings) >= ENOUGH_READINGS:
            break
    return float(np.median(readings)) if len(readings) else 0.0


def prune(source: np.ndarray, target: np.ndarray, noise_m: float, rounds: int = 6) -> np.ndarray:
    """Confidence 0..1 of each landmark, by isometry: bending keeps short distances along the surface and never lengthens long ones.

    source, target: (M, 3) metres. noise_m: how far a lifted point may be off. Its neighbours vote on each landmark (short
    distances must be kept), and so do landmarks everywhere (no distance may grow). Votes are weighted by the voter's own confidence, so
    that a coherent group in the wrong place is outvoted. Returns (M,) float64; keep those above TRUSTED.
    """
    count = len(source)
    if count < 4:
        return np.zeros(count)
    neighbour = np.ascontiguousarray(cKDTree(source).query(source, min(NEIGHBOURS, count - 1) + 1)[1][:, 1:])
    far = np.random.default_rng(0).permutation(count)[:FAR_VOTERS]
    source, target = np.ascontiguousarray(source), np.ascontiguousarray(target)
    allowed: np.ndarray = np.ones(count)
    near, apart = _kept(source, target, neighbour, far, noise_m, STRETCH)
    voters = neighbour, far, near, apart
    confidence = _vote(*voters, rounds, allowed)
    for _ in range(MAX_RIVALRIES):
        trusted = confidence > TRUSTED
        if _agree(source, target, trusted, apart[:, trusted[far]]):
            break
        main, rivals = _rivals(source, target, confidence, noise_m)
        if not rivals.any():
            break
        # whichever side finds more support among the rest once the other is gone
        sides = [np.where(gone, 0.0, allowed) for gone in (rivals, main)]
        votes = [_vote(*voters, rounds, side) for side in sides]
        winner = int((votes[1] > TRUSTED).sum() > (votes[0] > TRUSTED).sum())
        allowed, confidence = sides[winner], votes[winner]
    return confidence


def _agree(source: np.ndarray, target: np.ndarray, trusted: np.ndarray, not_grown: np.ndarray) -> bool:
    """Is there no sign of groups that exclude each other? A quick test, since most frames have none.

    trusted: (M,) bool. not_grown: (M, F), whether the distance between each landmark and each of some trusted ones has not grown.
    """
    rows = np.nonzero(trusted)[0]
    return len(rows) < 2 * MIN_GROUP or bool(not_grown[rows].all() and _on_itself(source, target, rows) < ON_ITSELF / 2)


def _grown(source: np.ndarray, target: np.ndarray, a: np.ndarray, b: np.ndarray, noise_m: float) -> np.ndarray:
    """(len(a), len(b)) bool: pairs farther from each other than any bending explains."""
    return cdist(target[a], target[b]) > cdist(source[a], source[b]) * (1 + STRETCH) * STRAIGHTER + 2 * noise_m


def _rivals(source: np.ndarray, target: np.ndarray, confidence: np.ndarray, noise_m: float) -> tuple[np.ndarray, np.ndarray]:
    """(M,) bool each: the largest group of landmarks, and those of the groups that cannot be right if it is.

    Two groups exclude each other if distances between them have grown, or if they lie among each other now and did not before: both
    are seen, so neither can be behind the other.
    """
    trusted = confidence > TRUSTED
    group = _groups(source, target, trusted, noise_m)
    size = np.bincount(group, weights=trusted)
    selected, rivals = (group == size.argmax()) & trusted, np.zeros(len(source), bool)
    main = np.nonzero(selected)[0]
    if len(main) < MIN_GROUP:
        return selected, rivals
    some = main[:: max(1, len(main) // 200)]
    for name in np.unique(group[~selected & (confidence > 0)]):
        others = np.nonzero((group == name) & ~selected & (confidence > 0))[0]
        rivals[others] = _grown(source, target, others, some, noise_m).mean() > CONTRADICTION or (
            len(others) >= MIN_GROUP and max(_among(source, target, main, others), _among(source, target, others, main)) > AMONG)
    return selected, rivals


def _groups(source: np.ndarray, target: np.ndarray, trusted: np.ndarray, noise_m: float) -> np.ndarray:
    """Group numbers (M,): trusted neighbours that keep their distance, and have common neighbours that do, are in one group. Each of
    the others is alone. A large group that lies on itself is cut where it hangs together least."""
    count = len(source)
    index = np.nonzero(trusted)[0]
    if len(index) < 2:
        return np.arange(count)
    near = min(LINKS, len(index) - 1)
    a, b = np.repeat(index, near), index[cKDTree(source[index]).query(source[index], near + 1)[1][:, 1:]].ravel()
    before, after = np.linalg.norm(source[a] - source[b], axis=1), np.linalg.norm(target[a] - target[b], axis=1)
    agree = (after <= before * (1 + STRETCH) + noise_m) & (after >= before * (1 - STRETCH - FOLD) - noise_m)
    link = csr_matrix((np.ones(agree.sum(), np.int32), (a[agree], b[agree])), shape=(count, count))
    link = link.maximum(link.T)
    link = link.multiply((link @ link) >= COMMON).tocsr()
    parts, group = connected_components(link, directed=False)
    for _ in range(MAX_CUTS):
        members = np.nonzero(group == np.bincount(group, weights=trusted).argmax())[0]
        if len(members) < 2 * MIN_GROUP or _on_itself(source, target, members) < ON_ITSELF:
            break
        group[members[_weakest_cut(link[members][:, members])]] = parts
        parts += 1
    return group


def _weakest_cut(link: csr_matrix) -> np.ndarray:
    """(K,) bool: one side of a connected graph cut in two by its Fiedler vector (Fiedler 1973)."""
    matrix = laplacian(link.astype(float), normed=True)
    if link.shape[0] <= DENSE_CUT:
        return np.linalg.eigh(matrix.toarray())[1][:, 1] > 0
    # Lanczos from a fixed start; the shift makes the matrix positive definite, and its smallest eigenvalues the first to be found
    start = np.random.default_rng(0).normal(size=link.shape[0])
    values, vectors = eigsh(matrix.tocsc(), k=2, sigma=-0.01, v0=start)
    return vectors[:, values.argmax()] > 0


def _among(source: np.ndarray, target: np.ndarray, main: np.ndarray, others: np.ndarray) -> float:
    """Share of the others that now lie as near to landmarks of the main group as these lie to each other, but came from far away."""
    k, tree = min(3, len(main) - 1), cKDTree(target[main])
    usual = np.median(tree.query(target[main], k + 1)[0][:, -1])
    distance, index = tree.query(target[others], k + 1)         # one may be the landmark itself
    return _came(source, main, others, distance, index, usual)


def _on_itself(source: np.ndarray, target: np.ndarray, group: np.ndarray) -> float:
    """As _among, of a group among itself; of a large one some are asked."""
    asked = group if len(group) <= ASKED else group[np.linspace(0, len(group) - 1, ASKED).astype(int)]
    distance, index = cKDTree(target[group]).query(target[asked], min(3, len(group) - 1) + 1)
    return _came(source, group, asked, distance, index, np.median(distance[:, -1]))


def _came(source: np.ndarray, main: np.ndarray, others: np.ndarray, distance: np.ndarray, index: np.ndarray, usual: float) -> float:
    """The share of _among, where the others lie so far from the landmarks `index` of the main group. usual: distance between these."""
    came = np.linalg.norm(source[main][index] - source[others][:, None], axis=2)
    return float(((distance <= 1.5 * usual) & (came > AROUND * distance + usual)).any(axis=1).mean())


@njit(fastmath=REORDERED, inline="always")
def _distance(a, b):
    return math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)


@njit(fastmath=REORDERED)
def _kept(source, target, neighbour, far, noise, stretch):
    """Which distances hold, 0 or 1: (M, N) float32, kept between each landmark and its neighbours; (M, F) float32, not grown between it
    and the far."""
    count = len(source)
    near, apart = np.empty(neighbour.shape, np.float32), np.empty((count, len(far)), np.float32)
    far_source, far_target = source[far].T.copy(), target[far].T.copy()         # a row for each axis: the inner loop is vectorised
    longest = (1.0 + stretch) * STRAIGHTER
    for i in range(count):
        for k in range(neighbour.shape[1]):
            before, after = _distance(source[i], source[neighbour[i, k]]), _distance(target[i], target[neighbour[i, k]])
            near[i, k] = before * (1.0 - stretch - FOLD) - noise <= after <= before * (1.0 + stretch) + noise
        a, b = source[i], target[i]
        for k in range(len(far)):
            before = math.sqrt((a[0] - far_source[0, k]) ** 2 + (a[1] - far_source[1, k]) ** 2 + (a[2] - far_source[2, k]) ** 2)
            after = math.sqrt((b[0] - far_target[0, k]) ** 2 + (b[1] - far_target[1, k]) ** 2 + (b[2] - far_target[2, k]) ** 2)
            apart[i, k] = np.float32(1.0) if after <= before * longest + 2.0 * noise else np.float32(0.0)
    return near, apart


@njit(fastmath=REORDERED)
def _vote(neighbour, far, near, apart, rounds, allowed):
    count = len(neighbour)
    confidence = allowed.copy()
    fresh = np.empty(count)
    voter = np.full(count, -1)          # which of the far ones a landmark is: it has no vote on itself
    voter[far] = np.arange(len(far))
    for _ in range(rounds):
        votes = confidence[far].astype(np.float32)
        of_all = votes.sum()
        for i in range(count):
            local, total = 0.0, DOUBT
            for k in range(neighbour.shape[1]):
                vote = confidence[neighbour[i, k]]
                total += vote
                local += vote * near[i, k]
            local /= total
            overall = np.float32(0.0)
            for k in range(len(far)):
                overall += votes[k] * apart[i, k]
            own = votes[voter[i]] if voter[i] >= 0 else np.float32(0.0)         # its distance to itself has not grown
            share = (overall - own) / (of_all - own + 1e-9)
            fresh[i] = local * local * max(0.0, 2.0 * share - 1.0)
        top = (fresh * allowed).max()
        if top <= 0.0:
            return np.zeros(count)
        for i in range(count):
            confidence[i] = min(1.0, fresh[i] / (0.6 * top)) * allowed[i]
    return confidence


def initial_state(source: np.ndarray, target: np.ndarray, confidence: np.ndarray, graph: DeformationGraph, noise_m: float = DEPTH_NOISE_M,
                  rounds: int = 4) -> State | None:
    """Initial state from landmarks: each node takes the robust rigid motion of the landmarks around it (moving least squares).

    noise_m: how far a landmark may be off, as for prune. Returns None when fewer than 4 landmarks are trusted.
    """
    trusted = confidence > TRUSTED
    if trusted.sum() < 4:
        return None
    source, target, base = source[trusted], target[trusted], confidence[trusted]
    near = min(24, len(source))
    distance, index = cKDTree(source).query(graph.position, near)
    reach = np.maximum(distance[:, -1:], 1e-6) * 1.01
    # a small weight for all keeps the rotation of nodes with few landmarks determined
    weight = (1.0 - (distance / reach) ** 2) ** 2 * base[index]
    weight += 1e-6
    a, b = source[index], target[index]
    robust = np.ones_like(weight)
    for _ in range(rounds):
        R, mean_a, mean_b = _rigid_fits(a, b, weight * robust)
        residual = np.linalg.norm((a - mean_a[:, None]) @ R.transpose(0, 2, 1) + mean_b[:, None] - b, axis=2)
        scale = np.maximum(1.5 * np.median(residual, axis=1, keepdims=True), 0.5 * noise_m)
        robust = (scale**2 / (scale**2 + residual**2)) ** 2
    t = np.einsum("kij,kj->ki", R, graph.position - mean_a) + mean_b - graph.position
    return State(np.ascontiguousarray(R), np.ascontiguousarray(t))


def _rigid_fits(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted rigid motions b = R (a - mean_a) + mean_b, K at once (Kabsch 1976). a, b: (K, n, 3); weight: (K, n)."""
    weight = weight / weight.sum(axis=1, keepdims=True)
    mean_a, mean_b = (weight[:, None] @ a)[:, 0], (weight[:, None] @ b)[:, 0]
    covariance = (weight[:, :, None] * (b - mean_b[:, None])).transpose(0, 2, 1) @ (a - mean_a[:, None])
    U, _, Vt = np.linalg.svd(covariance)
    U[:, :, 2] *= np.sign(np.linalg.det(U @ Vt))[:, None]
    return U @ Vt, mean_a, mean_b
