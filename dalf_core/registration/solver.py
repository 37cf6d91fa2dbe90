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
from .energy import EQUATIONS, GRADIENT
from .graph import VERTICES_PER_NODE, DeformationGraph
from .outline import nearest_surface, outline_camera

CONVERGED = 2e-2     # share of the energy; a step that changes it by less is the last of its stage
RISE = 0.02          # share by which a fresh step may raise the energy: re-association does, and it is no failure
MAX_AGE = 3          # steps that one factor serves
BEHIND = 3.0         # node spacings behind the surface's farthest node: what is farther is background
# small band solves: threads cost far more than they save
_BLAS = ThreadpoolController()


@dataclass(frozen=True)
class Stage:
    """One stretch of iterations with constant weights. Scales in metres; weights relative to one vertex's depth reading.

    free_space: of a vertex that projects beside all that the depth image shows.
    """

    iterations: int
    landmark_sigma: float
    depth_tukey: float
    depth_gate: float
    landmark_weight: float
    depth_weight: float
    stretch: float
    bend: float
    free_space: float = 0.0


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

    def distance(self, state: State, nodes: np.ndarray) -> float:
        """Median distance of the trusted landmarks to their targets, metres; 0 without any. nodes: (K, 3) the graph's positions."""
        trusted = self.confidence > 0
        if not trusted.any():
            return 0.0
        moved = energy.deform_points(self.points[trusted], self.node_index[trusted], self.node_weight[trusted], state.R, state.t, nodes)
        return float(np.median(np.linalg.norm(moved - self.targets[trusted], axis=1)))


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


@dataclass(frozen=True)
class Evaluation:
    """A state judged: its energy, the sum of squared depth residuals (m^2) and how many vertices have one, what each vertex met (V,),
    and the landmarks' distances (M,) m."""

    energy: float
    squares: float
    supported: int
    seen: np.ndarray
    landmark_residual: np.ndarray


