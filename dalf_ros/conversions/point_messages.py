"""Named points as message fields: our own message, poses, markers for RViz, transforms."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dalf_core.templates.named_points import FollowedPoint

from .messages import quaternions, rotation_matrices
from .visual_messages import marker

ARROW, TEXT, DELETE_ALL = 0, 9, 3           # visualization_msgs/Marker types and action
ARROW_M, LABEL_M = 0.04, 0.012              # length of an arrow, height of a label
SEEN, HIDDEN = (0.10, 0.75, 0.30), (0.55, 0.55, 0.55)


def surface_points(points: Sequence[FollowedPoint], message_header: dict, reference_header: dict, topology_id: int) -> dict:
    """SurfacePoints."""
    return {"header": message_header, "reference_header": reference_header, "topology_id": int(topology_id),
            "points": [_surface_point(point) for point in points]}


def _surface_point(point: FollowedPoint) -> dict:
    return {"name": point.name, "position": _xyz(point.position), "normal": _xyz(point.normal), "orientation": _quaternion(point),
            "covariance": np.asarray(point.covariance, np.float64).reshape(-1), "visible": point.visible,
            "confidence": point.confidence}


def points_of(message: Any) -> list[FollowedPoint]:
    """SurfacePoints to FollowedPoint each."""
    return [FollowedPoint(str(point.name), _vector(point.position), _vector(point.normal),
                          rotation_matrices(np.array([[getattr(point.orientation, axis) for axis in "xyzw"]]))[0].astype(float),
                          np.array(point.covariance, float).reshape(3, 3), bool(point.visible), float(point.confidence))
            for point in message.points]


def pose_array(points: Sequence[FollowedPoint], message_header: dict) -> dict:
    """PoseArray."""
    return {"header": message_header,
            "poses": [{"position": _xyz(point.position), "orientation": _quaternion(point)} for point in points]}


def point_markers(points: Sequence[FollowedPoint], message_header: dict) -> dict:
    """MarkerArray: what was there is taken away; then an arrow along each normal, and the name at its tip; grey where not visible."""
    markers: list[dict] = [{"header": message_header, "action": DELETE_ALL}]
    for number, point in enumerate(points):
        r, g, b = SEEN if point.visible else HIDDEN
        tip = point.position + ARROW_M * point.normal
        more = {"id": number, "color": {"r": r, "g": g, "b": b, "a": 1.0}}
        arrow = marker("points", ARROW, (0.003, 0.008, 0.012), message_header) | more | {"points": [_xyz(point.position), _xyz(tip)]}
        label = marker("names", TEXT, (0.0, 0.0, LABEL_M), message_header) | more
        label |= {"text": point.name, "pose": {"position": _xyz(tip + LABEL_M * point.normal), "orientation": {"w": 1.0}}}
        markers += [arrow, label]
    return {"markers": markers}


def point_transforms(points: Sequence[FollowedPoint], message_header: dict) -> dict:
    """TFMessage: the frame NAME of each point, in the header's."""
    return {"transforms": [{"header": message_header, "child_frame_id": point.name,
                            "transform": {"translation": _xyz(point.position), "rotation": _quaternion(point)}} for point in points]}


def _xyz(vector: np.ndarray) -> dict:
    return dict(zip("xyz", np.asarray(vector, float).tolist()))


def _vector(message: Any) -> np.ndarray:
    return np.array([message.x, message.y, message.z], float)


def _quaternion(point: FollowedPoint) -> dict:
    return dict(zip("xyzw", quaternions(point.rotation)[0].tolist()))
