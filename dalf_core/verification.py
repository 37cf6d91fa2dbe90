"""Non-rigid outlier rejection: a bending surface moves neighbouring points by nearly the same affine map.

Three steps, none of which knows a pixel size: all tolerances come from the spacing of the matches and from their own scatter.
1. Vote: affine maps through a match and two of its neighbours; the other neighbours vote for the best one.
2. Patches: neighbours that predict one another are joined. Small patches, and patches that would tear the surface away from
   a larger one next to them, are dropped: coherent mismatches on repeated texture look like that.
3. Refine: each match, dropped ones too, against the affine map fitted to the nearest kept matches; repeated.
"""
from __future__ import annotations

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

from .types import Features, Matches

MIN_MATCHES = 6             # fewer cannot contradict one another enough
NEIGHBOURS = 20             # voters around a match
HYPOTHESES = 48             # pairs of neighbours tried a match
VOTE_TOLERANCE = 0.15       # of the neighbourhood's radius in the query image
MIN_VOTES = 3
MAX_ANISOTROPY = 8.0        # a surface seen flatter than this is not matched by any descriptor
MIN_PATCH = 6
MAX_STRETCH = 3.0           # of the distance of neighbours, relative to the local scale: more is a tear
FIT_NEIGHBOURS = 14
FIT_ROUNDS = 3
FIT_TOLERANCE = 3.0         # robust standard deviations of the scatter


def verify(reference: Features, query: Features, matches: Matches, seed: int = 0) -> np.ndarray:
    """Which matches a bending surface explains: (M,) bool. The same seed gives the same answer.

    Keypoints may be in any unit and image size. Fewer than 6 matches cannot be told apart: none is kept.
    ValueError: matches that point beyond the features, or keypoints that are not finite.
    """
    source, target = _positions(reference.keypoints, matches.reference_index), _positions(query.keypoints, matches.query_index)
    count = len(source)
    if count < MIN_MATCHES:
        return np.zeros(count, bool)
    k = min(NEIGHBOURS, count - 1)
    neighbours = _nearest_others(source, k)
    pairs = _pairs(k, seed)
    affine, votes = _vote(source, target, neighbours, pairs, VOTE_TOLERANCE, MAX_ANISOTROPY)
    kept = _patches(source, target, neighbours, affine, votes >= MIN_VOTES)
    for _ in range(FIT_ROUNDS):
        if kept.sum() < MIN_MATCHES:
            return np.zeros(count, bool)
        kept = _refine(source, target, kept)
    return kept


def _positions(keypoints: np.ndarray, index: np.ndarray) -> np.ndarray:
    index = np.asarray(index)
    if len(index) and (index.min() < 0 or index.max() >= len(keypoints)):
        raise ValueError(f"matches point at keypoint {index.max()}, but there are {len(keypoints)}; do they belong to other Features?")
    xy = np.asarray(keypoints, np.float64)[index]
    if not np.isfinite(xy).all():
        raise ValueError("keypoints hold NaN or infinity")
    return np.ascontiguousarray(xy)


def _nearest_others(points: np.ndarray, k: int) -> np.ndarray:
    """(M, k) indices of each point's nearest others; any k of them where points coincide."""
    found = cKDTree(points).query(points, k=k + 1)[1]
    is_self = found == np.arange(len(points))[:, None]
    is_self[~is_self.any(axis=1), -1] = True        # more than k twins: drop the last instead
    return found[~is_self].reshape(len(points), k)


def _pairs(k: int, seed: int) -> np.ndarray:
    """(P, 2) pairs of neighbour ranks to try, the nearer first choice of the seed."""
    first, second = np.triu_indices(k, 1)
    chosen = np.random.default_rng(seed).permutation(len(first))[:HYPOTHESES]
    return np.stack([first[chosen], second[chosen]], axis=1)