class Solver:
    """Holds the buffers for one graph and surface; `solve` may be called any number of times."""

    def __init__(self, surface: Surface, graph: DeformationGraph, camera: PinholeCamera, fit_radius: int = 2) -> None:
        self.graph = graph
        self.camera = camera
        self._coarse = outline_camera(camera)
        self.vertices = surface.vertices.astype(np.float64)
        self.normals = surface.normals.astype(np.float64)
        self.fit_radius = fit_radius
        self.slope = jump_slope(camera)
        # so that weights mean the same whatever the number of vertices a node has
        self.vertex_weight = VERTICES_PER_NODE * len(graph) / len(self.vertices)
        self._band = np.zeros((6 * len(graph), 6 * (graph.bandwidth + 1)), np.float32)
        self._rhs = np.zeros(6 * len(graph))
        self._frame = _node_frames(graph, self.normals)

    def solve(self, state: State, depth: np.ndarray, landmarks: Landmarks, stages: list[Stage]) -> Fit:
        """Run the stages from `state`. depth: clean (H, W) float32 metres. Never returns a non-finite state."""
        iterations = 0
        self._outline = nearest_surface(depth, self._coarse, self._reach(state))
        for stage in stages:
            state, evaluation, steps = self._run(state, depth, landmarks, stage)
            iterations += steps
        squares, supported = evaluation.squares, evaluation.supported
        rms = float(np.sqrt(squares / supported)) if supported else float("nan")
        return Fit(state, evaluation.energy, evaluation.seen, rms, supported, evaluation.landmark_residual, iterations)

    def _reach(self, state: State) -> float:
        """Metres from the camera beyond which nothing can be the surface or in front of it."""
        return float((self.graph.position + state.t)[:, 2].max()) + BEHIND * self.graph.spacing

    def _run(self, state: State, depth: np.ndarray, landmarks: Landmarks, stage: Stage) -> tuple[State, Evaluation, int]:
        """One stage of Newton steps. Returns the state, what was found there, and the number of steps tried.

        Factorising the normal equations costs twenty times what solving them does. So a factor serves for several steps, each with
        its own right-hand side, until a step fails or gains little (a modified Newton method with a Levenberg-Marquardt guard).
        """
        damping, age = 1e-3, 0
        here = self._evaluate(state, depth, landmarks, stage, EQUATIONS)
        factor = self._factorise(damping)
        for tried in range(1, stage.iterations + 1):
            trial = None if factor is None else self._stepped(state, factor)
            there = None if trial is None else self._evaluate(trial, depth, landmarks, stage, GRADIENT)
            value = np.inf if there is None else there.energy
            gain = here.energy - value
            fresh = age == 0
            if trial is not None and there is not None and gain >= -(RISE if fresh else 0.0) * here.energy:
                state, here, damping = trial, there, max(damping * 0.3, 1e-4)
            elif fresh:
                damping *= 30.0
            if abs(gain) < CONVERGED * value or damping > 1e6:
                break
            age += 1
            if (gain < 0 or age >= MAX_AGE) and tried < stage.iterations:
                here = self._evaluate(state, depth, landmarks, stage, EQUATIONS)
                factor, age = self._factorise(damping), 0
        return state, here, tried

    def _stepped(self, state: State, factor: np.ndarray) -> State | None:
        """The state after one step; None when it is not finite."""
        with _BLAS.limit(limits=1, user_api="blas"):
            x, _ = lapack.spbtrs(factor, self._rhs.astype(np.float32), lower=1)
        stepped = State(*energy.apply_step(state.R, state.t, x.astype(np.float64)))
        return stepped if stepped.finite() else None

    def _evaluate(self, state: State, depth: np.ndarray, landmarks: Landmarks, stage: Stage, wanted: int) -> Evaluation:
        """The energy; into the buffers the right-hand side (GRADIENT) or the whole normal equations (EQUATIONS)."""
        graph, camera = self.graph, self.camera
        if wanted == EQUATIONS:
            self._band.fill(0.0)
        self._rhs.fill(0.0)
        residuals, seen = np.zeros(len(landmarks)), np.zeros(len(self.vertices), np.uint8)
        value, squares, supported = energy.depth_term(
            self._band, self._rhs, self.vertices, self.normals, graph.node_index, graph.weight, state.R, state.t, graph.position, depth,
            camera.fx, camera.fy, camera.cx, camera.cy, self.fit_radius, self.slope, stage.depth_gate, stage.depth_tukey,
            stage.depth_weight * self.vertex_weight, wanted, seen)
        if stage.free_space > 0:
            coarse = self._coarse
            value += energy.silhouette_term(
                self._band, self._rhs, self.vertices, graph.node_index, graph.weight, state.R, state.t, graph.position, self._outline,
                coarse.fx, coarse.fy, coarse.cx, coarse.cy, graph.spacing, stage.free_space * self.vertex_weight, wanted, seen)
        if len(landmarks):
            value += energy.landmark_term(
                self._band, self._rhs, landmarks.points, landmarks.targets, landmarks.confidence, landmarks.node_index,
                landmarks.node_weight, state.R, state.t, graph.position, stage.landmark_sigma, stage.landmark_weight, wanted, residuals)
        value += energy.rigidity_term(self._band, self._rhs, graph.edges, self._frame, state.R, state.t,
                                      graph.position, stage.stretch, stage.bend, wanted)
        return Evaluation(value, squares, int(supported), seen, residuals)

    def _factorise(self, damping: float) -> np.ndarray | None:
        """Cholesky factor of the normal equations, in place; None when they are not positive definite. Turning is damped like the
        shift it makes a spacing away."""
        spacing = self.graph.spacing
        diagonal = self._band[:, 0].reshape(-1, 6)
        diagonal[:, :3] += damping * spacing * spacing
        diagonal[:, 3:] += damping
        with _BLAS.limit(limits=1, user_api="blas"):
            factor, info = lapack.spbtrf(self._band.T, lower=1, overwrite_ab=1)
        return factor if info == 0 else None


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
