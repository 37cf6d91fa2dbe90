"""The rest shape that rigidity is measured against: the reference, strained and curved as the surface is around each node.

Measured against the reference alone, as-rigid-as-possible energy resists all strain and curvature: it shrinks a stretched surface, flattens
a bent one, and extends hidden parts straight on. The rest shape takes over the mean strain and curvature of each neighbourhood, so only
deviations from the surroundings are resisted, as by an energy of second order. Noise is such a deviation, a smooth stretch hardly is, and
hidden parts go on bent as the seen parts beside them.
"""
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiled import REORDERED, njit
from .energy import SUPPORTED
from .graph import DeformationGraph

STRAIN = 0.9            # share of the strain that is taken over; the rest holds the surface where landmarks are few
ROUNDS = 3              # of averaging over a node and its neighbours
SHORTENED = 0.5         # share of the difference of arc and chord that is subtracted; the strain taken over holds some of it already
PRIOR = 0.02            # weight of the reference against one well-seen node; it prevails far from all that is seen
WELL_SEEN = 0.5         # share of a node's vertices that depth must support for it to count fully
REGULAR = 1e-2          # squared spacings added to a node's normal equations: at the end of a strip all neighbours are on one side


class Rest(NamedTuple):
    """offsets: (E, 3) metres from node i to j at rest, in the reference's orientation. strain: standard deviation of the strain over the
    nodes where both depth and landmarks determine it; NaN where there are none."""

    offsets: Any
    strain: float


class RestShape:
    """Rest offsets along one graph's directed edges. frame: (K, 3, 3) rows normal and two tangents of the reference at each node."""

    def __init__(self, graph: DeformationGraph, frame: np.ndarray) -> None:
        self._graph, self._frame = graph, frame
        self.reference = np.ascontiguousarray(graph.position[graph.edges[:, 1]] - graph.position[graph.edges[:, 0]])
        count, spacing = len(graph), graph.spacing
        first = graph.edges[:, 0]
        self._local = np.ascontiguousarray(np.einsum("eij,ej->ei", frame[first], self.reference) / spacing)     # in spacings
        x, y = self._local[:, 1], self._local[:, 2]
        self._linear = _least_squares(np.stack([x, y], axis=1), first, count)
        self._quadratic = _least_squares(np.stack([x * x, x * y, y * y], axis=1), first, count)
        self._mass = np.bincount(graph.node_index.ravel(), graph.weight.ravel(), count)

    def following(self, R: np.ndarray, t: np.ndarray, seen: np.ndarray, marked: np.ndarray) -> Rest:
        """The rest shape of a state. R, t: the state. seen: (V,) what each vertex met (energy.SUPPORTED ...). marked: (K,) how many
        landmarks hold each node, as depth alone does not show strain along the surface."""
        graph = self._graph
        supported = np.bincount(graph.node_index.ravel(), (graph.weight * (seen == SUPPORTED)[:, None]).ravel(), len(graph))
        trust = np.minimum(supported / np.maximum(self._mass, 1e-12) / WELL_SEEN, 1.0) ** 2
        measured = _measure(graph.edges, self.reference, self._local, self._frame, self._linear, self._quadratic, R, t, graph.spacing)
        smooth = _averaged(graph.first_edge, graph.edges, measured, trust)
        smooth[:, 0] *= STRAIN
        return Rest(_rest(graph.edges, self.reference, self._frame, smooth), standard_deviation(measured[:, 0], trust * marked))


def standard_deviation(tensors: np.ndarray, trust: np.ndarray) -> float:
    """Standard deviation of (K, 3, 3) tensors, in the Frobenius norm, each counting by its trust; NaN where none is trusted."""
    if not trust.any():
        return float("nan")
    share = trust / trust.sum()
    mean = np.einsum("k,kij->ij", share, tensors)
    return float(np.sqrt(max(np.einsum("k,kij,kij->", share, tensors, tensors) - (mean**2).sum(), 0.0)))


def _least_squares(rows: np.ndarray, node: np.ndarray, count: int) -> np.ndarray:
    """(E, n): contribution of each edge's value to the coefficients of its node's regression on `rows` (E, n)."""
    normal = np.zeros((count, rows.shape[1], rows.shape[1]))
    np.add.at(normal, node, rows[:, :, None] * rows[:, None, :])
    inverse = np.linalg.inv(normal + REGULAR * np.eye(rows.shape[1]))
    return np.ascontiguousarray(np.einsum("eij,ej->ei", inverse[node], rows))


