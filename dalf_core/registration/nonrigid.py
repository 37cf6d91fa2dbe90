"""NonRigidRegistration: a reference surface, and where it is in each frame."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from ..camera import PinholeCamera
from ..depth import clean_depth
from ..stopwatch import Stopwatch
from ..surface import Surface, surface_from_depth
from ..types import DEGRADED, LOST, TRACKED, Registration
from . import energy
from .depth_error import corrected, find_depth_error
from .devices import solver_on
from .graph import DeformationGraph, build_graph
from .growing import carried_over, grow, unwarp
from .landmarks import PIXEL_NOISE, TRUSTED, initial_state, lift_pixels, prune
from .solver import Fit, Landmarks, Stage, State
from .visibility import supported_share, visible_vertices

MIN_LANDMARKS = 8            # trusted landmarks needed to find a surface that is not tracked
LOST_SUPPORT = 0.10          # share of the vertices that must be visible, or the surface is lost
DEGRADED_SUPPORT = 0.40
HOLDS_WITHIN = 0.5           # a tracked fit holds if so many of the trusted landmarks lie within this, in units of the robust scale;
HOLDS_SHARE = 0.9            # else the frame is also solved from its landmarks alone, and the fit of lower energy is taken
RAY_WITHIN = 1.0             # of the robust scale: a match without depth so near to where the surface was is a landmark
FREE_SPACE = 0.02            # weight of a vertex in free space: little, so that it only moves what nothing else holds
FREE_SPACE_FIRST = 0.04      # the same on a cold start, when nothing but the outline is known of hidden parts
REST_UPDATES = 8             # of the rest shape on a cold start; while tracking there is one a frame
GROW_EVERY = 5               # frames
JOINS_WITHIN = 0.25          # a reading so near to the surface, in units of the robust scale, is of it
CONTRADICTED = 0.35          # share of the judged vertices that the depth may contradict


@dataclass(frozen=True)
class Warp:
    """The deformation as a function of space near the reference surface."""

    surface: Surface
    graph: DeformationGraph
    state: State
    _tree: cKDTree

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) metres near the reference surface to (N, 3) metres in the current frame."""
        points = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3)
        if not np.isfinite(points).all():
            raise ValueError("points to warp must be finite")
        _, nearest = self._tree.query(points)
        return energy.deform_points(points, self.graph.node_index[nearest], self.graph.weight[nearest],
                                    self.state.R, self.state.t, self.graph.position)


