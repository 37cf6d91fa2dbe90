"""NonRigidRegistration: a reference surface, and where it is in each frame."""
from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from ..camera import PinholeCamera
from ..depth import DEPTH_NOISE_M, FAR_M, NEAR_M, clean_depth
from ..stopwatch import Stopwatch
from ..surface import Surface, surface_from_depth
from ..types import DEGRADED, LOST, TRACKED, Registration
from . import energy
from .devices import solver_on
from .graph import DeformationGraph, build_graph
from .growing import carried_over, grow, unwarp
from .landmarks import PIXEL_NOISE, TRUSTED, initial_state, lift_pixels, prune
from .solver import Fit, Landmarks, Solver, State
from .stages import cold_stages, final_stage, warm_stages
from .uncertainty.vertex_covariance import VertexCovariance
from .visibility import supported_share, visible_vertices

MIN_LANDMARKS = 8            # trusted landmarks needed to find a surface that is not tracked
FEW_LANDMARKS = 4            # with fewer that agree, a tracked surface is degraded
LOST_SUPPORT = 0.10          # share of the vertices that must be visible, or the surface is lost
DEGRADED_SUPPORT = 0.40      # share of the vertices that must be visible, or the surface is degraded
CONTRADICTED = 0.35          # share of the judged vertices that the depth may contradict
MIN_SCALE = 0.012            # of the distance: the robust scale is no smaller, however close the nodes
HOLDS_WITHIN = 0.5           # of the robust scale: a trusted landmark so near supports a tracked fit
HOLDS_SHARE = 0.9            # share of trusted landmarks that must support it; else the frame is also solved from its landmarks alone
AGREES_WITHIN = 1.5          # of the robust scale: a landmark so near is an inlier
RAY_WITHIN = 1.0             # of the robust scale: a match without depth is used when its viewing ray passes the surface so near
JOINS_WITHIN = 0.25          # of the robust scale: a depth reading so near the surface belongs to it
GROW_EVERY = 5               # frames


@dataclass(frozen=True)
class Warp:
    """The deformation as a function of space near the reference surface."""

    surface: Surface
    graph: DeformationGraph
    state: State
    _tree: cKDTree

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """(N,) the vertex of the reference surface that is nearest to each point (N, 3) metres."""
        return self._tree.query(points)[1]

    def __call__(self, points: np.ndarray, nearest: np.ndarray | None = None) -> np.ndarray:
        """(N, 3) metres near the reference surface to (N, 3) metres in the current frame. Raises ValueError unless they are finite.

        nearest: what nearest(points) gave, for points that are warped again and again.
        """
        points = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3)
        if not np.isfinite(points).all():
            raise ValueError("points to warp must be finite")
        nearest = self.nearest(points) if nearest is None else nearest
        return energy.deform_points(points, self.graph.node_index[nearest], self.graph.weight[nearest],
                                    self.state.R, self.state.t, self.graph.position)


@dataclass(frozen=True)
class Model:
    """A reference surface with its graph, solver and search tree: always replaced as one."""

    surface: Surface
    graph: DeformationGraph
    solver: Solver
    tree: cKDTree


@dataclass(frozen=True)
class Pairs:
    """Correspondences of one frame.

    source: (M, 3) on the reference surface; target: (M, 3) in the current frame, metres. ray_only: (M,) bool, viewing-ray constraint:
    no depth reading, so the target is any point of its viewing ray. confidence: (M,) of the others, 0..1, see landmarks.prune.
    """

    source: np.ndarray
    target: np.ndarray
    ray_only: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.source)


