"""The point of a triangle mesh that is nearest to a given one."""
from __future__ import annotations

import numpy as np


def closest_point(vertices: np.ndarray, triangles: np.ndarray, point: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Distance in metres of a point (3,) to a mesh, and where it is nearest: three vertices (3,) int and their weights (3,), sum 1.

    vertices: (V, 3) metres; triangles: (F, 3), at least one. Of every triangle the nearest point is looked at: the foot of the
    perpendicular where that is inside, else the nearest point of its sides.
    """
    corner = vertices[triangles].astype(np.float64)
    candidates = [_inside(corner, point), *(_on_side(corner, point, k) for k in range(3))]
    weights = np.concatenate(candidates)
    places = np.einsum("nk,nkc->nc", weights, np.concatenate([corner] * len(candidates)))
    distance = np.linalg.norm(places - point, axis=1)
    best = int(np.nanargmin(distance))
    return float(distance[best]), triangles[best % len(triangles)].astype(np.int64), weights[best]


def _inside(corner: np.ndarray, point: np.ndarray) -> np.ndarray:
    """(F, 3) weights of the foot of the perpendicular; NaN where that is not in the triangle, or there is no triangle."""
    first, second, off = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0], point - corner[:, 0]
    aa, ab, bb = (np.einsum("nc,nc->n", x, y) for x, y in ((first, first), (first, second), (second, second)))
    ap, bp = np.einsum("nc,nc->n", first, off), np.einsum("nc,nc->n", second, off)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = (bb * ap - ab * bp) / (aa * bb - ab * ab), (aa * bp - ab * ap) / (aa * bb - ab * ab)
    weights = np.stack([1 - u - v, u, v], axis=1)
    weights[~(weights >= 0).all(axis=1)] = np.nan
    return weights


def _on_side(corner: np.ndarray, point: np.ndarray, k: int) -> np.ndarray:
    """(F, 3) weights of the nearest point between corners k and k + 1."""
    start, side = corner[:, k], corner[:, (k + 1) % 3] - corner[:, k]
    squared = np.einsum("nc,nc->n", side, side)
    share = np.clip(np.einsum("nc,nc->n", point - start, side) / np.maximum(squared, 1e-30), 0, 1)
    weights = np.zeros((len(corner), 3))
    weights[:, k], weights[:, (k + 1) % 3] = 1 - share, share
    return weights
