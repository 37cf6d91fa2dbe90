"""rest_shape on a device of NVIDIA Warp: where a graph has thousands of edges, it would be a third of a frame on the CPU."""
from typing import Any

import numpy as np
import warp as wp

from ..energy import SUPPORTED
from ..graph import DeformationGraph
from ..rest_shape import PRIOR, ROUNDS, SHORTENED, STRAIN, WELL_SEEN, Rest, RestShape, standard_deviation
from .energy import THREADS, Model, Motion, reach

wp.set_module_options({"enable_backward": False})


@wp.struct
class Local:
    """Of each edge, in its first node's frame (rows normal and two tangents): the offset, and what it gives to the regressions."""

    spacing: float
    frame: wp.array[wp.mat33]
    offset: wp.array[wp.vec3]
    linear: wp.array[wp.vec2]
    quadratic: wp.array[wp.vec3]


@wp.struct
class Bent:
    """Strain and curvature of each node, and how far they are trusted; the first two are multiplied by that."""

    strain: wp.array[wp.mat33]
    curvature: wp.array[wp.mat33]
    trust: wp.array[float]


class GpuRestShape(RestShape):
    """As RestShape, but offsets are arrays (E,) of vec3 on the device. motion: room for a state."""

    def __init__(self, graph: DeformationGraph, frame: np.ndarray, model: Model, motion: Motion, device: wp.Device) -> None:
        super().__init__(graph, frame)
        self._device, self._model, self._motion = device, model, motion
        local = self._sent_local = Local()
        local.spacing, local.frame = graph.spacing, self._sent(frame, wp.mat33)
        local.offset, local.linear = self._sent(self._local, wp.vec3), self._sent(self._linear, wp.vec2)
        local.quadratic = self._sent(self._quadratic, wp.vec3)
        self._bent = self._room(len(graph)), self._room(len(graph))
        self._seen = wp.empty(len(graph.node_index), wp.uint8, device=device)
        self.reference = self._sent(self.reference, wp.vec3)
        self._following = wp.empty_like(self.reference)

    def following(self, R: np.ndarray, t: np.ndarray, seen: np.ndarray, marked: np.ndarray) -> Rest:
        """The offsets are overwritten by the next call."""
        bent, room = self._bent
        self._motion.R.assign(R)
        self._motion.t.assign(t)
        self._seen.assign(seen)
        self._launch(_measure, len(self._graph), self._model, self._motion, self._sent_local, self._seen, bent)
        strain = _strain_deviation(bent, marked)
        for _ in range(ROUNDS):
            self._launch(_average, len(self._graph), self._model, bent, room)
            bent, room = room, bent
        self._launch(_rest, len(self._graph.edges), self._model, self._sent_local, bent, self._following)
        return Rest(self._following, strain)

    def _sent(self, values: np.ndarray, kind: Any) -> wp.array:
        return wp.array(values, dtype=kind, device=self._device)

    def _room(self, count: int) -> Bent:
        bent = Bent()
        bent.strain, bent.curvature = (wp.empty(count, wp.mat33, device=self._device) for _ in range(2))
        bent.trust = wp.empty(count, float, device=self._device)
        return bent

    def _launch(self, kernel: wp.Kernel, count: int, *arguments: object) -> None:
        wp.launch(kernel, dim=count, inputs=list(arguments), block_dim=THREADS, device=self._device)


def _strain_deviation(bent: Bent, marked: np.ndarray) -> float:
    """Of the strain, see rest_shape.hessian."""
    trust = bent.trust.numpy().astype(np.float64)
    return standard_deviation(bent.strain.numpy() / np.maximum(trust, 1e-12)[:, None, None], trust * marked)


@wp.func
def _in_reference(frame: wp.mat33, xx: float, xy: float, yy: float) -> wp.mat33:
    """A symmetric tensor of the tangents x and y."""
    x = frame[1]
    y = frame[2]
    return xx * wp.outer(x, x) + xy * (wp.outer(x, y) + wp.outer(y, x)) + yy * wp.outer(y, y)


@wp.kernel
def _measure(model: Model, motion: Motion, local: Local, seen: wp.array[wp.uint8], bent: Bent) -> None:
    """rest_shape._measure, and each node's trust."""
    i = wp.tid()
    supported = wp.float32(0.0)
    mass = wp.float32(0.0)
    for n in range(model.first_of_node[i], model.first_of_node[i + 1]):
        mass += model.of_node_weight[n]
        if int(seen[model.of_node[n]]) == SUPPORTED:
            supported += model.of_node_weight[n]
    trust = wp.min(supported / wp.max(mass, 1.0e-12) / WELL_SEEN, 1.0)
    trust = trust * trust
    frame = local.frame[i]
    back = frame @ wp.transpose(wp.mat33(motion.R[i]))
    along_x = wp.vec2()
    along_y = wp.vec2()
    out = wp.vec3()
    for e in range(model.first_edge[i], model.first_edge[i + 1]):
        change = back @ reach(e, i, model.neighbour[e], model, motion) / local.spacing - local.offset[e]
        along_x += change[1] * local.linear[e]
        along_y += change[2] * local.linear[e]
        out += change[0] * local.quadratic[e]
    bent.strain[i] = trust * _in_reference(frame, along_x[0], 0.5 * (along_x[1] + along_y[0]), along_y[1])
    bent.curvature[i] = trust / local.spacing * _in_reference(frame, out[0], 0.5 * out[1], out[2])
    bent.trust[i] = trust


@wp.kernel
def _average(model: Model, bent: Bent, out: Bent) -> None:
    """Over each node and its neighbours."""
    i = wp.tid()
    strain = bent.strain[i]
    curvature = bent.curvature[i]
    trust = bent.trust[i]
    for e in range(model.first_edge[i], model.first_edge[i + 1]):
        j = model.neighbour[e]
        strain += bent.strain[j]
        curvature += bent.curvature[j]
        trust += bent.trust[j]
    share = 1.0 / float(1 + model.first_edge[i + 1] - model.first_edge[i])
    out.strain[i] = share * strain
    out.curvature[i] = share * curvature
    out.trust[i] = share * trust


@wp.kernel
def _rest(model: Model, local: Local, bent: Bent, rest: wp.array[wp.vec3]) -> None:
    """rest_shape._rest"""
    e = wp.tid()
    i = model.neighbour[model.reverse[e]]
    j = model.neighbour[e]
    at_i = 0.5 / (bent.trust[i] + PRIOR)
    at_j = 0.5 / (bent.trust[j] + PRIOR)
    d = model.rest_offset[e]
    strained = STRAIN * (at_i * (bent.strain[i] @ d) + at_j * (bent.strain[j] @ d))
    height = wp.dot(d, at_i * (bent.curvature[i] @ d) + at_j * (bent.curvature[j] @ d))
    along = d + strained
    length = wp.length(along)
    angle = 2.0 * height / (length + 1.0e-12)
    half = wp.sin(0.5 * angle)
    shorter = 1.0 - SHORTENED * angle * angle / 6.0
    rise = height
    if wp.abs(angle) > 0.2:
        shorter = 1.0 - SHORTENED * (1.0 - wp.sin(angle) / angle)
    if wp.abs(angle) > 1.0e-3:
        rise = 2.0 * length * half * half / angle
    rest[e] = shorter * along + rise * local.frame[i][0]
