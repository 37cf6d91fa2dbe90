"""The exact ground truth of a simulated recording, and how far a followed surface is from it."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dalf_core.camera import PinholeCamera
from dalf_core.surface import vertex_normals

from .ray_casting import ray_casting_scene
from .sensor import CLOTH, View


@dataclass(frozen=True)
class GroundTruth:
    """The true cloth in every frame, camera optical frame.

    vertices: (T, V, 3) float32 metres. triangles: (F, 3) int32. uv: (V, 2), 0..1 over the cloth. visible: (T, V) bool, the
    camera sees the vertex from its printed side in the frame. stamps_ns: (T,) int64 sensor stamps. camera: the camera of colour and depth.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    visible: np.ndarray
    stamps_ns: np.ndarray
    camera: PinholeCamera

    def save(self, path: Path) -> None:
        """Write a .npz; fx, fy, cx, cy, width, height are in `camera`."""
        camera = self.camera
        numbers = np.array([camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height])
        np.savez_compressed(path, vertices=self.vertices, triangles=self.triangles, uv=self.uv, visible=self.visible,
                            stamps_ns=self.stamps_ns, camera=numbers)

    @staticmethod
    def load(path: str | Path) -> GroundTruth:
        """Read what save wrote."""
        with np.load(path, allow_pickle=False) as data:
            fx, fy, cx, cy, width, height = data["camera"]
            return GroundTruth(data["vertices"], data["triangles"], data["uv"], data["visible"], data["stamps_ns"],
                               PinholeCamera(fx, fy, cx, cy, int(width), int(height)))

    def frame(self, stamp_ns: int) -> int:
        """The frame's number by its sensor stamp. Raises KeyError for a stamp that is not in the recording."""
        found = np.flatnonzero(self.stamps_ns == stamp_ns)
        if len(found) == 0:
            raise KeyError(f"no frame of the ground truth has the stamp {stamp_ns}")
        return int(found[0])

    def moment(self, time_ns: int) -> float:
        """A time of the recording as a frame's number with a fraction: 2.5 is half-way from frame 2 to 3. Ends where the recording ends."""
        origin = self.stamps_ns[0]
        return float(np.interp(float(time_ns - int(origin)), (self.stamps_ns - origin).astype(float), np.arange(len(self.stamps_ns))))


class Attachment:
    """Points of a reference surface tied to the true cloth: each to the closest point of the cloth in the reference's frame.

    on_cloth: (N,) bool; points farther than max_distance_m from the cloth belong to something else and are not followed.
    offset_m: (N,) distance at which each was attached: the depth noise of the reference.
    """

    def __init__(self, truth: GroundTruth, reference_vertices: np.ndarray, frame: int = 0, max_distance_m: float = 0.015) -> None:
        scene = ray_casting_scene()
        scene.add_triangles(truth.vertices[frame], truth.triangles.astype(np.uint32))
        found = scene.compute_closest_points(np.ascontiguousarray(reference_vertices, np.float32))
        self.offset_m = np.linalg.norm(found["points"].numpy() - reference_vertices, axis=1)
        self.on_cloth = self.offset_m <= max_distance_m
        uv = found["primitive_uvs"].numpy()
        self._corner = truth.triangles[found["primitive_ids"].numpy().astype(np.int64)]
        self._weight = np.stack([1 - uv.sum(axis=1), uv[:, 0], uv[:, 1]], axis=1)
        self._truth = truth

    def positions(self, frame: float) -> np.ndarray:
        """(N, 3) metres, where the attached points truly are in a frame; between two frames on the straight line from place to place."""
        before, share = divmod(frame, 1)
        vertices = self._truth.vertices[int(before)]
        if share:
            vertices = vertices + np.float32(share) * (self._truth.vertices[int(before) + 1] - vertices)
        return np.einsum("nk,nkc->nc", self._weight, vertices[self._corner])

    def normals(self, frame: int) -> np.ndarray:
        """(N, 3) unit length: of the true cloth at the attached points, to its printed side."""
        every = vertex_normals(self._truth.vertices[frame], self._truth.triangles)
        normals = np.einsum("nk,nkc->nc", self._weight, every[self._corner])
        return normals / np.linalg.norm(normals, axis=1, keepdims=True)

    def visible(self, frame: int) -> np.ndarray:
        """(N,) bool, the point's surroundings are seen by the camera in a frame."""
        return self._truth.visible[frame][self._corner].all(axis=1)

    def errors(self, vertices: np.ndarray, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances in metres to the truth of the points on the cloth, and which of those are visible: (M,), (M,) bool."""
        return self.distances(vertices, frame), self.visible(frame)[self.on_cloth]

    def distances(self, vertices: np.ndarray, frame: float) -> np.ndarray:
        """(M,) metres from the truth of the points on the cloth, in a frame or between two."""
        return np.linalg.norm(vertices - self.positions(frame), axis=1)[self.on_cloth]


def visible_vertices(view: View, vertices: np.ndarray, triangles: np.ndarray, camera: PinholeCamera,
                     tolerance_m: float = 0.004) -> np.ndarray:
    """(V,) bool: vertices of the cloth whose printed side the camera sees, within a tolerance along z for the pixel raster."""
    pixels = camera.project(vertices)
    nearest = np.rint(np.nan_to_num(pixels, nan=-1)).astype(int)
    inside = (nearest >= 0).all(axis=1) & (nearest[:, 0] < camera.width) & (nearest[:, 1] < camera.height)
    x, y = np.where(inside, nearest.T, 0)
    front = (vertex_normals(vertices, triangles) * vertices).sum(axis=1) < 0
    return front & inside & (view.what[y, x] == CLOTH) & (vertices[:, 2] <= view.depth[y, x] + tolerance_m)
