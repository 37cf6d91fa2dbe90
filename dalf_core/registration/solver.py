"""Gauss-Newton with a Levenberg-Marquardt guard on the deformation energy."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..camera import PinholeCamera
from ..surface import Surface
from . import energy
from .graph import VERTICES_PER_NODE, DeformationGraph
from .normal_equations import NormalEquations
from .outline import nearest_surface, outline_camera
from .planes import LocalPlanes
from .rest_shape import RestShape
from .stiffness import stretch_weight

CONVERGED = 2e-2     # share of the energy; a step predicted to reduce it by less is the last of its stage
RISE = 0.02          # share by which a step may raise the energy, as new depth readings that vertices meet do
BEHIND = 3.0         # node spacings behind the surface's farthest node; anything farther is background


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Gauss-Newton steps with constant scales (metres) and weights (relative to one vertex's depth reading).

    landmark_sigma: scale of Geman-McClure. depth_tukey: scale of Tukey's biweight. depth_gate: a reading farther off is not the surface.
    stretch, bend: rigidity along and across the surface. free_space: for a vertex that projects beside all that the depth image shows.
    adaptive: the rest shape and the weight `stretch` follow the surface as it is when the stage begins (see rest_shape, stiffness);
    otherwise the rest shape is the reference. two_sided: depth may show the surface's back.
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
    adaptive: bool = False
    two_sided: bool = False


@dataclass(frozen=True)
class Landmarks:
    """Points of the reference surface and where they were seen.

    points: (M, 3) reference metres; targets: (M, 3) metres in the current frame; confidence: (M,) 0..1;
    vertex: (M,) the surface's vertex whose nodes each point follows.
    ray_only: (M,) bool, viewing-ray constraint: seen without a depth reading, the target may be any point of its viewing ray.
    None = none.
    """

    points: np.ndarray
    targets: np.ndarray
    confidence: np.ndarray
    vertex: np.ndarray
    ray_only: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.points)

    def rays(self) -> np.ndarray:
        """(M,) bool: ray_only."""
        return np.zeros(len(self), bool) if self.ray_only is None else self.ray_only

    def held(self, graph: DeformationGraph, selected: np.ndarray) -> np.ndarray:
        """(K,) how many of the selected landmarks, (M,) bool, hold each node; each is shared among the nodes it follows."""
        node, weight = graph.node_index[self.vertex[selected]], graph.weight[self.vertex[selected]]
        return np.bincount(node.ravel(), weight.ravel(), len(graph))

    def distances(self, state: State, graph: DeformationGraph) -> np.ndarray:
        """(M,) metres to the targets."""
        node, weight = graph.node_index[self.vertex], graph.weight[self.vertex]
        moved = energy.deform_points(self.points, node, weight, state.R, state.t, graph.position)
        along = (moved * self.targets).sum(axis=1) / np.maximum((self.targets**2).sum(axis=1), 1e-12)
        targets = np.where(self.rays()[:, None], along[:, None] * self.targets, self.targets)
        return np.linalg.norm(moved - targets, axis=1)

    def distance(self, state: State, graph: DeformationGraph) -> float:
        """Median distance of the trusted landmarks to their targets, metres; 0 without any."""
        trusted = self.confidence > 0
        return float(np.median(self.distances(state, graph)[trusted])) if trusted.any() else 0.0


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
    """Result of a solve. seen: (V,) what each vertex met (energy.SUPPORTED ...); residual_m: RMS over the supported.

    energy: under the weights of its last stage, which may be adaptive; Solver.energy_of gives comparable ones.
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
    """The energy at a state, the sum of squared depth residuals (m^2) and how many vertices have one, what each vertex met (V,),
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
        self._planes = LocalPlanes(camera, fit_radius)
        self.vertices = surface.vertices.astype(np.float64)
        self.normals = surface.normals.astype(np.float64)
        # so that weights do not depend on the number of vertices a node has
        self.vertex_weight = VERTICES_PER_NODE * len(graph) / len(self.vertices)
        self._here, self._there = self._equations(), self._equations()
        self.frame = _node_frames(graph, self.normals)
        self._shape = RestShape(graph, self.frame)
        self._rest = self._shape.reference

    def solve(self, state: State, depth: np.ndarray, landmarks: Landmarks, stages: list[Stage]) -> Fit:
        """Run the stages from `state`. depth: clean (H, W) float32 metres. Never returns a non-finite state."""
        iterations = 0
        self._planes.forget()
        self._outline = nearest_surface(depth, self._coarse, self._reach(state))
        evaluation: Evaluation | None = None
        for stage in stages:
            self._rest = self._shape.reference
            if stage.adaptive:
                evaluation = evaluation or self._evaluate(state, depth, landmarks, stage, None)
                stage = self._adapted(stage, state, evaluation, landmarks)
            state, evaluation, steps = self._run(state, depth, landmarks, stage)
            iterations += steps
        assert evaluation is not None, "a solve needs a stage"
        squares, supported = evaluation.squares, evaluation.supported
        rms = float(np.sqrt(squares / supported)) if supported else float("nan")
        return Fit(state, evaluation.energy, evaluation.seen, rms, supported, evaluation.landmark_residual, iterations)

    def energy_of(self, fit: Fit, depth: np.ndarray, landmarks: Landmarks, stage: Stage) -> float:
        """The energy of a fit to the depth image solved last, with the stage's own stiffness, so that fits can be compared."""
        self._rest = self._shape.following(fit.state.R, fit.state.t, fit.seen, np.zeros(len(self.graph))).offsets
        return self._evaluate(fit.state, depth, landmarks, stage, None).energy

    def information(self, state: State, depth: np.ndarray, landmarks: Landmarks, stage: Stage) -> tuple[np.ndarray, np.ndarray]:
        """The matrix of the normal equations at a state: blocks (K, 6, 6) of the nodes and (E, 6, 6) of the edges, float64, see
        NormalEquations. Rigidity is measured against the reference. stage: its weights, and no free space."""
        self._planes.forget()
        self._rest = self._shape.reference
        self._evaluate(state, depth, landmarks, stage, self._here)
        blocks = self._here.diagonal, self._here.coupling
        diagonal, coupling = (block[:, :, :6].transpose(0, 2, 1).astype(np.float64) for block in blocks)
        return diagonal, coupling

    def deformed(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """The surface's vertices and normals at a state, (V, 3) float32 each."""
        graph = self.graph
        vertices = energy.deform_points(self.vertices, graph.node_index, graph.weight, state.R, state.t, graph.position)
        normals = energy.deform_normals(self.normals, graph.node_index, graph.weight, state.R)
        return vertices.astype(np.float32), normals.astype(np.float32)

    def _adapted(self, stage: Stage, state: State, found: Evaluation, landmarks: Landmarks) -> Stage:
        """Set the rest shape that follows the state. Returns the stage with the stiffness that follows it."""
        agreeing = (landmarks.confidence > 0) & (found.landmark_residual < stage.landmark_sigma)
        rest = self._shape.following(state.R, state.t, found.seen, landmarks.held(self.graph, agreeing))
        self._rest = rest.offsets
        return replace(stage, stretch=stretch_weight(stage.stretch, rest.strain, int(agreeing.sum())))

    def _equations(self) -> NormalEquations:
        """Room for the normal equations at one state."""
        return NormalEquations(self.graph)

    def _reach(self, state: State) -> float:
        """Metres from the camera beyond which nothing can be the surface or in front of it."""
        return float((self.graph.position + state.t)[:, 2].max()) + BEHIND * self.graph.spacing

    def _run(self, state: State, depth: np.ndarray, landmarks: Landmarks, stage: Stage) -> tuple[State, Evaluation, int]:
        """One stage of Gauss-Newton steps. Returns the state, its evaluation, and the number of steps tried.

        A step that the quadratic model predicts to gain little is the last one, and needs no equations where it ends.
        """
        damping = 1e-3
        here = self._evaluate(state, depth, landmarks, stage, self._here)
        for tried in range(1, stage.iterations + 1):
            step = self._here.solve(self._damping(damping))
            predicted = 0.0 if step is None else 0.5 * float((self._here.rhs * step).sum())
            last = tried == stage.iterations or predicted < CONVERGED * here.energy
            trial = None if step is None else self._stepped(state, step)
            there = None if trial is None else self._evaluate(trial, depth, landmarks, stage, None if last else self._there)
            if trial is not None and there is not None and there.energy <= (1 + RISE) * here.energy:
                state, here, damping = trial, there, max(damping * 0.3, 1e-4)
                self._here, self._there = self._there, self._here
                if last:
                    break
            else:
                damping *= 30.0
                if damping > 1e6:
                    break
        return state, here, tried

    def _damping(self, amount: float) -> np.ndarray:
        """(6,) of a node's unknowns: a rotation is damped like the shift that it causes a spacing away."""
        return np.repeat([amount * self.graph.spacing**2, amount], 3)

    @staticmethod
    def _stepped(state: State, step: np.ndarray) -> State | None:
        """The state after one step; None when it is not finite."""
        stepped = State(*energy.apply_step(state.R, state.t, step.ravel()))
        return stepped if stepped.finite() else None

    def _evaluate(self, state: State, depth: np.ndarray, landmarks: Landmarks, stage: Stage, into: NormalEquations | None) -> Evaluation:
        """The energy at a state. into: receives the normal equations there; None = not wanted."""
        graph, camera, planes = self.graph, self.camera, self._planes
        wanted, buffer = into is not None, into or self._there
        if wanted:
            buffer.clear()
        equations = buffer.diagonal, buffer.coupling, buffer.rhs
        follow = graph.node_index, graph.weight, graph.pairs, state.R, state.t, graph.position
        residuals, seen = np.zeros(len(landmarks)), np.zeros(len(self.vertices), np.uint8)
        value, squares, supported = energy.depth_term(
            *equations, self.vertices, self.normals, *follow, depth, planes.value, planes.known, planes.radius, planes.gate,
            camera.fx, camera.fy, camera.cx, camera.cy, stage.depth_gate, stage.depth_tukey, stage.depth_weight * self.vertex_weight,
            stage.two_sided, wanted, seen)
        if stage.free_space > 0:
            coarse = self._coarse
            value += energy.silhouette_term(
                *equations, self.vertices, *follow, self._outline.label, self._outline.place, coarse.fx, coarse.fy, coarse.cx,
                coarse.cy, graph.spacing, stage.free_space * self.vertex_weight, wanted, seen)
        if len(landmarks):
            value += energy.landmark_term(
                *equations, landmarks.points, landmarks.vertex, landmarks.targets, landmarks.rays(), landmarks.confidence, *follow,
                stage.landmark_sigma, stage.landmark_weight, wanted, residuals)
        value += energy.rigidity_term(*equations, graph.first_edge, graph.edges, self._rest, self.frame, state.R, state.t, graph.position,
                                      stage.stretch, stage.bend, wanted)
        if wanted:
            buffer.symmetrise()
        return Evaluation(value, squares, int(supported), seen, residuals)


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
