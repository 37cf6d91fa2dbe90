"""Results in another frame than the camera's: how positions, directions, covariances and warps turn with it. Pure functions."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dalf_core.templates.named_points import FollowedPoint

from .transforms import IDENTITY, RigidTransform


@dataclass(frozen=True)
class Placement:
    """Where the results of one frame are given: each transform leads from the camera's optical frame to `frame_id`.

    camera: the camera as it was in this frame. surface: as it was when the surface was seen so; an earlier place while it is lost, for what
    lies still does not move with the camera. reference: as it was when the reference surface was seen.
    """

    frame_id: str
    camera: RigidTransform
    surface: RigidTransform
    reference: RigidTransform


def optical(frame_id: str) -> Placement:
    """In the camera's optical frame, as results are made."""
    return Placement(frame_id, IDENTITY, IDENTITY, IDENTITY)


def moved_points(transform: RigidTransform, points: np.ndarray) -> np.ndarray:
    """(N, 3) positions, metres, to (N, 3) of the same dtype; NaN stays NaN."""
    if transform is IDENTITY:
        return points
    return (np.asarray(points, float) @ transform.rotation.T + transform.translation).astype(points.dtype)


def turned_vectors(transform: RigidTransform, vectors: np.ndarray) -> np.ndarray:
    """(N, 3) directions to (N, 3) of the same dtype."""
    return vectors if transform is IDENTITY else (np.asarray(vectors, float) @ transform.rotation.T).astype(vectors.dtype)


def turned_covariances(transform: RigidTransform, covariance: np.ndarray) -> np.ndarray:
    """(N, 3, 3), square metres, to R C Rᵀ of the same dtype and shape."""
    if transform is IDENTITY:
        return covariance
    return (transform.rotation @ np.asarray(covariance, float) @ transform.rotation.T).astype(covariance.dtype)


def moved_deformation(place: Placement, position: np.ndarray, rotation: np.ndarray,
                      translation: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nodes of a DeformationField, position g and translation t (K, 3) metres, rotation R (K, 3, 3).

    With T0 = place.reference and T1 = place.surface, of rotations R0 and R1: x in the optical frame is T0 x in the reference, and moves to
    T1 x'. Of x' = R (x - g) + g + t comes T1 x' = (R1 R R0ᵀ) (T0 x - T0 g) + T1 (g + t), and as the weights of the nodes sum to 1 and
    distances stay, the formula of the message holds with g_b = T0 g, R_b = R1 R R0ᵀ, t_b = T1 (g + t) - T0 g.
    """
    if place.surface is IDENTITY and place.reference is IDENTITY:
        return position, rotation, translation
    position, translation = np.asarray(position, float), np.asarray(translation, float)
    based = moved_points(place.reference, position)
    turned = place.surface.rotation @ np.asarray(rotation, float) @ place.reference.rotation.T
    return based, turned, moved_points(place.surface, position + translation) - based


def moved_named_points(transform: RigidTransform, points: Sequence[FollowedPoint]) -> list[FollowedPoint]:
    """Named points of one frame, with their normals, frames and covariances."""
    if transform is IDENTITY:
        return list(points)
    turn = transform.rotation
    return [replace(point, position=turn @ point.position + transform.translation, normal=turn @ point.normal,
                    rotation=turn @ point.rotation, covariance=turn @ point.covariance @ turn.T) for point in points]
