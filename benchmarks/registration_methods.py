"""The methods that benchmarks/registration.py compares. Each takes a task and returns where the reference vertices are, (V, 3) metres.

`oracle` in a method's description: it is given what no user has, the landmarks that are right, because it cannot tell them itself.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from bending_sheet import Task
from scipy.spatial.distance import cdist

from dalf_core import NonRigidRegistration, Registration
from dalf_core.surface import Surface, surface_from_depth

ICP_REACH = 0.02            # metres within which rigid ICP pairs points
RANSAC_REACH = 0.05         # metres by which a landmark of the robust rigid fit may be off
ARAP_ITERATIONS = 50
CPD_POINTS = 1200           # of source and target each: its cost grows with their product
# alpha, beta and the first sigma; the last two in units of the standard deviation of the target's coordinates. The library's own first
# sigma, as wide as the clouds, throws a good start away.
CPD_STIFFNESS, CPD_WIDTH, CPD_SIGMA = 10.0, 2.0, 0.1
# Amberg et al. 2007, stiff to soft: smoothness, landmark and normal weights, most iterations. Better here than the library's defaults.
NRICP_STEPS = ((0.02, 10.0, 0.0, 10), (0.01, 10.0, 0.0, 10))
NRICP_REACH = 0.03          # within which it pairs points, in units of the source's size


@dataclass(frozen=True)
class Method:
    """One row of the table. needs: packages by their import names; package: what to install for them."""

    title: str
    landmarks: str
    run: Callable[[Task], np.ndarray]
    needs: tuple[str, ...] = ()
    package: str = ""

    def missing(self) -> str | None:
        """What to install, or None when all is there."""
        absent = [name for name in self.needs if find_spec(name) is None]
        return f"{self.title} is left out: pip install {self.package}" if absent else None


@dataclass(frozen=True)
class OurRun:
    """Ours, with the CPU seconds of setting the reference and of registering."""

    result: Registration
    reference_seconds: float
    register_seconds: float


def run_ours(task: Task, node_spacing: float | None = None, device: str = "cpu") -> OurRun:
    """Cold start from raw landmarks."""
    started = time.process_time()
    registration = NonRigidRegistration(task.camera, device, node_spacing=node_spacing)
    registration.set_reference_surface(task.reference)
    ready = time.process_time()
    result = registration.register_points(task.depth, task.landmark_source, task.landmark_target)
    return OurRun(result, ready - started, time.process_time() - ready)


def ours(task: Task) -> np.ndarray:
    return run_ours(task).result.vertices


def arap(task: Task) -> np.ndarray:
    """Open3D's ARAP, right landmarks as handles. It does not look at the depth."""
    import open3d as o3d

    right = np.nonzero(~task.wrong)[0]
    handles = o3d.utility.IntVector(task.landmark_vertex[right].tolist())
    goals = o3d.utility.Vector3dVector(task.landmark_target[right])
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        moved = _open3d_mesh(task.reference).deform_as_rigid_as_possible(handles, goals, max_iter=ARAP_ITERATIONS)
    return np.asarray(moved.vertices)


def rigid_icp(task: Task) -> np.ndarray:
    """Open3D's point-to-plane ICP, from the robust rigid fit of the raw landmarks."""
    import open3d as o3d

    source, target = _cloud(task.reference.vertices), _cloud(task.measured())
    target.estimate_normals(o3d.geometry.KDTreeSearchParamKNN(20))
    found = o3d.pipelines.registration.registration_icp(
        source, target, ICP_REACH, _robust_rigid(task), o3d.pipelines.registration.TransformationEstimationPointToPlane(),
        o3d.pipelines.registration.ICPConvergenceCriteria(max_iteration=50))
    return _moved(task.reference.vertices, found.transformation)


