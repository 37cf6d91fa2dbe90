"""The solver with its energy and equations on a device of NVIDIA Warp: CUDA, or Warp's CPU, which the tests use."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import warp as wp

from ...camera import PinholeCamera
from ...surface import Surface
from ..energy import SUPPORTED
from ..graph import NODES_PER_VERTEX, DeformationGraph
from ..outline import Outline
from ..solver import Evaluation, Fit, Landmarks, Solver, Stage, State
from . import energy as kernels
from .device import IN_USE, device_of
from .equations import GpuEquations
from .rest_shape import GpuRestShape

PARTS = 64      # blocks that sum up the energy


class GpuSolver(Solver):
    """As Solver, within rounding, which moves vertices by some 0.0001 mm; rarely a step more or less is made for it.

    The graph, the surface and the equations stay on the device; a solve sends the depth image, its outline and the landmarks, a step sends
    the nodes' motion. The state and the damping are the host's. The same input gives the same output on the same device.
    """

    def __init__(self, surface: Surface, graph: DeformationGraph, camera: PinholeCamera, fit_radius: int = 2, device: str = "cuda") -> None:
        with IN_USE:
            self.device = device_of(device)
            super().__init__(surface, graph, camera, fit_radius)
            self._make_room()

    def _make_room(self) -> None:
        """Send the constants, and allocate the rest."""
        self._model = self._sent_model()
        self._motion, self._data = kernels.Motion(), kernels.DataTerms()
        nodes, count = len(self.graph), len(self.vertices)
        self._motion.R, self._motion.t = self._empty(nodes, wp.mat33d), self._empty(nodes, wp.vec3d)
        self._data.hessian, self._data.gradient = self._empty(count, wp.mat33), self._empty(count, wp.vec3)
        self._shape = GpuRestShape(self.graph, self.frame, self._model, self._motion, self.device)
        self._rest = self._shape.reference
        self._seen = self._empty(count, wp.uint8)
        self._vertex_cost, self._node_cost = self._empty(count, wp.vec2), self._empty(nodes, float)
        self._parts = self._empty((PARTS, 2), wp.float64)
        self._remembered: dict[str, tuple[object, Any]] = {}

    def solve(self, state: State, depth: np.ndarray, landmarks: Landmarks, stages: list[Stage]) -> Fit:
        with IN_USE:
            self._remembered.clear()
            return super().solve(state, depth, landmarks, stages)

    def energy_of(self, fit: Fit, depth: np.ndarray, landmarks: Landmarks, stage: Stage) -> float:
        with IN_USE:
            return super().energy_of(fit, depth, landmarks, stage)

    def deformed(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        with IN_USE:
            self._send_motion(state)
            vertices, normals = (self._empty(len(self.vertices), wp.vec3) for _ in range(2))
            self._launch(kernels.deform, len(self.vertices), self._model, self._motion, vertices, normals)
            return vertices.numpy(), normals.numpy()

    def _equations(self) -> GpuEquations:          # type: ignore[override]
        return GpuEquations(self.graph, self.device)

    def _evaluate(self, state: State, depth: np.ndarray, landmarks: Landmarks, stage: Stage,          # type: ignore[override]
                  into: GpuEquations | None) -> Evaluation:
        cost, distance, order = self._once("landmarks", landmarks, self._sent_landmarks)
        model, motion, data, rest = self._model, self._motion, self._data, self._rest
        self._send_motion(state)
        self._judge(depth, stage)
        if len(landmarks):
            self._launch(kernels.judge_landmarks, len(landmarks), model, motion, stage.landmark_sigma, stage.landmark_weight, data, cost,
                         distance)
        self._launch(kernels.judge_rigidity, len(self.graph), model, motion, rest, stage.stretch, stage.bend, self._node_cost)
        wp.launch_tiled(kernels.sum_costs, dim=[PARTS], inputs=[self._vertex_cost, cost, self._node_cost, self._parts],
                        block_dim=kernels.THREADS, device=self.device)
        if into is not None:
            self._launch(kernels.gather_nodes, len(self.graph), model, motion, data, rest, stage.stretch, stage.bend, into.diagonal,
                         into.gradient)
            self._launch(kernels.gather_pairs, len(model.pair_edge), model, motion, data, stage.stretch, stage.bend, into.coupling)
        energy, squares = self._parts.numpy().sum(axis=0)
        seen, residual = self._seen.numpy().copy(), np.empty(len(landmarks))
        residual[order] = distance.numpy()
        return Evaluation(float(energy), float(squares), int((seen == SUPPORTED).sum()), seen, residual)

    def _judge(self, depth: np.ndarray, stage: Stage) -> None:
        """The data terms of all vertices: depth, and free space where depth does not support them."""
        planes = self._once("planes", depth, self._fitted_planes)
        model, motion, data, cost, seen = self._model, self._motion, self._data, self._vertex_cost, self._seen
        self._launch(kernels.judge_depth, len(self.vertices), model, motion, _view(self.camera), planes, stage.depth_gate,
                     stage.depth_tukey, stage.depth_weight * self.vertex_weight, stage.two_sided, data, cost, seen)
        if stage.free_space > 0:
            label, place = self._once("outline", self._outline, self._sent_outline)
            self._launch(kernels.judge_silhouette, len(self.vertices), model, motion, _view(self._coarse), label, place, self.graph.spacing,
                         stage.free_space * self.vertex_weight, seen, data, cost)

    # ---------------------------------------------------------------- to the device

    def _launch(self, kernel: wp.Kernel, count: int | tuple[int, ...], *arguments: object) -> None:
        wp.launch(kernel, dim=count, inputs=list(arguments), block_dim=kernels.THREADS, device=self.device)

    def _empty(self, shape: int | tuple[int, ...], kind: Any) -> wp.array:
        return wp.empty(shape, kind, device=self.device)

    def _sent(self, values: np.ndarray, kind: Any) -> wp.array:
        return wp.array(np.ascontiguousarray(values), dtype=kind, device=self.device)

    def _once(self, name: str, source: Any, make: Callable[[Any], Any]) -> Any:
        """make(source), which is remembered until another source comes."""
        if name not in self._remembered or self._remembered[name][0] is not source:
            self._remembered[name] = source, make(source)
        return self._remembered[name][1]

    def _send_motion(self, state: State) -> None:
        self._motion.R.assign(state.R)
        self._motion.t.assign(state.t)

    def _fitted_planes(self, depth: np.ndarray) -> wp.array:
        planes = self._empty(depth.shape, wp.vec3)
        self._launch(kernels.fit_planes, depth.shape, self._sent(depth, float), self._planes.radius, self._planes.gate, planes)
        return planes

    def _sent_outline(self, outline: Outline) -> tuple[wp.array, wp.array]:
        return self._sent(outline.label, int), self._sent(outline.place, wp.vec2)

    def _sent_landmarks(self, landmarks: Landmarks) -> tuple[wp.array, wp.array, np.ndarray]:
        """Into self._data, sorted by vertex; room for their costs and distances, and the order."""
        order = np.argsort(landmarks.vertex, kind="stable")
        data, count = self._data, len(landmarks)
        data.first = self._sent(_starts(landmarks.vertex, len(self.vertices)), int)
        data.point, data.target = self._sent(landmarks.points[order], wp.vec3d), self._sent(landmarks.targets[order], wp.vec3d)
        data.ray_only = self._sent(landmarks.rays()[order], bool)
        data.vertex, data.confidence = self._sent(landmarks.vertex[order], int), self._sent(landmarks.confidence[order], float)
        data.amount, data.landmark_gradient = self._empty(count, float), self._empty(count, wp.vec3)
        return self._empty(count, float), self._empty(count, float), order

    def _sent_model(self) -> kernels.Model:
        graph, model = self.graph, kernels.Model()
        model.vertex, model.normal = self._sent(self.vertices, wp.vec3d), self._sent(self.normals, wp.vec3d)
        model.node, model.weight = self._sent(graph.node_index, wp.vec4i), self._sent(graph.weight, wp.vec4d)
        model.position, model.rest_offset = self._sent(graph.position, wp.vec3d), self._sent(self._shape.reference, wp.vec3)
        model.first_edge, model.reverse = self._sent(graph.first_edge, int), self._sent(graph.reverse, int)
        model.neighbour, model.node_normal = self._sent(graph.edges[:, 1], int), self._sent(self.frame[:, 0], wp.vec3)
        vertex, slot = np.nonzero(graph.weight > 0)
        first, order = _grouped(graph.node_index[vertex, slot], len(graph))
        model.first_of_node, model.of_node = self._sent(first, int), self._sent(vertex[order], int)
        model.of_node_weight = self._sent(graph.weight[vertex, slot][order], float)
        # an edge and its reverse are one pair
        edge = np.flatnonzero(np.arange(len(graph.edges)) < graph.reverse)
        pair = np.empty(len(graph.edges), np.int64)
        pair[edge] = pair[graph.reverse[edge]] = np.arange(len(edge))
        a, b = np.triu_indices(NODES_PER_VERTEX, 1)
        vertex, slot = np.nonzero(graph.pairs >= 0)
        first, order = _grouped(pair[graph.pairs[vertex, slot]], len(edge))
        model.pair_edge, model.first_of_pair, model.of_pair = self._sent(edge, int), self._sent(first, int), self._sent(vertex[order], int)
        model.of_pair_weight = self._sent((graph.weight[vertex, a[slot]] * graph.weight[vertex, b[slot]])[order], float)
        return model


def _view(camera: PinholeCamera) -> kernels.View:
    view = kernels.View()
    view.fx, view.fy, view.cx, view.cy = camera.fx, camera.fy, camera.cx, camera.cy
    return view


def _starts(group: np.ndarray, count: int) -> np.ndarray:
    """(count + 1,): where each group starts when members are sorted by group."""
    return np.concatenate([[0], np.cumsum(np.bincount(group, minlength=count))])


def _grouped(group: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each group starts, and the order that sorts by group."""
    return _starts(group, count), np.argsort(group, kind="stable")
