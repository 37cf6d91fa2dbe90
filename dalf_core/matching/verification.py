"""Non-rigid outlier rejection: a bending surface moves neighbouring points by nearly the same affine map.

Three steps, none of which knows a pixel size: all tolerances come from the spacing of the matches and from their own scatter.
1. Vote: affine maps through a match and two of its neighbours; the other neighbours vote for the best one.
2. Patches: neighbours that predict one another are joined. Small patches, and patches that would tear the surface away from
   a larger one next to them, are dropped: coherent mismatches on repeated texture look like that.
3. Refine: each match, dropped ones too, against the affine map fitted to the nearest kept matches; repeated.
"""
from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ..compiled import njit
from ..types import Features, Matches

MIN_VERIFIED = 20           # verified matches that tell two images of a thing from two of different things: fewer can be chance
MIN_MATCHES = 6             # fewer cannot contradict one another enough
NEIGHBOURS = 20             # voters around a match
HYPOTHESES = 32             # pairs of neighbours tried a match
VOTE_TOLERANCE = 0.15       # of the neighbourhood's radius in the query image
MIN_VOTES = 3
MAX_ANISOTROPY = 8.0        # a surface seen flatter than this is not matched by any descriptor
MIN_PATCH = 6
MAX_STRETCH = 3.0           # of the distance of neighbours, relative to the local scale: more is a tear
FIT_NEIGHBOURS = 10
FIT_ROUNDS = 3
FIT_REWEIGHTINGS = 3
FIT_RIDGE = 1e-6            # for neighbours on a line; places are in units of the neighbourhood
FIT_AGREEMENT = 0.2         # neighbours scatter by no more than this part of their own spread, or they predict nothing
FIT_TOLERANCE = 3.5         # times the usual residual: keypoints are placed as well in one part of an image as in another,
LOCAL_SHARE = 0.55          # but where a strong bend makes all neighbours disagree, this part of their usual residual counts instead
FIT_FINEST = 1e-3           # of the neighbours' spread: places are rounded, and no residual below it tells anything
FIT_REACH = 0.3             # of the neighbours' spread: a residual may never be larger


def verify(reference: Features, query: Features, matches: Matches, seed: int = 0, *, accuracy: float = 0.0) -> np.ndarray:
    """Which matches a bending surface explains: (M,) bool. The same seed gives the same answer.

    Keypoints may be in any unit and image size. accuracy: in that unit, a usual error of places that is asked of no match to be smaller,
    where most are placed better than is needed. Fewer than 6 matches cannot be told apart: none is kept.
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
        kept = _refine(source, target, kept, accuracy)
    return kept


def warm_up() -> None:
    """Compile the kernels (cached on disk)."""
    places = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), axis=-1).reshape(-1, 2).astype(np.float32)
    features = Features(places, np.ones(64, np.float32), np.eye(64, dtype=np.float32), (8, 8))
    verify(features, features, Matches(np.arange(64), np.arange(64), np.zeros(64, np.float32), np.ones(64, bool)))


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


@njit
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


@njit
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


@njit
def _predicts(source, target, affine, i, n, tolerance):
    """Whether match i's map sends match n where it went, within tolerance of their distance (doubled, for near ones are noisy)."""
    dx, dy = source[n, 0] - source[i, 0], source[n, 1] - source[i, 1]
    px = affine[i, 0, 0] * dx + affine[i, 0, 1] * dy
    py = affine[i, 1, 0] * dx + affine[i, 1, 1] * dy
    ex, ey = px - target[n, 0] + target[i, 0], py - target[n, 1] + target[i, 1]
    return ex * ex + ey * ey <= 4 * tolerance * tolerance * (px * px + py * py)


def _refine(source: np.ndarray, target: np.ndarray, kept: np.ndarray, accuracy: float) -> np.ndarray:
    """(M,) bool: matches that the affine map fitted to their nearest kept others explains."""
    index = np.flatnonzero(kept)
    k = min(FIT_NEIGHBOURS, len(index) - 1)
    found = index[cKDTree(source[index]).query(source, k=k + 1)[1]]
    residual, scatter, extent = _fit_residuals(source, target, found)
    agreed = scatter <= FIT_AGREEMENT * extent
    if not (kept & agreed).any():
        return np.zeros(len(source), bool)
    local = np.median(residual[found[:, :k]], axis=1)
    usual = np.maximum(np.median(residual[kept & agreed]), LOCAL_SHARE * local)
    usual = np.maximum(usual, np.maximum(FIT_FINEST * extent, accuracy))
    return agreed & (residual <= np.minimum(FIT_TOLERANCE * usual, FIT_REACH * extent))