def cpd(task: Task) -> np.ndarray:
    """Coherent point drift (Myronenko & Song 2010) by pycpd on thinned clouds, from the robust rigid fit; the field moves all vertices."""
    from pycpd import DeformableRegistration

    rng = np.random.default_rng(0)
    start, measured = _moved(task.reference.vertices, _robust_rigid(task)), task.measured()
    centre = measured.mean(axis=0)
    scale = (measured - centre).std()
    start, measured = (start - centre) / scale, (measured - centre) / scale
    target, source = (points[rng.choice(len(points), min(CPD_POINTS, len(points)), replace=False)] for points in (measured, start))
    drift = DeformableRegistration(X=target, Y=source, alpha=CPD_STIFFNESS, beta=CPD_WIDTH, sigma2=CPD_SIGMA**2, w=0.1,
                                   max_iterations=100, tolerance=1e-5)
    drift.register()
    field = np.exp(-cdist(start, source, "sqeuclidean") / (2 * CPD_WIDTH**2)) @ drift.W       # pycpd moves only its own points
    return (start + field) * scale + centre


def nonrigid_icp(task: Task) -> np.ndarray:
    """trimesh's non-rigid ICP (Amberg et al. 2007) onto the triangulated depth, with the right landmarks, from their rigid fit."""
    import trimesh

    right = np.nonzero(~task.wrong)[0]
    vertex, goal = task.landmark_vertex[right], task.landmark_target[right]
    start = _moved(task.reference.vertices, kabsch(task.landmark_source[right], goal))
    seen = surface_from_depth(task.depth, task.camera)
    source = trimesh.Trimesh(start, task.reference.triangles, process=False)
    target = trimesh.Trimesh(seen.vertices, seen.triangles, process=False)
    return trimesh.registration.nricp_amberg(source, target, vertex, goal, steps=NRICP_STEPS, distance_threshold=NRICP_REACH,
                                             use_faces=False)


def best_rigid(task: Task) -> np.ndarray:
    """No rigid motion can do better: it is fitted to the truth."""
    return _moved(task.reference.vertices, kabsch(task.reference.vertices.astype(np.float64), task.truth))


METHODS = {
    "ours": Method("ours", "raw", ours),
    "arap": Method("Open3D ARAP", "oracle", arap, ("open3d",), "open3d"),
    "nricp": Method("trimesh non-rigid ICP", "oracle", nonrigid_icp, ("trimesh",), "trimesh"),
    "cpd": Method("pycpd CPD", "raw, rigid start", cpd, ("pycpd", "open3d"), "pycpd open3d"),
    "icp": Method("Open3D rigid ICP", "raw, rigid start", rigid_icp, ("open3d",), "open3d"),
    "rigid": Method("best rigid fit", "truth", best_rigid),
}


def kabsch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(4, 4) rigid motion of least squares from points a to b, (N, 3) each (Kabsch 1976)."""
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    U, _, Vt = np.linalg.svd((b - mean_b).T @ (a - mean_a))
    U[:, 2] *= np.sign(np.linalg.det(U @ Vt))
    motion = np.eye(4)
    motion[:3, :3] = U @ Vt
    motion[:3, 3] = mean_b - motion[:3, :3] @ mean_a
    return motion


def _robust_rigid(task: Task) -> np.ndarray:
    """(4, 4) by RANSAC over the raw landmarks."""
    import open3d as o3d

    o3d.utility.random.seed(0)
    pairs = np.tile(np.arange(len(task.wrong))[:, None], 2)
    found = o3d.pipelines.registration.registration_ransac_based_on_correspondence(
        _cloud(task.landmark_source), _cloud(task.landmark_target), o3d.utility.Vector2iVector(pairs), RANSAC_REACH)
    return np.asarray(found.transformation)


def _moved(points: np.ndarray, motion: np.ndarray) -> np.ndarray:
    return points @ motion[:3, :3].T + motion[:3, 3]


def _cloud(points: np.ndarray):
    import open3d as o3d

    return o3d.geometry.PointCloud(o3d.utility.Vector3dVector(np.asarray(points, np.float64)))


def _open3d_mesh(surface: Surface):
    import open3d as o3d

    return o3d.geometry.TriangleMesh(o3d.utility.Vector3dVector(surface.vertices.astype(np.float64)),
                                     o3d.utility.Vector3iVector(surface.triangles))
