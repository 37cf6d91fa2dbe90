"""Fewer triangles for a picture of a mesh, whose border stays where it is and whose measuring noise makes no spikes."""
from __future__ import annotations

import numpy as np
import scipy.sparse

SMOOTHINGS = 5          # rounds of averaging with the neighbours, before it is decided what is flat
FENCE_EDGES = 3.0       # height of the fence along the border, in mean lengths of a border edge
AGGRESSIVENESS = 3      # of fast_simplification: smaller steps than its own 7, and more even ones
ATTEMPTS = 5


def decimate(vertices: np.ndarray, triangles: np.ndarray, max_triangles: int) -> np.ndarray:
    """Fewer triangles over some of the same vertices, by quadric edge collapse (Garland and Heckbert 1997).

    vertices (V, 3); triangles (F, 3). Returns (F', 3) int32 indices into vertices, F' at most max_triangles. Do it once per reference:
    the choice holds however the surface deforms. What is flat is decided on a smoothed copy; along its border stands a fence at right
    angles to the surface, so that moving the border costs as much as moving an edge (their section 6), and is taken away again.
    """
    if len(triangles) <= max_triangles:
        return triangles
    border = border_edges(triangles)
    smooth = _smoothed(vertices, triangles, border)
    points, faces = _fenced(smooth, triangles, border)
    target = float(max_triangles)
    for _ in range(ATTEMPTS):
        standing = _collapsed(points, faces, len(vertices), int(target))
        if len(standing) <= max_triangles:
            return standing
        target *= 0.97 * max_triangles / len(standing)
    return standing[:max_triangles]


def border_edges(triangles: np.ndarray) -> np.ndarray:
    """(B, 2) edges of one triangle alone, in its direction."""
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    _, first, count = np.unique(np.sort(edges, axis=1), axis=0, return_index=True, return_counts=True)
    return edges[first[count == 1]]


def _smoothed(vertices: np.ndarray, triangles: np.ndarray, border: np.ndarray) -> np.ndarray:
    """(V, 3): each vertex averaged with its neighbours, those of the border with their neighbours on it alone."""
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    on_border = np.zeros(len(vertices), bool)
    on_border[border] = True
    pairs = np.concatenate([edges, edges[:, ::-1]])
    pairs = np.unique(np.concatenate([pairs[~on_border[pairs[:, 0]]], border, border[:, ::-1]]), axis=0)
    mean = scipy.sparse.csr_matrix((np.ones(len(pairs)), pairs.T), (len(vertices),) * 2) + scipy.sparse.identity(len(vertices))
    mean = scipy.sparse.diags(1 / np.asarray(mean.sum(axis=1)).ravel()) @ mean
    for _ in range(SMOOTHINGS):
        vertices = mean @ vertices
    return vertices


def _fenced(vertices: np.ndarray, triangles: np.ndarray, border: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles with those of the fence after them."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    normals = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], np.cross(b - a, c - a))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    posts = np.unique(border)
    top = np.zeros(len(vertices), np.int64)
    top[posts] = len(vertices) + np.arange(len(posts))
    height = FENCE_EDGES * np.linalg.norm(vertices[border[:, 0]] - vertices[border[:, 1]], axis=1).mean() if len(border) else 0.0
    start, end = border.T
    boards = np.concatenate([np.column_stack([end, start, top[start]]), np.column_stack([end, top[start], top[end]])])
    return np.concatenate([vertices, vertices[posts] + height * normals[posts]]), np.concatenate([triangles, boards])


def _collapsed(points: np.ndarray, faces: np.ndarray, count: int, target: int) -> np.ndarray:
    """About `target` triangles over the first `count` points alone.

    Of the points that were merged into one, the nearest to where the collapse put it stands for them.
    """
    import fast_simplification

    _, _, collapses = fast_simplification.simplify(points, faces, target_count=target, agg=AGGRESSIVENESS, return_collapses=True)
    merged, reduced, group = fast_simplification.replay_simplification(points, faces, collapses)
    distance = np.linalg.norm(points - merged[group], axis=1)
    distance[count:] = np.inf
    order = np.lexsort((distance, group))
    groups, first = np.unique(group[order], return_index=True)
    standing = np.zeros(len(merged), np.int32)
    standing[groups] = order[first]
    left = standing[reduced]
    return left[(left < count).all(axis=1)]