@njit(cache=True)
def _vote(source, target, neighbours, pairs, tolerance, max_anisotropy):
    """The affine map (M, 2, 2) of each match that most of its neighbours agree with, and how many do (M,)."""
    count, k = neighbours.shape
    best_affine = np.zeros((count, 2, 2))
    best_votes = np.zeros(count, np.int64)
    for i in range(count):
        radius = 0.0
        for n in neighbours[i]:
            radius = max(radius, np.hypot(source[n, 0] - source[i, 0], source[n, 1] - source[i, 1]))
        for p in range(len(pairs)):
            j, m = neighbours[i, pairs[p, 0]], neighbours[i, pairs[p, 1]]
            ux, uy = source[j, 0] - source[i, 0], source[j, 1] - source[i, 1]
            vx, vy = source[m, 0] - source[i, 0], source[m, 1] - source[i, 1]
            area = ux * vy - uy * vx
            if abs(area) < 0.2 * np.sqrt((ux * ux + uy * uy) * (vx * vx + vy * vy)) or area == 0.0:
                continue
            px, py = target[j, 0] - target[i, 0], target[j, 1] - target[i, 1]
            qx, qy = target[m, 0] - target[i, 0], target[m, 1] - target[i, 1]
            a, b = (px * vy - qx * uy) / area, (qx * ux - px * vx) / area
            c, d = (py * vy - qy * uy) / area, (qy * ux - py * vx) / area
            determinant = a * d - b * c
            if determinant <= 0.0 or a * a + b * b + c * c + d * d > determinant * (max_anisotropy + 1.0 / max_anisotropy):
                continue
            limit = tolerance * tolerance * determinant * radius * radius
            votes = 0
            for n in neighbours[i]:
                if n == j or n == m:
                    continue
                dx, dy = source[n, 0] - source[i, 0], source[n, 1] - source[i, 1]
                ex, ey = a * dx + b * dy - target[n, 0] + target[i, 0], c * dx + d * dy - target[n, 1] + target[i, 1]
                if ex * ex + ey * ey <= limit:
                    votes += 1
            if votes > best_votes[i]:
                best_votes[i] = votes
                best_affine[i, 0, 0], best_affine[i, 0, 1], best_affine[i, 1, 0], best_affine[i, 1, 1] = a, b, c, d
    return best_affine, best_votes