class NonRigidRegistration:
    """Follows a deforming surface by an embedded deformation graph, DALF matches and depth.

    camera: of the depth images (and of the pixel correspondences). device: "cpu"; "cuda" or "cuda:N", a GPU through NVIDIA Warp,
    RuntimeError where that cannot be had; "auto", which is the CPU, as it was not measured yet from what size on a GPU is faster. The
    attribute `device` says what was taken.
    node_spacing: metres between graph nodes, None = chosen from the surface. max_vertices: bound on the reference's size.
    pieces: "all" or "largest" connected piece of the reference depth.
    grow_to: surface that comes into view beside the reference is added to it up to so many vertices; 0 = never. A frame in which that
    happens has more vertices than the one before (the old ones first), and reference_vertices and surface change with it.
    """

    def __init__(self, camera: PinholeCamera, device: str = "auto", *, node_spacing: float | None = None,
                 max_vertices: int = 6000, pieces: str = "all", grow_to: int = 0) -> None:
        self.device, self._make_solver = solver_on(device)
        self.camera = camera
        self.node_spacing = node_spacing
        self.max_vertices = max_vertices
        self.pieces = pieces
        self.grow_to = grow_to
        self.surface: Surface | None = None
        self._reference_depth: np.ndarray | None = None
        self.reference_vertices: np.ndarray | None = None

    def set_reference(self, depth_m: np.ndarray, image: np.ndarray | None = None, mask: np.ndarray | None = None) -> None:
        """Take the surface in a depth image as reference.

        depth_m: (H, W) float32 metres, NaN or 0 = no reading. image: BGR or grey, for colours. mask: (H, W), nonzero = keep.
        Raises SurfaceError when there is no usable surface, ValueError when the arrays do not fit; the old reference then stays.
        """
        surface = surface_from_depth(depth_m, self.camera, image, mask, max_vertices=self.max_vertices, pieces=self.pieces)
        self.set_reference_surface(surface)
        self._reference_depth = clean_depth(depth_m, self.camera)

    def set_reference_surface(self, surface: Surface) -> None:
        """Take a mesh in the camera optical frame as reference (see surface.Surface); register_points then follows it."""
        self._reference_depth = None
        self._adopt(surface, self.node_spacing)
        distance = float(np.median(surface.vertices[:, 2]))
        self._length = max(self.graph.spacing, 0.012 * distance)       # robust scales follow the nodes, not below sensor noise
        self._pixel_m = distance / min(self.camera.fx, self.camera.fy)
        count = len(self.graph)
        self._state = State(np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3)))
        self._before = self._state
        self._tracking = False
        self._frames = 0
        self._last: Registration | None = None
        self._depth: np.ndarray | None = None

    def _adopt(self, surface: Surface, spacing: float | None) -> None:
        self.graph = build_graph(surface, spacing)
        self._solver = self._make_solver(surface, self.graph, self.camera)
        self._tree = cKDTree(surface.vertices)
        self.surface = surface
        self.reference_vertices = surface.vertices

    def register(self, depth_m: np.ndarray, reference_xy: np.ndarray, current_xy: np.ndarray,
                 camera: PinholeCamera | None = None) -> Registration:
        """Find the reference surface in a depth image, given pixel correspondences that may hold outliers.

        depth_m: (H, W) float32 metres, NaN or 0 = no reading. reference_xy, current_xy: (M, 2) pixels in the reference image
        and in this one; M may be 0. Result.inlier has one entry per correspondence. Raises ValueError on arrays that do not fit
        and RuntimeError before set_reference; a frame in which the surface cannot be found is a result with status "lost".
        """
        reference_xy, current_xy = _check_pairs(reference_xy, current_xy, 2, 2)
        return self.register_pixels(depth_m, self.reference_points(reference_xy), current_xy)

    def reference_points(self, reference_xy: np.ndarray) -> np.ndarray:
        """(M, 2) pixels of the reference image to (M, 3) points on the reference surface, metres; NaN where it is not there."""
        self._require_surface()
        if self._reference_depth is None:
            raise RuntimeError("the reference is a mesh without a depth image: use register_points")
        points, lifted = lift_pixels(self._reference_depth, reference_xy, self.camera)
        if lifted.any():        # a keypoint beside the masked surface does not move with it
            lifted[lifted] = self._tree.query(points[lifted])[0] < 0.5 * self.graph.spacing
        points[~lifted] = np.nan
        return points

    def register_pixels(self, depth_m: np.ndarray, source: np.ndarray, current_xy: np.ndarray) -> Registration:
        """As register, with the reference side as points on the reference surface: source (M, 3) metres, NaN = not on it."""
        self._require_surface()
        clock = Stopwatch()
        depth = clean_depth(depth_m, self.camera)
        source, current_xy = _check_pairs(source, current_xy, 3, 2)
        target, lifted = lift_pixels(depth, current_xy, self.camera)
        inside = ((current_xy >= -0.5) & (current_xy <= (self.camera.width - 0.5, self.camera.height - 0.5))).all(axis=1)
        known = np.isfinite(source).all(axis=1) & inside
        on_ray = known & ~lifted
        target[on_ray] = self.camera.lift(current_xy[on_ray], np.ones(on_ray.sum()))
        clock.lap("lift")
        result = self._register(depth, source[known], target[known], on_ray[known])
        inlier = np.zeros(len(source), bool)
        inlier[known] = result.inlier
        return replace(result, inlier=inlier, milliseconds={**clock.laps, **result.milliseconds})

    def to_reference(self, current_xy: np.ndarray) -> np.ndarray:
        """(M, 2) pixels of the frame registered last to (M, 3) points on the reference surface, metres, by the inverse warp.

        NaN where the frame has no depth reading, shows something else there, or the surface is not tracked.
        """
        if self._last is None or self._depth is None or not self._tracking:
            return np.full((len(current_xy), 3), np.nan)
        seen, usable = lift_pixels(self._depth, current_xy, self.camera)
        nearest = cKDTree(self._last.vertices).query(seen)[1]
        apart = seen - self._last.vertices[nearest]
        off = np.abs((apart * self._last.normals[nearest]).sum(axis=1))
        usable &= self._last.visible[nearest] & (np.linalg.norm(apart, axis=1) < 0.5 * self.graph.spacing)
        usable &= off < max(JOINS_WITHIN * self._length, 3.0 * self._last.residual_m)
        points = unwarp(seen, nearest, self.graph, self._state)
        points[~usable] = np.nan
        return points

    def register_points(self, depth_m: np.ndarray, source: np.ndarray, target: np.ndarray) -> Registration:
        """As register, with correspondences in space: source (M, 3) on the reference surface, target (M, 3) in this frame, metres.

        The targets are taken to be measured otherwise than by this depth image, whose systematic error they then show (see depth_error).
        """
        self._require_surface()
        source, target = _check_pairs(source, target, 3, 3)
        return self._register(clean_depth(depth_m, self.camera), source, target, np.zeros(len(source), bool), lifted=False)

    def _register(self, depth: np.ndarray, source: np.ndarray, target: np.ndarray, on_ray: np.ndarray, lifted: bool = True) -> Registration:
        """lifted: the targets are read from this depth image and share its error."""
        clock = Stopwatch()
        confidence = np.zeros(len(source))
        confidence[~on_ray] = prune(source[~on_ray], target[~on_ray], max(2.0 * PIXEL_NOISE * self._pixel_m, 0.004))
        error = None if lifted else find_depth_error(depth, target[confidence > TRUSTED], self.camera)
        if error is not None:
            depth = corrected(depth, error, self.camera)
        self._depth = depth
        landmarks = self._landmarks(source, target, confidence, on_ray, self._state if self._tracking else None)
        clock.lap("prune")
        fit = self._warm(depth, landmarks) if self._tracking else None
        clock.lap("warm")
        if fit is None or not self._holds(fit, landmarks):
            start = initial_state(source, target, confidence, self.graph) if (confidence > TRUSTED).sum() >= MIN_LANDMARKS else None
            clock.lap("initial")
            if start is not None:
                anew = self._landmarks(source, target, confidence, on_ray, start)
                cold = self._solver.solve(start, depth, anew, cold_stages(self._length))
                if fit is None or self._better(cold, fit, depth, anew):
                    fit, landmarks = cold, anew
            clock.lap("cold")
        result = self._judge(fit, landmarks, len(source))
        clock.lap("result")
        if self._grows(result, depth):
            landmarks = self._landmarks(source, target, confidence, on_ray, self._state)
            result = self._judge(self._solver.solve(self._state, depth, landmarks, warm_stages(self._length)), landmarks, len(source))
            clock.lap("grow")
        return replace(result, milliseconds=clock.laps)

    def _grows(self, result: Registration, depth: np.ndarray) -> bool:
        """Add to the model what this frame shows beside it. True when there was something."""
        surface = self._require_surface()
        self._frames += 1
        if result.status != TRACKED or len(surface.vertices) >= self.grow_to or self._frames % GROW_EVERY:
            return False
        graph, state = self.graph, self._state
        grown = grow(surface, graph, state, result.vertices, result.confidence, depth, self.camera, self.grow_to)
        if grown is None:
            return False
        self._adopt(grown.surface, graph.spacing)
        self._state = carried_over(grown, self.graph, graph, state)
        self._before = self._state
        return True

    def _landmarks(self, source: np.ndarray, target: np.ndarray, confidence: np.ndarray, on_ray: np.ndarray,
                   near: State | None) -> Landmarks:
        """Those on a ray, which isometry cannot judge, count when they are not far from the surface as it is in the state `near`."""
        nearest = self._tree.query(source)[1] if len(source) else np.zeros(0, int)
        kept = np.where(confidence > TRUSTED, confidence, 0.0)
        landmarks = Landmarks(source, target, kept, nearest, on_ray)
        if near is not None and on_ray.any():
            kept[on_ray & (landmarks.distances(near, self.graph) < RAY_WITHIN * self._length)] = 1.0
        return landmarks

    def _warm(self, depth: np.ndarray, landmarks: Landmarks) -> Fit:
        """From where the surface was, or would be if it moved on as it did, whichever the landmarks say is nearer."""
        start, ahead = self._state, predicted(self._before, self._state)
        if landmarks.distance(ahead, self.graph) < landmarks.distance(start, self.graph):
            start = ahead
        return self._solver.solve(start, depth, landmarks, warm_stages(self._length))

    def _agreeing(self, fit: Fit, landmarks: Landmarks) -> np.ndarray:
        return (fit.landmark_residual < 1.5 * self._length) & (landmarks.confidence > 0)

    def _holds(self, fit: Fit, landmarks: Landmarks) -> bool:
        """Do depth and landmarks agree with the fit so well that nothing else need be tried?"""
        trusted = landmarks.confidence > 0
        close = fit.landmark_residual[trusted] < HOLDS_WITHIN * self._length
        return self._visible(fit, landmarks).mean() >= LOST_SUPPORT and (trusted.sum() < MIN_LANDMARKS or close.mean() >= HOLDS_SHARE)

    def _better(self, fit: Fit, other: Fit, depth: np.ndarray, landmarks: Landmarks) -> bool:
        """Has it the lower energy?"""
        stage = final_stage(self._length, 1)
        return self._solver.energy_of(fit, depth, landmarks, stage) < self._solver.energy_of(other, depth, landmarks, stage)

    def _visible(self, fit: Fit, landmarks: Landmarks) -> np.ndarray:
        """(V,) bool: see visibility."""
        return visible_vertices(self.graph, fit.seen, landmarks.vertex[landmarks.rays() & self._agreeing(fit, landmarks)])

    def _judge(self, fit: Fit | None, landmarks: Landmarks, count: int) -> Registration:
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
        elif agree.sum() < 4:
            status, reason = DEGRADED, f"only {int(agree.sum())} landmarks: depth alone can slide along the surface"
        self._before, self._state, self._tracking = self._state if self._tracking else fit.state, fit.state, True
        return self._result(status, reason, fit, visible, agree)

    def _result(self, status: str, reason: str, fit: Fit, visible: np.ndarray, inlier: np.ndarray) -> Registration:
        graph, state = self.graph, fit.state
        vertices, normals = self._solver.deformed(state)
        self._last = Registration(status, reason, vertices, normals, visible, fit.residual_m, inlier,
                                  state.R.copy(), state.t.copy(), warp=self._warp(state),
                                  confidence=supported_share(graph.node_index, graph.weight, visible, len(graph)))
        return self._last

    def _lost(self, reason: str, count: int) -> Registration:
        """The last good surface, nothing of it seen."""
        self._tracking = False
        surface, last, state = self._require_surface(), self._last, self._state
        return Registration(LOST, reason, last.vertices if last else surface.vertices, last.normals if last else surface.normals,
                            np.zeros(len(surface.vertices), bool), float("nan"), np.zeros(count, bool),
                            state.R.copy(), state.t.copy(), warp=self._warp(state))

    def _warp(self, state: State) -> Warp:
        return Warp(self._require_surface(), self.graph, state.copy(), self._tree)

    def _require_surface(self) -> Surface:
        if self.surface is None:
            raise RuntimeError("no reference surface yet: call set_reference first")
        return self.surface