@njit(fastmath=REORDERED)
def _measure(edges, reference, local, frame, linear, quadratic, R, t, spacing):
    """Strain and curvature of each node as symmetric tensors of the reference: (K, 2, 3, 3), the second in 1 / m."""
    count = len(frame)
    gradient, bent = np.zeros((count, 2, 2)), np.zeros((count, 3))
    now, turned = np.empty(3), np.empty(3)
    for e in range(len(edges)):
        i, j = edges[e]
        for k in range(3):
            now[k] = reference[e, k] + t[j, k] - t[i, k]
        for k in range(3):
            turned[k] = R[i, 0, k] * now[0] + R[i, 1, k] * now[1] + R[i, 2, k] * now[2]     # back into the reference
        for a in range(3):
            change = frame[i, a, 0] * turned[0] + frame[i, a, 1] * turned[1] + frame[i, a, 2] * turned[2]
            change = change / spacing - local[e, a]
            if a == 0:
                for k in range(3):
                    bent[i, k] += change * quadratic[e, k]
            else:
                for k in range(2):
                    gradient[i, a - 1, k] += change * linear[e, k]
    out = np.zeros((count, 2, 3, 3))
    for i in range(count):
        mixed = 0.5 * (gradient[i, 0, 1] + gradient[i, 1, 0])
        _to_reference(frame[i], gradient[i, 0, 0], mixed, gradient[i, 1, 1], out[i, 0])
        _to_reference(frame[i], bent[i, 0] / spacing, 0.5 * bent[i, 1] / spacing, bent[i, 2] / spacing, out[i, 1])
    return out


@njit(fastmath=REORDERED, inline="always")
def _to_reference(frame, xx, xy, yy, out):
    for p in range(3):
        for q in range(3):
            out[p, q] = (xx * frame[1, p] * frame[1, q] + xy * (frame[1, p] * frame[2, q] + frame[2, p] * frame[1, q])
                         + yy * frame[2, p] * frame[2, q])


@njit(fastmath=REORDERED)
def _averaged(first_edge, edges, tensors, trust):
    """Mean over each node's neighbourhood, weighted by trust, with a prior at zero."""
    count = len(tensors)
    values, weights = np.empty((count, 18)), trust.copy()
    for i in range(count):
        values[i] = tensors[i].ravel() * trust[i]
    for _ in range(ROUNDS):
        new_values, new_weights = values.copy(), weights.copy()
        for i in range(count):
            for e in range(first_edge[i], first_edge[i + 1]):
                j = edges[e, 1]
                new_weights[i] += weights[j]
                for k in range(18):
                    new_values[i, k] += values[j, k]
            share = 1.0 / (1 + first_edge[i + 1] - first_edge[i])
            new_weights[i] *= share
            new_values[i] *= share
        values, weights = new_values, new_weights
    for i in range(count):
        values[i] /= weights[i] + PRIOR
    return values.reshape(tensors.shape)


@njit(fastmath=REORDERED)
def _rest(edges, reference, frame, tensors):
    """Offsets d strained along the surface, d + E d, and bent out of it as an arc of height d . Q d; E and Q are averaged over the edge's
    two nodes."""
    out = np.empty_like(reference)
    for e in range(len(edges)):
        i, j = edges[e]
        d = reference[e]
        height = 0.0
        for p in range(3):
            strained = 0.0
            for q in range(3):
                strained += 0.5 * (tensors[i, 0, p, q] + tensors[j, 0, p, q]) * d[q]
                height += 0.5 * (tensors[i, 1, p, q] + tensors[j, 1, p, q]) * d[p] * d[q]
            out[e, p] = d[p] + strained
        length = math.sqrt(out[e, 0] ** 2 + out[e, 1] ** 2 + out[e, 2] ** 2)
        angle = 2.0 * height / (length + 1e-12)             # of the arc
        half = math.sin(0.5 * angle)
        shorter = 1.0 - SHORTENED * (1.0 - math.sin(angle) / angle) if abs(angle) > 0.2 else 1.0 - SHORTENED * angle * angle / 6.0
        rise = 2.0 * length * half * half / angle if abs(angle) > 1e-3 else height
        for p in range(3):
            out[e, p] = shorter * out[e, p] + rise * frame[i, 0, p]
    return out
