"""What of an episode is learnt from: numbers of every frame, by LeRobot's feature names."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..types import PointTrack
from .episode import Episode, surface_keypoints

STAMP, STATUS, RESIDUAL = "observation.stamp_s", "observation.surface.status", "observation.surface.residual_m"
KEYPOINTS, VISIBLE = "observation.surface.keypoints", "observation.surface.visible"
COLOR, DEPTH = "observation.images.color", "observation.images.depth"


def frame_features(episode: Episode, keypoints: int, point_names: Sequence[str]) -> dict[str, np.ndarray]:
    """(T, N) each, float32, float64 (stamps) or int64 (status), always finite: what is not known is 0 and marked not visible.

    keypoints: how many places of the surface; their x, y, z (metres, camera optical frame) follow one another; so do a named point's.
    """
    count = len(episode)
    index = surface_keypoints(episode.reference, keypoints)
    place, seen = episode.vertices[:, index], episode.visible[:, index]
    known = np.isfinite(place).all(axis=2)
    features = {
        STAMP: ((episode.stamp_ns - episode.stamp_ns[0]) / 1e9)[:, None],
        STATUS: episode.status.astype(np.int64)[:, None],
        RESIDUAL: np.nan_to_num(episode.residual_m.astype(np.float32))[:, None],
        KEYPOINTS: np.where(known[..., None], place, 0).astype(np.float32).reshape(count, -1),
        VISIBLE: (seen & known).astype(np.float32)}
    nowhere = PointTrack(np.full((count, 3), np.nan), np.zeros(count, bool))
    for name in point_names:
        track = episode.points.get(name, nowhere)
        found = np.isfinite(track.position).all(axis=1)
        features[point_feature(name)] = np.where(found[:, None], track.position, 0).astype(np.float32)
        features[f"{point_feature(name)}.visible"] = (track.visible & found).astype(np.float32)[:, None]
    return features


def point_feature(name: str) -> str:
    """The feature of a named point: no feature's name may hold a slash."""
    return f"observation.points.{name.replace('/', '.')}"


def element_names(feature: str, length: int) -> list[str] | None:
    """What the numbers of a feature are called; None where there is one."""
    if feature == KEYPOINTS:
        return [f"{number}.{axis}" for number in range(length // 3) for axis in "xyz"]
    if feature == VISIBLE:
        return [str(number) for number in range(length)]
    return list("xyz") if length == 3 else None
