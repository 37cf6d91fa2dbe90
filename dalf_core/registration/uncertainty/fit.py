"""How well a frame fits, which tells the noise of what was measured in it: as a whole, and from place to place."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..graph import DeformationGraph
from ..solver import Landmarks, State
from ..visibility import node_support

LEAST_RESIDUAL = 0.0003         # metres: limits of what is measured, as a frame that fits perfectly proves little
LEAST_STRETCH, LEAST_BEND = 0.005, 0.02     # of an edge's length
MOST_RESIDUAL = 0.01            # metres; landmarks farther off are no sign of the others' noise
PRIOR = 4.0                     # landmarks, or edges, that the whole frame counts for at each place
LANDMARK_POWER, STRETCH_POWER = 0.4, 0.7        # of the places' ratios to the whole: fitted, see vertex_covariance


@dataclass(frozen=True)
class Fit:
    """landmark_m: noise of landmarks along each axis, metres. stretch, bend: root mean square of what rigidity measures over the edges of
    the seen part, along the surface and across it, in edge lengths. along: (K,) how many times as large as in the whole frame the errors
    along the surface are to be expected at each node.
    """

    landmark_m: float
    stretch: float
    bend: float
    along: np.ndarray

    @classmethod
    def of(cls, graph: DeformationGraph, frame: np.ndarray, state: State, visible: np.ndarray, landmarks: Landmarks) -> Fit:
        """frame: (K, 3, 3) rows normal and two tangents of the reference at each node. visible: (V,) bool."""
        trusted = landmarks.confidence > 0
        off = np.minimum(landmarks.distances(state, graph), MOST_RESIDUAL) ** 2 / 3
        landmark = max(off[trusted].mean() if trusted.any() else 0.0, LEAST_RESIDUAL**2)
        held = node_support(graph.node_index, graph.weight, visible, len(graph)) > 0.5
        measured = held[graph.edges].all(axis=1)
        along, across = _strain(graph, frame, state)
        stretch, bend = (max(part[measured].mean() if measured.any() else 0.0, least**2)
                         for part, least in ((along, LEAST_STRETCH), (across, LEAST_BEND)))
        node, weight = graph.node_index[landmarks.vertex], graph.weight[landmarks.vertex] * trusted[:, None]
        by_landmarks = _relative(graph, node.ravel(), weight.ravel(), np.repeat(off, node.shape[1]), landmark)
        by_stretch = _relative(graph, graph.edges[:, 0], measured.astype(float), along, stretch)
        return cls(float(np.sqrt(landmark)), float(np.sqrt(stretch)), float(np.sqrt(bend)),
                   by_landmarks ** (LANDMARK_POWER / 2) * by_stretch ** (STRETCH_POWER / 2))


def _strain(graph: DeformationGraph, frame: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray]:
    """(E,) each: mean square along the two directions of the surface, and square across it, of how far edges are off, in edge lengths."""
    i, j = graph.edges.T
    rest = graph.position[j] - graph.position[i]
    moved = np.einsum("eji,ej->ei", state.R[i], rest + state.t[j] - state.t[i])       # turned back into the reference
    across, first, second = np.einsum("eaj,ej->ae", frame[i], moved - rest) / np.linalg.norm(rest, axis=1)
    return (first**2 + second**2) / 2, across**2


def _relative(graph: DeformationGraph, node: np.ndarray, weight: np.ndarray, square: np.ndarray, whole: float) -> np.ndarray:
    """(K,) the mean square at each node and its neighbours over that of the whole frame; near 1 where little was measured.

    node, weight, square: (N,) whose each value is, how much it counts, and what was measured.
    """
    def around(values: np.ndarray) -> np.ndarray:
        own = np.bincount(node, values, len(graph))
        return own + np.bincount(graph.edges[:, 0], own[graph.edges[:, 1]], len(graph))

    return (around(weight * square) / whole + PRIOR) / (around(weight) + PRIOR)
