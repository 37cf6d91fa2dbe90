"""The embedded deformation graph: nodes on the surface, skinning weights, edges.

Sumner, Schmid, Pauly, "Embedded Deformation for Shape Manipulation", SIGGRAPH 2007; with geodesic instead of straight
distances, so that sheets that pass close to each other stay separate.
"""
from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import reverse_cuthill_mckee

from ..compiled import njit
from ..surface import Surface

NODES_PER_VERTEX = 4      # nodes that each vertex follows
VERTICES_PER_NODE = 12    # with fewer, depth determines a node's motion poorly
MAX_AUTO_NODES = 420      # of an automatic spacing
REACH = 2.6               # spacings that a node's flood covers: far enough for every vertex to meet five nodes
LATTICE_SHARE = 0.78      # share of a square lattice's density that greedy sampling reaches


@dataclass(frozen=True)
class DeformationGraph:
    """Nodes, skinning weights, and the pairs of nodes that share vertices. Neighbouring nodes have near numbers (reverse Cuthill-McKee).

    position: (K, 3) float64 metres. radius: (K,) float64 metres: max(0, 1 - distance / radius)^2 comes close to a node's weight.
    node_index: (V, 4) int32, the nodes a vertex follows; weight: (V, 4) float64, rows sum to 1 (0 pads).
    edges: (E, 2) int32, directed pairs that share vertices, sorted; those from node k are first_edge[k] .. first_edge[k + 1] - 1.
    reverse: (E,) int32, the edge the other way. pairs: (V, 6) int32, the edges between a vertex's nodes 0-1, 0-2, 0-3, 1-2, 1-3, 2-3;
    -1 where a node is padding. spacing: metres between nodes along the surface.
    """

    position: np.ndarray
    radius: np.ndarray
    node_index: np.ndarray
    weight: np.ndarray
    edges: np.ndarray
    first_edge: np.ndarray
    reverse: np.ndarray
    pairs: np.ndarray
    spacing: float

    def __len__(self) -> int:
        return len(self.position)

    def within(self, nodes: np.ndarray, reach: int) -> np.ndarray:
        """(K,) bool: the nodes given, (K,) bool, and all that are no more than `reach` edges from one of them."""
        for _ in range(reach):
            nodes = nodes | (np.bincount(self.edges[:, 0], nodes[self.edges[:, 1]], len(self)) > 0)
        return nodes


def build_graph(surface: Surface, spacing: float | None = None) -> DeformationGraph:
    """Distribute nodes over the surface and skin its vertices to them.

    spacing: metres along the surface between neighbouring nodes; None chooses it so that there are at most 420 nodes
    and each has some 12 vertices of its own. Raises ValueError on a spacing that is not positive.
    """
    if spacing is not None and not spacing > 0:
        raise ValueError(f"node spacing must be positive metres, got {spacing}")
    vertices = surface.vertices.astype(np.float64)
    if spacing is None:
        spacing = automatic_spacing(surface)
    mesh = _edge_graph(vertices, surface.triangles)
    selected, index, distance = _sample_nodes(mesh.indptr, mesh.indices.astype(np.int64), mesh.data, spacing, REACH * spacing,
                                              NODES_PER_VERTEX + 1)
    weight = _skinning_weights(index, distance, spacing)
    index = index[:, :NODES_PER_VERTEX].copy()
    index[weight == 0] = np.broadcast_to(index[:, :1], index.shape)[weight == 0]
    return _ordered(vertices[selected], index, weight, spacing)


def automatic_spacing(surface: Surface) -> float:
    """Metres between nodes so that 420 nodes, or one for 12 vertices, cover the surface's area."""
    corner = surface.vertices[surface.triangles].astype(np.float64)
    area = 0.5 * np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1).sum()
    nodes = max(4.0, min(MAX_AUTO_NODES, len(surface.vertices) / VERTICES_PER_NODE))
    return float(np.sqrt(LATTICE_SHARE * area / nodes))


def _edge_graph(vertices: np.ndarray, triangles: np.ndarray) -> csr_matrix:
    """Symmetric sparse matrix of edge lengths, metres; diagonals of grid cells included, as geodesics need them."""
    pair = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]], _cell_diagonals(triangles)])
    pair = np.unique(np.sort(pair, axis=1), axis=0)
    length = np.linalg.norm(vertices[pair[:, 0]] - vertices[pair[:, 1]], axis=1)
    both = np.concatenate([pair, pair[:, ::-1]])
    return coo_matrix((np.tile(np.maximum(length, 1e-9), 2), (both[:, 0], both[:, 1])), shape=(len(vertices),) * 2).tocsr()