def cold_stages(length: float) -> list[Stage]:
    """From the landmarks' first guess to the final fit; scales in units of `length` metres."""
    return [Stage(2, 3.0 * length, 2.5 * length, 4.0 * length, 4.0, 0.3, 20.0, 20.0),
            Stage(3, 1.5 * length, 1.6 * length, 3.0 * length, 4.0, 1.0, 2.0, 1.0, FREE_SPACE_FIRST),
            Stage(3, 1.0 * length, 1.0 * length, 2.0 * length, 3.0, 1.0, 0.3, 0.12, FREE_SPACE_FIRST),
            *[replace(final_stage(length, 1), free_space=FREE_SPACE_FIRST)] * REST_UPDATES]


def final_stage(length: float, iterations: int) -> Stage:
    """The weights that a fit ends with, a first one but for free space; fits are compared by them."""
    return Stage(iterations, 1.0 * length, 0.7 * length, 1.5 * length, 3.0, 1.0, 0.4, 0.02, FREE_SPACE, follows=True)


def warm_stages(length: float) -> list[Stage]:
    """From the last frame's state. What folds over is followed from behind, where a cold start cannot tell it from what is hidden."""
    return [replace(final_stage(length, 10), two_sided=True)]


def predicted(before: State, now: State) -> State:
    """Where the nodes go if they move on as they did from the frame before to this one."""
    return State(np.ascontiguousarray(now.R @ before.R.transpose(0, 2, 1) @ now.R), 2.0 * now.t - before.t)


def _check_pairs(a: np.ndarray, b: np.ndarray, a_width: int, b_width: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.size == 0 and b.size == 0:
        return np.zeros((0, a_width)), np.zeros((0, b_width))
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b) or a.shape[1] != a_width or b.shape[1] != b_width:
        widths = f"two (M, {a_width}) arrays" if a_width == b_width else f"(M, {a_width}) and (M, {b_width}) arrays"
        raise ValueError(f"correspondences must be {widths} of the same length, got {a.shape} and {b.shape}")
    return a, b