def _patches(source: np.ndarray, target: np.ndarray, neighbours: np.ndarray, affine: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """(M,) bool: candidates in patches that are large enough and do not tear away from a larger one beside them."""
    label = _join(source, target, neighbours, affine, candidate, VOTE_TOLERANCE)
    names, size = np.unique(label[label >= 0], return_counts=True)
    kept = np.zeros(len(source), bool)
    scale = np.sqrt(np.abs(np.linalg.det(affine)))
    for name in names[np.argsort(-size, kind="stable")]:
        members = np.flatnonzero(label == name)
        if len(members) < MIN_PATCH:
            break
        near = neighbours[members]
        beside = kept[near]
        gap = np.linalg.norm(source[near] - source[members, None], axis=2)
        jump = np.linalg.norm(target[near] - target[members, None], axis=2)
        torn = beside & (jump > MAX_STRETCH * np.maximum(scale[near], scale[members, None]) * gap)
        if torn.sum() * 2 <= beside.sum():
            kept[members] = True
    return kept


@njit(cache=True)
def _join(source, target, neighbours, affine, candidate, tolerance):
    """Patch number (M,) of each candidate, -1 for the others: neighbours whose affine maps predict one another share one."""
    count, k = neighbours.shape
    parent = np.arange(count)
    for i in range(count):
        if not candidate[i]:
            continue
        for n in neighbours[i]:
            if not candidate[n] or not _predicts(source, target, affine, i, n, tolerance) \
                    or not _predicts(source, target, affine, n, i, tolerance):
                continue
            a, b = i, n
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = parent[b]
            parent[max(a, b)] = min(a, b)
    label = np.full(count, -1)
    for i in range(count):
        if candidate[i]:
            a = i
            while parent[a] != a:
                a = parent[a]
            label[i] = a
    return label


@njit(cache=True)
def _predicts(source, target, affine, i, n, tolerance):
    """Whether match i's map sends match n where it went, within tolerance of their distance (doubled, for near ones are noisy)."""
    dx, dy = source[n, 0] - source[i, 0], source[n, 1] - source[i, 1]
    px = affine[i, 0, 0] * dx + affine[i, 0, 1] * dy
    py = affine[i, 1, 0] * dx + affine[i, 1, 1] * dy
    ex, ey = px - target[n, 0] + target[i, 0], py - target[n, 1] + target[i, 1]
    return ex * ex + ey * ey <= 4 * tolerance * tolerance * (px * px + py * py)


def _refine(source: np.ndarray, target: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(M,) bool: matches that the affine map fitted to their nearest kept others explains."""
    index = np.flatnonzero(kept)
    k = min(FIT_NEIGHBOURS, len(index) - 1)
    found = index[cKDTree(source[index]).query(source, k=k + 1)[1]]
    residual, scatter = _fit_residuals(source, target, found)
    usual = np.median(residual[kept])
    return residual <= FIT_TOLERANCE * 1.2 * np.maximum(np.minimum(scatter, 2 * usual), usual)


@njit(cache=True)
def _fit_residuals(source, target, found):
    """Distance (M,) of each match from what a robust affine fit to its found neighbours predicts; their median distance (M,)."""
    count, k = found.shape
    residual = np.zeros(count)
    scatter = np.zeros(count)
    own = np.zeros(k)
    weight = np.zeros(k)
    for i in range(count):
        used = 0
        radius = 1e-12
        for n in found[i]:
            radius = max(radius, np.hypot(source[n, 0] - source[i, 0], source[n, 1] - source[i, 1]))
        for s in range(k):
            n = found[i, s]
            d = np.hypot(source[n, 0] - source[i, 0], source[n, 1] - source[i, 1]) / radius
            weight[s] = 0.0 if n == i else np.exp(-1.5 * d * d)
            used += n != i
        for _ in range(3):
            normal = np.eye(3) * 1e-6
            right = np.zeros((3, 2))
            for s in range(k):
                n = found[i, s]
                x, y = (source[n, 0] - source[i, 0]) / radius, (source[n, 1] - source[i, 1]) / radius
                row = (1.0, x, y)
                for r in range(3):
                    for c in range(3):
                        normal[r, c] += weight[s] * row[r] * row[c]
                    right[r, 0] += weight[s] * row[r] * (target[n, 0] - target[i, 0])
                    right[r, 1] += weight[s] * row[r] * (target[n, 1] - target[i, 1])
            solution = np.linalg.solve(normal, right)
            m = 0
            for s in range(k):
                n = found[i, s]
                x, y = (source[n, 0] - source[i, 0]) / radius, (source[n, 1] - source[i, 1]) / radius
                ex = solution[0, 0] + solution[1, 0] * x + solution[2, 0] * y - (target[n, 0] - target[i, 0])
                ey = solution[0, 1] + solution[1, 1] * x + solution[2, 1] * y - (target[n, 1] - target[i, 1])
                own[s] = np.hypot(ex, ey)
                if n != i:
                    weight[m] = own[s]
                    m += 1
            middle = np.median(weight[:m]) + 1e-12
            for s in range(k):
                n = found[i, s]
                d = np.hypot(source[n, 0] - source[i, 0], source[n, 1] - source[i, 1]) / radius
                t = own[s] / (3.0 * middle)
                weight[s] = 0.0 if n == i else np.exp(-1.5 * d * d) / (1.0 + t * t) ** 2
            scatter[i] = middle
        residual[i] = np.hypot(solution[0, 0], solution[0, 1])
    return residual, scatter