def _cell_diagonals(triangles: np.ndarray) -> np.ndarray:
    """The vertices opposite each other across a shared side, (D, 2)."""
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    opposite = np.concatenate([triangles[:, 2], triangles[:, 0], triangles[:, 1]])
    sides = np.sort(sides, axis=1)
    order = np.lexsort((sides[:, 1], sides[:, 0]))
    sides, opposite = sides[order], opposite[order]
    same = (sides[1:] == sides[:-1]).all(axis=1)
    return np.stack([opposite[:-1][same], opposite[1:][same]], axis=1)


@njit
def _sample_nodes(indptr, indices, lengths, spacing, reach, keep):
    """Greedy geodesic sampling: each vertex farther than `spacing` from all nodes so far becomes a node.

    Each new node floods the mesh up to `reach` (Dijkstra) and enters the `keep` nearest-node list of the vertices it meets.
    Returns node vertices (K,), nearest nodes (V, keep) int32 (-1 pads) and their distances (V, keep).
    """
    count = len(indptr) - 1
    index = np.full((count, keep), -1, np.int32)
    distance = np.full((count, keep), np.inf)
    tentative = np.full(count, np.inf)
    nodes: list[int] = []
    for seed in range(count):
        if distance[seed, 0] <= spacing:
            continue
        node = len(nodes)
        nodes.append(seed)
        touched = [seed]
        tentative[seed] = 0.0
        heap = [(0.0, seed)]
        while len(heap) > 0:
            d, vertex = heappop(heap)
            if d > tentative[vertex]:
                continue
            _insert(index, distance, vertex, node, d)
            for e in range(indptr[vertex], indptr[vertex + 1]):
                other = indices[e]
                farther = d + lengths[e]
                if farther < reach and farther < tentative[other]:
                    if tentative[other] == np.inf:
                        touched.append(other)
                    tentative[other] = farther
                    heappush(heap, (farther, other))
        for vertex in touched:
            tentative[vertex] = np.inf
    return np.array(nodes), index, distance


@njit
def _insert(index, distance, vertex, node, d):
    keep = index.shape[1]
    if d >= distance[vertex, keep - 1]:
        return
    k = keep - 1
    while k > 0 and distance[vertex, k - 1] > d:
        distance[vertex, k] = distance[vertex, k - 1]
        index[vertex, k] = index[vertex, k - 1]
        k -= 1
    distance[vertex, k] = d
    index[vertex, k] = node


def _skinning_weights(index: np.ndarray, distance: np.ndarray, spacing: float) -> np.ndarray:
    """(1 - d / d5)^2 over the four nearest nodes, d5 the distance of the fifth: it fades out as a node is exchanged. (V, 4)."""
    limit = np.where(np.isfinite(distance[:, -1]), distance[:, -1], REACH * spacing)[:, None]
    near = distance[:, :-1]
    with np.errstate(invalid="ignore"):
        weight = np.where(index[:, :-1] >= 0, np.maximum(1.0 - near / np.maximum(limit, 1e-9), 0.0) ** 2, 0.0)
    weight[:, 0] = np.maximum(weight[:, 0], 1e-6)     # a vertex always follows its nearest node
    return weight / weight.sum(axis=1, keepdims=True)


def _ordered(position: np.ndarray, index: np.ndarray, weight: np.ndarray, spacing: float) -> DeformationGraph:
    """Number the nodes by reverse Cuthill-McKee over the pairs that share a vertex, and list these."""
    count = len(position)
    row, col, _ = _sharing(index, weight)
    share = coo_matrix((np.ones(2 * len(row), np.float32), (np.r_[row, col], np.r_[col, row])), shape=(count, count)).tocsr()
    order = reverse_cuthill_mckee(share, symmetric_mode=True)
    place = np.empty(count, np.int32)
    place[order] = np.arange(count, dtype=np.int32)
    index = np.ascontiguousarray(place[index])
    row, col, both = _sharing(index, weight)
    key = np.unique(np.r_[row * count + col, col * count + row])          # an edge as one number
    edges = np.stack([key // count, key % count], axis=1).astype(np.int32)
    pairs = np.full(both.shape, -1, np.int32)
    pairs[both] = np.searchsorted(key, row * count + col)
    first_edge = np.searchsorted(key, np.arange(count + 1) * count).astype(np.int32)
    reverse = np.searchsorted(key, key % count * count + key // count).astype(np.int32)
    return DeformationGraph(np.ascontiguousarray(position[order]), np.full(count, 1.5 * spacing), index, np.ascontiguousarray(weight),
                            edges, first_edge, reverse, pairs, float(spacing))


def _sharing(index: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of nodes that share a vertex, in the order of (V, 6) bool: which pairs of its nodes a vertex follows."""
    a, b = np.triu_indices(NODES_PER_VERTEX, 1)
    both = (weight[:, a] > 0) & (weight[:, b] > 0)
    return index[:, a][both].astype(np.int64), index[:, b][both].astype(np.int64), both
