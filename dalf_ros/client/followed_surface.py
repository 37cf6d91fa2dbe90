"""The surface in one frame, put together from the messages of its stamp."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from dalf_core.templates.named_points import FollowedPoint

from ..conversions import topics
from ..conversions.messages import STATUS_NAMES, deformation_of, mesh_of, stamp_ns
from ..conversions.point_messages import points_of
from ..conversions.results import frame_id_of

FRAME_TOPICS = (topics.MESH, topics.DEFORMATION, topics.NAMED_POINTS, topics.STATUS)     # all that make up one frame
NODES = 4                   # of the deformation graph that move a point, see DeformationField.msg


@dataclass(frozen=True)
class FollowedSurface:
    """The surface as it is in one frame; positions in the frame `frame_id`, metres: the camera's optical frame (x right, y
    down, z forward), or the node's base_frame.

    stamp_ns: of the image, nanoseconds. reference_stamp_ns: of the image that the reference surface was made of.
    status: "tracked", "degraded" or "lost"; reason: why it is not tracked. residual_m: root mean square depth residual, NaN while lost.
    vertices: (V, 3) float32, now; while lost, where they were last. visible: (V,) bool, which of them a reading supports.
    reference_vertices: (V, 3), normals: (V, 3), now. triangles: (F, 3) int32, counter-clockwise seen from the camera.
    colors: (V, 3) uint8 RGB, or None. points: the named points, by name; see FollowedPoint.
    """

    stamp_ns: int
    reference_stamp_ns: int
    frame_id: str
    status: str
    reason: str
    residual_m: float
    vertices: np.ndarray
    normals: np.ndarray | None
    visible: np.ndarray | None
    reference_vertices: np.ndarray
    triangles: np.ndarray
    colors: np.ndarray | None
    points: Mapping[str, FollowedPoint]
    _nodes: Mapping[str, np.ndarray]

    def warp(self, points: np.ndarray) -> np.ndarray:
        """Where points of the reference surface are now: (N, 3) metres to (N, 3) metres, by the formula of DeformationField.msg.

        Raises ValueError for points that are not finite, or that no node reaches: they lie beside the reference surface.
        """
        points = np.asarray(points, float).reshape(-1, 3)
        if not np.isfinite(points).all():
            raise ValueError("points to warp must be finite")
        position, radius = self._nodes["position"].astype(float), self._nodes["radius"].astype(float)
        distance, index = cKDTree(position).query(points, [1 + k for k in range(min(NODES, len(position)))])        # (N, 4)
        weight = np.maximum(0, 1 - distance / radius[index]) ** 2
        total = weight.sum(axis=1, keepdims=True)
        if not (total > 0).all():
            beside = int(np.argmin(total))
            raise ValueError(f"({', '.join(f'{x:.3f}' for x in points[beside])}) is {distance[beside, 0]:.3f} m away from the reference "
                             "surface: only points on it or near it can be followed")
        node, turned = position[index], self._nodes["rotation"].astype(float)[index]
        moved = np.einsum("nkij,nkj->nki", turned, points[:, None] - node) + node + self._nodes["translation"].astype(float)[index]
        return np.einsum("nk,nki->ni", weight / total, moved)


def followed_surface(reference: Any, messages: Mapping[str, Any]) -> FollowedSurface:
    """From the messages of one stamp, by topic (FRAME_TOPICS), and surface/reference of the same topology_id.

    Raises ValueError where messages contradict themselves or one another.
    """
    status, mesh, rest = messages[topics.STATUS], mesh_of(messages[topics.MESH]), mesh_of(reference)
    vertices, at_rest, triangles = mesh["vertices"], rest["vertices"], rest["triangles"]
    assert vertices is not None and at_rest is not None
    if len(vertices) != len(at_rest) or triangles is None:
        raise ValueError(f"a mesh of {len(vertices)} vertices is not of the reference of {len(at_rest)}")
    return FollowedSurface(
        stamp_ns(status.header), stamp_ns(status.reference_header), frame_id_of(messages[topics.MESH]), STATUS_NAMES[status.status],
        str(status.reason), float(status.residual_m), vertices, mesh["normals"], mesh["visible"], at_rest, triangles, rest["colors"],
        {point.name: point for point in points_of(messages[topics.NAMED_POINTS])}, deformation_of(messages[topics.DEFORMATION]))
