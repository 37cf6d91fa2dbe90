"""Gauss-Newton with a Levenberg-Marquardt guard on the deformation energy, solved by a band Cholesky."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack
from threadpoolctl import ThreadpoolController

from ..camera import PinholeCamera
from ..depth import jump_slope
from ..surface import Surface
from . import energy
from .graph import VERTICES_PER_NODE, DeformationGraph

CONVERGED = 1e-2     # share of the energy; a step that gains less is the last of its stage
# small band solves: threads cost far more than they save
_BLAS = ThreadpoolController()


@dataclass(frozen=True)
class Stage:
    """One stretch of iterations with constant weights. Scales in metres; weights relative to one vertex's depth reading."""

    iterations: int
    landmark_sigma: float
    depth_tukey: float
    depth_gate: float
    landmark_weight: float
    depth_weight: float
    stretch: float
    bend: float


@dataclass(frozen=True)
class Landmarks:
    """Points of the reference surface and where they were seen.

    points: (M, 3) reference metres; targets: (M, 3) metres in the current frame; confidence: (M,) 0..1;
    node_index (M, 4), node_weight (M, 4): the nodes each point follows.
    """

    points: np.ndarray
    targets: np.ndarray
    confidence: np.ndarray
    node_index: np.ndarray
    node_weight: np.ndarray

    def __len__(self) -> int:
        return len(self.points)


@dataclass
class State:
    """Node rotations (K, 3, 3) and translations (K, 3) m."""

    R: np.ndarray
    t: np.ndarray

    def copy(self) -> State:
        return State(self.R.copy(), self.t.copy())

    def finite(self) -> bool:
        return bool(np.isfinite(self.R).all() and np.isfinite(self.t).all())


@dataclass(frozen=True)
class Fit:
    """What the solve ended with. seen: (V,) what each vertex met (energy.SUPPORTED ...); residual_m: RMS over the supported.

    energy: under the last stage's weights, so that fits that ended with the same stage compare.
    """

    state: State
    energy: float
    seen: np.ndarray
    residual_m: float
    supported: int
    landmark_residual: np.ndarray
    iterations: int


class Solver:
    """Holds the buffers for one graph and surface; `solve` may be called any number of times."""

    def __init__(self, surface: Surface, graph: DeformationGraph, camera: PinholeCamera, fit_radius: int = 2) -> None:
        self.graph = graph
        self.camera = camera
        self.vertices = surface.vertices.astype(np.float64)
        self.normals = surface.normals.astype(np.float64)
        self.fit_radius = fit_radius
        self.slope = jump_slope(camera)
        # so that weights mean the same whatever the number of vertices a node has
        self.vertex_weight = VERTICES_PER_NODE * len(graph) / len(self.vertices)
        self._band = np.zeros((6 * len(graph), 6 * (graph.bandwidth + 1)), np.float32)
        self._rhs = np.zeros(6 * len(graph))
        self._frame = _node_frames(graph, self.normals)
        self._seen = np.zeros(len(self.vertices), np.uint8)

    def solve(self, state: State, depth: np.ndarray, landmarks: Landmarks, stages: list[Stage]) -> Fit:
        """Run the stages from `state`. depth: clean (H, W) float32 metres. Never returns a non-finite state."""
        iterations = 0
        for stage in stages:
            damping = 1e-3
            value = self._evaluate(state, depth, landmarks, stage, True)[0]
            for left in reversed(range(stage.iterations)):
                iterations += 1
                more = left > 0                       # the last step's normal equations would never be solved
                step = self._step(damping)
                if step is None:
                    damping *= 100.0
                    if damping > 1e6:
                        break
                    self._evaluate(state, depth, landmarks, stage, more)
                    continue
                trial = State(*energy.apply_step(state.R, state.t, step))
                trial_value = self._evaluate(trial, depth, landmarks, stage, more)[0] if trial.finite() else np.inf
                if trial_value <= value * 1.02:       # re-association may raise the energy a little: that is no failure
                    state, damping = trial, max(damping * 0.3, 1e-4)
                    converged = abs(value - trial_value) < CONVERGED * value
                    value = trial_value
                    if converged:
                        break
                else:
                    damping *= 30.0
                    value = self._evaluate(state, depth, landmarks, stage, more)[0]
        return self._finish(state, depth, landmarks, stages[-1], iterations)

    def _finish(self, state: State, depth: np.ndarray, landmarks: Landmarks, stage: Stage, iterations: int) -> Fit:
        value, squares, supported, residuals = self._evaluate(state, depth, landmarks, stage, False)
        rms = float(np.sqrt(squares / supported)) if supported else float("nan")
        return Fit(state, value, self._seen.copy(), rms, int(supported), residuals, iterations)

    def _evaluate(self, state: State, depth: np.ndarray, landmarks: Landmarks, stage: Stage,
                  assemble: bool) -> tuple[float, float, int, np.ndarray]:
        graph, camera = self.graph, self.camera
        if assemble:
            self._band.fill(0.0)
            self._rhs.fill(0.0)
        residuals = np.zeros(len(landmarks))
        value, squares, supported = energy.depth_term(
            self._band, self._rhs, self.vertices, self.normals, graph.node_index, graph.weight, state.R, state.t, graph.position, depth,
            camera.fx, camera.fy, camera.cx, camera.cy, self.fit_radius, self.slope, stage.depth_gate, stage.depth_tukey,
            stage.depth_weight * self.vertex_weight, assemble and stage.depth_weight > 0, self._seen)
        if len(landmarks):
            value += energy.landmark_term(
                self._band, self._rhs, landmarks.points, landmarks.targets, landmarks.confidence, landmarks.node_index,
                landmarks.node_weight, state.R, state.t, graph.position, stage.landmark_sigma, stage.landmark_weight, assemble, residuals)
        value += energy.rigidity_term(self._band, self._rhs, graph.edges, self._frame, state.R, state.t,
                                      graph.position, stage.stretch, stage.bend, assemble)
        return value, squares, supported, residuals

    def _step(self, damping: float) -> np.ndarray | None:
        """Solve (H + D) x = rhs; None when H + D is not positive definite. Turning is damped like the shift it makes a spacing away."""
        spacing = self.graph.spacing
        diagonal = self._band[:, 0].reshape(-1, 6)
        diagonal[:, :3] += damping * spacing * spacing
        diagonal[:, 3:] += damping
        with _BLAS.limit(limits=1, user_api="blas"):
            _, x, info = lapack.spbsv(self._band.T, self._rhs.astype(np.float32), lower=1, overwrite_ab=1, overwrite_b=1)
        if info != 0 or not np.isfinite(x).all():
            return None
        return x.astype(np.float64)


def _node_frames(graph: DeformationGraph, normals: np.ndarray) -> np.ndarray:
    """Per node an orthonormal frame (K, 3, 3), rows: surface normal (mean over the node's vertices), two tangents."""
    normal = np.zeros((len(graph), 3))
    for k in range(graph.node_index.shape[1]):
        np.add.at(normal, graph.node_index[:, k], graph.weight[:, k, None] * normals)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    aside = np.where(np.abs(normal[:, :1]) < 0.7, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    first = np.cross(normal, aside)
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-9)
    return np.ascontiguousarray(np.stack([normal, first, np.cross(normal, first)], axis=1))
