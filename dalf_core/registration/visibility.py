"""Which vertices the camera sees, and how well these determine the others."""
from __future__ import annotations

import numpy as np

from ..compiled import njit
from .energy import SUPPORTED, UNSEEN
from .graph import DeformationGraph

HELD = 0.5          # share of a node's vertices that must be supported for depth to hold it
REACH = 2           # edges from a node that depth holds; beyond, the distance of a match without depth is unknown


def visible_vertices(graph: DeformationGraph, seen: np.ndarray, matched: np.ndarray) -> np.ndarray:
    """(V,) bool: supported by the depth or, where there is no reading, beside a match and not far from what depth supports.

    seen: (V,) what each met in the depth image (energy.SUPPORTED ...). matched: (M,) vertices of agreeing matches without depth.
    """
    supported = seen == SUPPORTED
    if not len(matched):
        return supported
    held = graph.within(node_support(graph.node_index, graph.weight, supported, len(graph)) > HELD, REACH)
    beside = graph.within(np.bincount(graph.node_index[matched, 0], minlength=len(graph)) > 0, 1)
    return supported | ((held & beside)[graph.node_index[:, 0]] & (seen == UNSEEN))


@njit
def node_support(node_index: np.ndarray, weight: np.ndarray, supported: np.ndarray, nodes: int) -> np.ndarray:
    """(K,) float64: the share of the vertices following each node that is supported."""
    part, total = np.zeros(nodes), np.full(nodes, 1e-12)
    for v in range(len(weight)):
        for k in range(weight.shape[1]):
            total[node_index[v, k]] += weight[v, k]
            part[node_index[v, k]] += weight[v, k] * supported[v]
    return part / total


@njit
def supported_share(node_index: np.ndarray, weight: np.ndarray, supported: np.ndarray, nodes: int) -> np.ndarray:
    """(V,) float32: the mean of node_support over the nodes that each vertex follows."""
    of_node = node_support(node_index, weight, supported, nodes)
    share = np.zeros(len(weight), np.float32)
    for v in range(len(weight)):
        for k in range(weight.shape[1]):
            share[v] += weight[v, k] * of_node[node_index[v, k]]
    return share
