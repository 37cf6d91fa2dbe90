"""Growing the model: surface that comes into view beside it is added, taken back to the reference pose by the inverse warp."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..camera import PinholeCamera
from ..surface import Surface, grid_surface, vertex_normals
from .graph import DeformationGraph
from .solver import State

CONFIDENT = 0.6             # least confidence of the rim where something is added
MOST_GRAZING = 0.3          # cosine to the normal: surface seen at a flatter angle is too uncertain to be added
MIN_NEW = 12                # vertices; fewer do not justify a new graph


@dataclass(frozen=True)
class Grown:
    """The larger reference surface, whose first vertices are the old ones; and where all its vertices are now, (V, 3) metres."""

    surface: Surface
    now: np.ndarray


def grow(surface: Surface, graph: DeformationGraph, state: State, now: np.ndarray, confidence: np.ndarray, depth: np.ndarray,
         camera: PinholeCamera, max_vertices: int) -> Grown | None:
    """Add the surface that the depth image shows beside the model's rim. None when there is nothing to add.

    now: (V, 3) where the surface's vertices are, metres. confidence: (V,), see Registration. depth: clean (H, W) metres.
    At most a strip of one node spacing is added at once, from where the rim is well supported. New vertices take the colours of their
    nearest old ones.
    Whatever touches the model counts as part of it: mask the depth image where other things do.
    """
    sampling = _edge_length(surface)
    stride = max(1, round(sampling * camera.fx / float(np.median(now[:, 2]))))
    seen = grid_surface(depth, camera, None, stride)
    if not len(seen.vertices):
        return None
    distance, nearest = cKDTree(now).query(seen.vertices)
    known = distance < 0.75 * sampling
    rim = np.zeros(len(surface.vertices), bool)
    rim[_rim(surface.triangles)] = True
    to_rim = cKDTree(now[rim & (confidence > CONFIDENT)]) if (rim & (confidence > CONFIDENT)).any() else None
    if to_rim is None:
        return None
    facing = -(seen.normals * seen.vertices).sum(axis=1) > MOST_GRAZING * np.linalg.norm(seen.vertices, axis=1)
    new = ~known & (to_rim.query(seen.vertices)[0] < graph.spacing) & facing
    new = _attached(seen.triangles, new, known)
    room = max_vertices - len(surface.vertices)
    if new.sum() < MIN_NEW or new.sum() > room:
        return None
    return _joined(surface, seen, new, known, nearest, graph, state, now)


def _edge_length(surface: Surface) -> float:
    """Median length of the shortest sides, metres: the grid's step."""
    corner = surface.vertices[surface.triangles]
    return float(np.median(np.linalg.norm(corner - np.roll(corner, 1, axis=1), axis=2).min(axis=1)))


def _rim(triangles: np.ndarray) -> np.ndarray:
    """Vertices on sides that only one triangle has."""
    sides = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    unique, count = np.unique(sides, axis=0, return_counts=True)
    return np.unique(unique[count == 1])


def _attached(triangles: np.ndarray, new: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(N,) bool: the new vertices that are connected to known ones."""
    usable = triangles[(new | known)[triangles].all(axis=1)]
    a, b = usable[:, [0, 1, 2]].ravel(), usable[:, [1, 2, 0]].ravel()
    _, part = connected_components(coo_matrix((np.ones(len(a), bool), (a, b)), shape=(len(new),) * 2), directed=False)
    return new & np.isin(part, np.unique(part[known]))


def _joined(surface: Surface, seen: Surface, new: np.ndarray, known: np.ndarray, nearest: np.ndarray, graph: DeformationGraph,
            state: State, now: np.ndarray) -> Grown:
    """Old and new vertices in one mesh: known vertices of the grid become the old ones nearest to them."""
    count = len(surface.vertices)
    number = np.where(known, nearest, -1)
    number[new] = count + np.arange(new.sum())
    triangles = number[seen.triangles]
    proper = (triangles >= 0).all(axis=1) & (triangles >= count).any(axis=1)
    proper &= (triangles[:, 0] != triangles[:, 1]) & (triangles[:, 1] != triangles[:, 2]) & (triangles[:, 2] != triangles[:, 0])
    triangles = np.concatenate([surface.triangles, triangles[proper]]).astype(np.int32)
    added = seen.vertices[new]
    vertices = np.concatenate([surface.vertices, unwarp(added, nearest[new], graph, state).astype(np.float32)])
    colors = None
    if surface.colors is not None:
        colors = np.concatenate([surface.colors, surface.colors[nearest[new]]])
    return Grown(Surface(vertices, vertex_normals(vertices, triangles), triangles, colors), np.concatenate([now, added]))


def unwarp(points: np.ndarray, nearest: np.ndarray, graph: DeformationGraph, state: State) -> np.ndarray:
    """(N, 3) points of the current frame to (N, 3) in the reference pose, by the nodes that the nearest vertex follows:
    x = sum_k w_k (R_k^T (p - g_k - t_k) + g_k)."""
    result = np.zeros((len(points), 3))
    for k in range(graph.node_index.shape[1]):
        node = graph.node_index[nearest, k]
        g = graph.position[node]
        back = np.einsum("nji,nj->ni", state.R[node], points - g - state.t[node]) + g
        result += graph.weight[nearest, k, None] * back
    return result


def carried_over(grown: Grown, graph: DeformationGraph, old_graph: DeformationGraph, old_state: State) -> State:
    """The state of the grown surface's graph. Nodes are vertices, whose current position is known; each turns as the nearest old node."""
    vertex = cKDTree(grown.surface.vertices).query(graph.position)[1]
    nearest = cKDTree(old_graph.position).query(graph.position)[1]
    return State(np.ascontiguousarray(old_state.R[nearest]), grown.now[vertex] - graph.position)
