"""One followed recording, as datasets and meshes are made of it."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..types import PointTrack

STATUSES = ("waiting", "tracked", "degraded", "lost")       # by code, those of RegistrationStatus.msg


class DatasetError(ValueError):
    """What no dataset can be made of; the text names the cause and the mend."""


@dataclass(frozen=True)
class EpisodeFrame:
    """What the camera saw. image: (H, W, 3) uint8 BGR. depth_m: (h, w) float32 metres, NaN = no reading; None: there is none."""

    image: np.ndarray
    depth_m: np.ndarray | None


@dataclass(frozen=True)
class Episode:
    """T frames with one reference surface of V vertices; positions in metres in the camera's optical frame (x right, y down, z forward).

    name: of the run. stamp_ns: (T,) int64. status: (T,) uint8, index of STATUSES. residual_m: (T,) float32, NaN where there is none.
    reference: (V, 3) float32. triangles: (F, 3) int32, counter-clockwise seen from the camera. colors: (V, 3) uint8 RGB or None.
    vertices: (T, V, 3) float32, NaN in frames without a surface; while it is lost, where it was last. visible: (T, V) bool.
    points: by name. images: what the camera saw, frame by frame, read anew each time; None: that is not at hand.
    notes: what was left out, in words.
    """

    name: str
    stamp_ns: np.ndarray
    status: np.ndarray
    residual_m: np.ndarray
    reference: np.ndarray
    triangles: np.ndarray
    colors: np.ndarray | None
    vertices: np.ndarray
    visible: np.ndarray
    points: Mapping[str, PointTrack] = field(default_factory=dict)
    images: Callable[[], Iterable[EpisodeFrame]] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.stamp_ns)

    @property
    def fps(self) -> float:
        """Frames a second: one over the median time between two."""
        if len(self) < 2:
            raise DatasetError(f"{self.name} has only one frame: there is no rate of frames")
        return float(1e9 / np.median(np.diff(self.stamp_ns)))


def surface_keypoints(reference: np.ndarray, count: int) -> np.ndarray:
    """(count,) int64: vertices (V, 3) spread evenly over a surface, always the same ones (farthest point sampling, Open3D).

    DatasetError: there are fewer vertices.
    """
    import open3d
    from scipy.spatial import cKDTree

    if len(reference) < count:
        raise DatasetError(f"{count} keypoints of a surface that has {len(reference)} vertices: ask for fewer")
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(np.asarray(reference, float)))
    return cKDTree(reference).query(np.asarray(cloud.farthest_point_down_sample(count).points))[1].astype(np.int64)