@njit
def _fit_residuals(source, target, found):
    """How far each match is from the robust affine prediction of its found neighbours (M,), divided by how much farther chance alone
    takes it than a single keypoint; the neighbours' median distance from the prediction (M,); and their median distance from their mean
    in the target, the size of the neighbourhood (M,)."""
    count, k = found.shape
    residual, scatter, extent = np.zeros(count), np.zeros(count), np.zeros(count)
    place, moved, near, weight, error = np.zeros((k, 2)), np.zeros((k, 2)), np.zeros(k), np.zeros(k), np.zeros(k)
    for i in range(count):
        used = _neighbourhood(source, target, found[i], i, place, moved, near)
        weight[:used] = near[:used]
        for _ in range(FIT_REWEIGHTINGS):
            x0, xx, xy = _affine_row(place, moved[:, 0], weight, used)
            y0, yx, yy = _affine_row(place, moved[:, 1], weight, used)
            for s in range(used):
                ex = x0 + xx * place[s, 0] + xy * place[s, 1] - moved[s, 0]
                ey = y0 + yx * place[s, 0] + yy * place[s, 1] - moved[s, 1]
                error[s] = np.sqrt(ex * ex + ey * ey)
            scatter[i] = np.median(error[:used]) + 1e-12
            for s in range(used):
                t = error[s] / (3.0 * scatter[i])
                weight[s] = near[s] / (1.0 + t * t) ** 2
        residual[i] = np.sqrt((x0 * x0 + y0 * y0) / (1.0 + _leverage(place, weight, used)))
        mx, my = moved[:used, 0].mean(), moved[:used, 1].mean()
        for s in range(used):
            error[s] = np.sqrt((moved[s, 0] - mx) ** 2 + (moved[s, 1] - my) ** 2)
        extent[i] = np.median(error[:used])
    return residual, scatter, extent


@njit
def _neighbourhood(source, target, found, i, place, moved, near):
    """Fills where match i's found neighbours lie in the source (k, 2), in units of the farthest one's distance, where they went in
    the target (k, 2), both relative to the match, and their nearness (k,). Returns how many there are; the match itself is none."""
    used = 0
    radius = 1e-12
    for n in found:
        if n != i and used < len(near):
            place[used, 0], place[used, 1] = source[n, 0] - source[i, 0], source[n, 1] - source[i, 1]
            moved[used, 0], moved[used, 1] = target[n, 0] - target[i, 0], target[n, 1] - target[i, 1]
            radius = max(radius, np.sqrt(place[used, 0] ** 2 + place[used, 1] ** 2))
            used += 1
    for s in range(used):
        place[s, 0] /= radius
        place[s, 1] /= radius
        near[s] = np.exp(-1.5 * (place[s, 0] ** 2 + place[s, 1] ** 2))
    return used


@njit
def _leverage(place, weight, used):
    """Variance of the affine prediction at the origin, in variances of one place (Cook and Weisberg 1982): large where the neighbours
    lie on one side, as at the rim of a surface."""
    w = wx = wy = wxx = wxy = wyy = 0.0
    for s in range(used):
        x, y, t = place[s, 0], place[s, 1], weight[s]
        w, wx, wy = w + t, wx + t * x, wy + t * y
        wxx, wxy, wyy = wxx + t * x * x, wxy + t * x * y, wyy + t * y * y
    mx, my = wx / w, wy / w
    cxx, cxy, cyy = wxx / w - mx * mx + FIT_RIDGE, wxy / w - mx * my, wyy / w - my * my + FIT_RIDGE
    determinant = cxx * cyy - cxy * cxy
    gx, gy = (mx * cyy - my * cxy) / determinant, (my * cxx - mx * cxy) / determinant
    total = 0.0
    for s in range(used):
        share = weight[s] / w * (1.0 - gx * (place[s, 0] - mx) - gy * (place[s, 1] - my))
        total += share * share
    return total


@njit
def _affine_row(place, value, weight, used):
    """Weighted least squares of value = a + b x + c y over the first `used` places: (a, b, c)."""
    w = wx = wy = wxx = wxy = wyy = v = vx = vy = 0.0
    for s in range(used):
        x, y, t = place[s, 0], place[s, 1], weight[s]
        w, wx, wy = w + t, wx + t * x, wy + t * y
        wxx, wxy, wyy = wxx + t * x * x, wxy + t * x * y, wyy + t * y * y
        t *= value[s]
        v, vx, vy = v + t, vx + t * x, vy + t * y
    mx, my, mv = wx / w, wy / w, v / w
    cxx, cxy, cyy = wxx / w - mx * mx + FIT_RIDGE, wxy / w - mx * my, wyy / w - my * my + FIT_RIDGE
    cxv, cyv = vx / w - mx * mv, vy / w - my * mv
    determinant = cxx * cyy - cxy * cxy
    b, c = (cxv * cyy - cyv * cxy) / determinant, (cyv * cxx - cxv * cxy) / determinant
    return mv - b * mx - c * my, b, c