class NonRigidRegistration:
    """Follows a deforming surface by an embedded deformation graph, DALF matches and depth.

    camera: of the depth images and of the pixel correspondences.
    device: "cpu"; "cuda" or "cuda:N", a GPU through NVIDIA Warp (RuntimeError where there is none); "auto" is the CPU. The attribute
    `device` is the one in use.
    node_spacing: metres between graph nodes; None chooses it from the surface. max_vertices: bound on the reference's size.
    pieces: "all" or "largest" connected piece of the reference depth.
    grow_to: surface that comes into view beside the reference is added up to this number of vertices; 0 = never. A frame that adds some
    has more vertices than the one before, the old ones first; `surface`, `graph` and `reference_vertices` change with it.
    near_m, far_m: depth readings outside this range are ignored, metres.
    depth_noise_m: how far off a landmark lifted through the depth image may be, metres, at least; it grows with a pixel's size on the
    surface. The default suits depth cameras at arm's length; for an endoscope at 4 cm take some 0.0002, and a smaller near_m.
    ValueError: limits that are not positive, or near_m not below far_m.
    """

    def __init__(self, camera: PinholeCamera, device: str = "auto", *, node_spacing: float | None = None, max_vertices: int = 6000,
                 pieces: str = "all", grow_to: int = 0, near_m: float = NEAR_M, far_m: float = FAR_M,
                 depth_noise_m: float = DEPTH_NOISE_M) -> None:
        if not 0 < near_m < far_m:
            raise ValueError(f"depth limits must be 0 < near_m < far_m, got {near_m} and {far_m} m")
        if not 0 < depth_noise_m < math.inf:
            raise ValueError(f"depth_noise_m must be positive metres, got {depth_noise_m}")
        self.device, self._make_solver = solver_on(device)
        self.camera = camera
        self.node_spacing = node_spacing
        self.max_vertices = max_vertices
        self.pieces = pieces
        self.grow_to = grow_to
        self.near_m, self.far_m, self.depth_noise_m = near_m, far_m, depth_noise_m
        self._model: Model | None = None
        self._reference_depth: np.ndarray | None = None
        self._uncertainty: tuple[Model, VertexCovariance] | None = None

    @property
    def surface(self) -> Surface | None:
        """The reference surface."""
        return self._model.surface if self._model else None

    @property
    def reference_vertices(self) -> np.ndarray | None:
        """(V, 3) float32 metres."""
        return self._model.surface.vertices if self._model else None

    @property
    def graph(self) -> DeformationGraph:
        """The deformation graph. RuntimeError before set_reference."""
        return self._require_model().graph

    # ---------------------------------------------------------------- reference

    def set_reference(self, depth_m: np.ndarray, image: np.ndarray | None = None, mask: np.ndarray | None = None) -> None:
        """Take the surface in a depth image as reference.

        depth_m: (H, W) float32 metres, NaN or 0 = no reading. image: BGR or grey, for colours. mask: (H, W), nonzero = keep.
        Raises SurfaceError when there is no usable surface, ValueError when the arrays do not fit; the old reference then stays.
        """
        self.set_reference_surface(surface_from_depth(depth_m, self.camera, image, mask, max_vertices=self.max_vertices,
                                                      pieces=self.pieces, near_m=self.near_m, far_m=self.far_m))
        self._reference_depth = self._clean(depth_m)

    def set_reference_surface(self, surface: Surface) -> None:
        """Take a mesh in the camera optical frame as reference (see surface.Surface); register_points then follows it."""
        self._model = self._modelled(surface, self.node_spacing)
        self._reference_depth = None
        graph = self._model.graph
        distance = float(np.median(surface.vertices[:, 2]))
        self._length = max(graph.spacing, MIN_SCALE * distance)       # the robust scale
        self._pixel_m = distance / min(self.camera.fx, self.camera.fy)
        self._state = State(np.tile(np.eye(3), (len(graph), 1, 1)), np.zeros((len(graph), 3)))
        self._before = self._state
        self._tracking = False
        self._frames = 0
        self._last: Registration | None = None
        self._depth: np.ndarray | None = None
        self._landmarks_used: Landmarks | None = None

    def _modelled(self, surface: Surface, spacing: float | None) -> Model:
        graph = build_graph(surface, spacing)
        return Model(surface, graph, self._make_solver(surface, graph, self.camera), cKDTree(surface.vertices))

    def _require_model(self) -> Model:
        if self._model is None:
            raise RuntimeError("no reference surface yet: call set_reference first")
        return self._model

    def _clean(self, depth_m: np.ndarray) -> np.ndarray:
        return clean_depth(depth_m, self.camera, near_m=self.near_m, far_m=self.far_m)

    def reference_points(self, reference_xy: np.ndarray) -> np.ndarray:
        """(M, 2) pixels of the reference image to (M, 3) points on the reference surface, metres; NaN where it is not there."""
        model = self._require_model()
        if self._reference_depth is None:
            raise RuntimeError("the reference is a mesh without a depth image: use register_points")
        points, lifted = lift_pixels(self._reference_depth, reference_xy, self.camera)
        if lifted.any():        # a keypoint beside the masked surface does not move with it
            lifted[lifted] = model.tree.query(points[lifted])[0] < 0.5 * model.graph.spacing
        points[~lifted] = np.nan
        return points

    def to_reference(self, current_xy: np.ndarray) -> np.ndarray:
        """(M, 2) pixels of the frame registered last to (M, 3) points on the reference surface, metres, by the inverse warp.

        NaN where the frame has no depth reading or shows something else, and everywhere while the surface is not tracked.
        """
        if self._last is None or self._depth is None or not self._tracking:
            return np.full((len(current_xy), 3), np.nan)
        last, graph = self._last, self.graph
        seen, usable = lift_pixels(self._depth, current_xy, self.camera)
        nearest = cKDTree(last.vertices, compact_nodes=False, balanced_tree=False).query(seen)[1]         # made in half the time
        apart = seen - last.vertices[nearest]
        off = np.abs((apart * last.normals[nearest]).sum(axis=1))
        usable &= last.visible[nearest] & (np.linalg.norm(apart, axis=1) < 0.5 * graph.spacing)
        usable &= off < max(JOINS_WITHIN * self._length, 3.0 * last.residual_m)
        points = unwarp(seen, nearest, graph, self._state)
        points[~usable] = np.nan
        return points

    def lifted(self, current_xy: np.ndarray) -> np.ndarray:
        """(M, 2) pixels of the frame registered last to (M, 3) metres that its depth has there; NaN where there is no reading."""
        if self._depth is None:
            return np.full((len(current_xy), 3), np.nan)
        points, known = lift_pixels(self._depth, current_xy, self.camera)
        points[~known] = np.nan
        return points

    # ---------------------------------------------------------------- register

    def register(self, depth_m: np.ndarray, reference_xy: np.ndarray, current_xy: np.ndarray) -> Registration:
        """Find the reference surface in a depth image, given pixel correspondences that may hold outliers.

        depth_m: (H, W) float32 metres, NaN or 0 = no reading. reference_xy, current_xy: (M, 2) pixels in the reference image
        and in this one; M may be 0. Result.inlier has one entry per correspondence. Raises ValueError on arrays that do not fit
        and RuntimeError before set_reference; a frame in which the surface cannot be found is a result with status "lost".
        """
        reference_xy, current_xy = _check_pairs(reference_xy, current_xy, 2, 2)
        return self.register_pixels(depth_m, self.reference_points(reference_xy), current_xy)

    def register_pixels(self, depth_m: np.ndarray, source: np.ndarray, current_xy: np.ndarray) -> Registration:
        """As register, with the reference side as points on the reference surface: source (M, 3) metres, NaN = not on it."""
        self._require_model()
        clock = Stopwatch()
        depth = self._clean(depth_m)
        source, current_xy = _check_pairs(source, current_xy, 3, 2)
        target, lifted = lift_pixels(depth, current_xy, self.camera)
        inside = ((current_xy >= -0.5) & (current_xy <= (self.camera.width - 0.5, self.camera.height - 0.5))).all(axis=1)
        known = np.isfinite(source).all(axis=1) & inside
        ray_only = known & ~lifted
        target[ray_only] = self.camera.lift(current_xy[ray_only], np.ones(ray_only.sum()))
        clock.lap("lift")
        result = self._register(depth, source[known], target[known], ray_only[known])
        inlier = np.zeros(len(source), bool)
        inlier[known] = result.inlier
        return replace(result, inlier=inlier, milliseconds={**clock.laps, **result.milliseconds})

    def register_points(self, depth_m: np.ndarray, source: np.ndarray, target: np.ndarray) -> Registration:
        """As register, with landmarks as points: source (M, 3) on the reference surface, target (M, 3) in this frame, metres."""
        self._require_model()
        source, target = _check_pairs(source, target, 3, 3)
        return self._register(self._clean(depth_m), source, target, np.zeros(len(source), bool))

    def _register(self, depth: np.ndarray, source: np.ndarray, target: np.ndarray, ray_only: np.ndarray) -> Registration:
        clock = Stopwatch()
        self._depth = depth
        noise_m = max(2.0 * PIXEL_NOISE * self._pixel_m, self.depth_noise_m)
        confidence = np.zeros(len(source))
        confidence[~ray_only] = prune(source[~ray_only], target[~ray_only], noise_m)
        pairs = Pairs(source, target, ray_only, confidence)
        landmarks = self._landmarks(pairs, self._state if self._tracking else None)
        clock.lap("prune")
        fit = self._warm(depth, landmarks) if self._tracking else None
        clock.lap("warm")
        if fit is None or not self._holds(fit, landmarks):
            fit, landmarks = self._cold(fit, landmarks, depth, pairs, clock)
        result = self._judge(fit, landmarks)
        clock.lap("result")
        if self._may_grow(result):
            result = self._grown(result, depth, pairs)
            clock.lap("grow")
        return replace(result, milliseconds=clock.laps)

    def _landmarks(self, pairs: Pairs, near: State | None) -> Landmarks:
        """Isometry cannot judge a viewing-ray constraint; it is used when it is not far from the surface in the state `near`."""
        nearest = self._require_model().tree.query(pairs.source)[1] if len(pairs) else np.zeros(0, int)
        confidence = np.where(pairs.confidence > TRUSTED, pairs.confidence, 0.0)
        landmarks = Landmarks(pairs.source, pairs.target, confidence, nearest, pairs.ray_only)
        if near is not None and pairs.ray_only.any():
            confidence[pairs.ray_only & (landmarks.distances(near, self.graph) < RAY_WITHIN * self._length)] = 1.0
        return landmarks

    def _warm(self, depth: np.ndarray, landmarks: Landmarks) -> Fit:
        """From the last state, or from where it would be at constant velocity, whichever is nearer to the landmarks."""
        start, ahead = self._state, predicted(self._before, self._state)
        if landmarks.distance(ahead, self.graph) < landmarks.distance(start, self.graph):
            start = ahead
        return self._require_model().solver.solve(start, depth, landmarks, warm_stages(self._length))

    def _cold(self, fit: Fit | None, landmarks: Landmarks, depth: np.ndarray, pairs: Pairs,
              clock: Stopwatch) -> tuple[Fit | None, Landmarks]:
        """Solve from the landmarks alone; the better of that and the fit given, with its landmarks. None where neither is possible."""
        enough = (pairs.confidence > TRUSTED).sum() >= MIN_LANDMARKS
        start = initial_state(pairs.source, pairs.target, pairs.confidence, self.graph, self.depth_noise_m) if enough else None
        clock.lap("initial")
        if start is not None:
            anew = self._landmarks(pairs, start)
            cold = self._require_model().solver.solve(start, depth, anew, cold_stages(self._length))
            if fit is None or self._better(cold, fit, depth, anew):
                fit, landmarks = cold, anew
        clock.lap("cold")
        return fit, landmarks

    # ---------------------------------------------------------------- uncertainty

    def covariance(self, points: np.ndarray | None = None) -> np.ndarray:
        """How sure the vertices of the frame registered last are: (V, 3, 3) float32 covariances, square metres, camera optical frame.

        points: (M, 3) metres on the reference surface, finite; then it is theirs, (M, 3, 3), and of a few of them quick.
        Standard deviations are the square roots of its eigenvalues. They are large where nothing holds a vertex: where it is hidden, and,
        along the surface, where that is plain. A point of result.warp has about the covariance of its nearest vertex.
        On the demo's cloth 70 % and 93 % of the errors are within one and two of them, of hidden vertices 69 % and 90 %. Of
        all vertices it costs more than registering the frame. Raises RuntimeError before a frame was registered, and after one in which the
        surface was lost.
        """
        model = self._require_model()
        if self._last is None or self._landmarks_used is None or self._depth is None or not self._tracking:
            raise RuntimeError("no covariance: the surface was not found in the frame registered last" if self._frames else
                               "no covariance: no frame is registered yet")
        if self._uncertainty is None or self._uncertainty[0] is not model:
            self._uncertainty = model, VertexCovariance(model.surface, model.graph, self.camera)
        frame = self._last, self._depth, self._landmarks_used, self._length
        if points is None:
            return self._uncertainty[1].covariance(*frame)
        points = np.asarray(points, np.float64).reshape(-1, 3)
        return self._uncertainty[1].of_points(points, model.tree.query(points)[1], *frame)

    # ---------------------------------------------------------------- growing

    def _may_grow(self, result: Registration) -> bool:
        self._frames += 1
        return result.status == TRACKED and len(result.vertices) < self.grow_to and self._frames % GROW_EVERY == 0

    def _grown(self, result: Registration, depth: np.ndarray, pairs: Pairs) -> Registration:
        """Add to the model what this frame shows beside it, and solve again. Where that loses the surface, model and result stay."""
        model, kept = self._require_model(), (self._model, self._state, self._before, self._last, self._landmarks_used)
        grown = grow(model.surface, model.graph, self._state, result.vertices, result.confidence, depth, self.camera, self.grow_to)
        if grown is None:
            return result
        self._model = self._modelled(grown.surface, model.graph.spacing)
        self._state = self._before = carried_over(grown, self.graph, model.graph, self._state)
        landmarks = self._landmarks(pairs, self._state)
        found = self._judge(self._model.solver.solve(self._state, depth, landmarks, warm_stages(self._length)), landmarks)
        if found.status != LOST:
            return found
        self._model, self._state, self._before, self._last, self._landmarks_used = kept
        self._tracking = True
        return result

    # ---------------------------------------------------------------- judge

    def _agreeing(self, fit: Fit, landmarks: Landmarks) -> np.ndarray:
        return (fit.landmark_residual < AGREES_WITHIN * self._length) & (landmarks.confidence > 0)

    def _holds(self, fit: Fit, landmarks: Landmarks) -> bool:
        """Do depth and landmarks agree with the fit so well that nothing else need be tried?"""
        trusted = landmarks.confidence > 0
        close = fit.landmark_residual[trusted] < HOLDS_WITHIN * self._length
        return self._visible(fit, landmarks).mean() >= LOST_SUPPORT and (trusted.sum() < MIN_LANDMARKS or close.mean() >= HOLDS_SHARE)

    def _better(self, fit: Fit, other: Fit, depth: np.ndarray, landmarks: Landmarks) -> bool:
        """Has it the lower energy?"""
        solver, stage = self._require_model().solver, final_stage(self._length, 1)
        return solver.energy_of(fit, depth, landmarks, stage) < solver.energy_of(other, depth, landmarks, stage)

    def _visible(self, fit: Fit, landmarks: Landmarks) -> np.ndarray:
        """(V,) bool: see visibility."""
        return visible_vertices(self.graph, fit.seen, landmarks.vertex[landmarks.rays() & self._agreeing(fit, landmarks)])

    def _judge(self, fit: Fit | None, landmarks: Landmarks) -> Registration:
        count = len(landmarks)
        if fit is None:
            trusted = int((landmarks.confidence > TRUSTED).sum())
            return self._lost(f"not tracked before, and only {trusted} of {count} matches agree with each other "
                              f"(needs {MIN_LANDMARKS})", count)
        visible = self._visible(fit, landmarks)
        supported, contradicted = float(visible.mean()), float(np.mean(fit.seen == energy.CONTRADICTED))
        agree = self._agreeing(fit, landmarks)
        if not fit.state.finite():
            return self._lost("the solve did not converge", count)
        if supported < LOST_SUPPORT:
            return self._lost(f"only {supported:.0%} of the surface is visible (needs {LOST_SUPPORT:.0%})", count)
        if contradicted > CONTRADICTED * (contradicted + supported):
            return self._lost(f"depth contradicts {contradicted:.0%} of the surface, and only {supported:.0%} is visible", count)
        if not self._tracking and agree.sum() < MIN_LANDMARKS:
            return self._lost(f"only {int(agree.sum())} landmarks agree (needs {MIN_LANDMARKS})", count)
        status, reason = TRACKED, ""
        if supported < DEGRADED_SUPPORT:
            status, reason = DEGRADED, f"only {supported:.0%} of the surface is visible"
        elif agree.sum() < FEW_LANDMARKS:
            status, reason = DEGRADED, f"only {int(agree.sum())} landmarks: depth alone can slide along the surface"
        self._before, self._state, self._tracking = self._state if self._tracking else fit.state, fit.state, True
        self._last, self._landmarks_used = self._result(status, reason, fit, visible, agree), landmarks
        return self._last

    def _result(self, status: str, reason: str, fit: Fit, visible: np.ndarray, inlier: np.ndarray) -> Registration:
        graph, state = self.graph, fit.state
        vertices, normals = self._require_model().solver.deformed(state)
        return Registration(status, reason, vertices, normals, visible, fit.residual_m, inlier, state.R.copy(), state.t.copy(),
                            warp=self._warp(state),
                            confidence=supported_share(graph.node_index, graph.weight, visible, len(graph)))

    def _lost(self, reason: str, count: int) -> Registration:
        """The last good surface, nothing of it seen."""
        self._tracking = False
        surface, state = self._require_model().surface, self._state
        vertices, normals = (self._last.vertices, self._last.normals) if self._last else (surface.vertices, surface.normals)
        return Registration(LOST, reason, vertices, normals, np.zeros(len(vertices), bool), float("nan"), np.zeros(count, bool),
                            state.R.copy(), state.t.copy(), warp=self._warp(state))

    def _warp(self, state: State) -> Warp:
        model = self._require_model()
        return Warp(model.surface, model.graph, state.copy(), model.tree)


def predicted(before: State, now: State) -> State:
    """The nodes one frame ahead at constant velocity, given the frame before and this one."""
    return State(np.ascontiguousarray(now.R @ before.R.transpose(0, 2, 1) @ now.R), 2.0 * now.t - before.t)


def _check_pairs(a: np.ndarray, b: np.ndarray, a_width: int, b_width: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.size == 0 and b.size == 0:
        return np.zeros((0, a_width)), np.zeros((0, b_width))
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b) or a.shape[1] != a_width or b.shape[1] != b_width:
        widths = f"two (M, {a_width}) arrays" if a_width == b_width else f"(M, {a_width}) and (M, {b_width}) arrays"
        raise ValueError(f"correspondences must be {widths} of the same length, got {a.shape} and {b.shape}")
    return a, b
