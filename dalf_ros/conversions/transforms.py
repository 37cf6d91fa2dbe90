"""Transforms between frames that do not move against each other, as /tf_static has them."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation


@dataclass(frozen=True)
class RigidTransform:
    """p_target = rotation @ p_source + translation. rotation: (3, 3); translation: (3,) metres."""

    rotation: np.ndarray
    translation: np.ndarray

    def after(self, first: RigidTransform) -> RigidTransform:
        """Both in turn: `first`, then this."""
        return RigidTransform(self.rotation @ first.rotation, self.rotation @ first.translation + self.translation)

    def inverse(self) -> RigidTransform:
        return RigidTransform(self.rotation.T, -self.rotation.T @ self.translation)


IDENTITY = RigidTransform(np.eye(3), np.zeros(3))


def rigid_transform(values: Sequence[float]) -> RigidTransform:
    """x, y, z (metres) and the quaternion qx, qy, qz, qw, of any length. Raises ValueError on other numbers."""
    numbers = np.array(values, float)
    if numbers.shape != (7,) or not np.isfinite(numbers).all() or np.linalg.norm(numbers[3:]) < 1e-3:
        raise ValueError(f"a transform is x, y, z and a quaternion x, y, z, w that is not zero, not {list(values)}")
    return RigidTransform(Rotation.from_quat(numbers[3:]).as_matrix(), numbers[:3])


def plain_frame(frame_id: str) -> str:
    """A frame's name as tf2 knows it: ROS 1 began them with a slash."""
    return frame_id.lstrip("/")


class StaticTransforms:
    """The tree of frames that messages on /tf_static make."""

    def __init__(self) -> None:
        self._to_parent: dict[str, tuple[str, RigidTransform]] = {}

    def add(self, message: Any) -> None:
        """Take a tf2_msgs/TFMessage; what it says of a frame replaces what was known. Wrong numbers are left out."""
        for one in message.transforms:
            t, q = one.transform.translation, one.transform.rotation
            try:
                to_parent = rigid_transform([t.x, t.y, t.z, q.x, q.y, q.z, q.w])
            except ValueError:
                continue
            self._to_parent[plain_frame(one.child_frame_id)] = (plain_frame(one.header.frame_id), to_parent)

    def find(self, source: str, target: str) -> RigidTransform | None:
        """From coordinates in frame `source` to those in frame `target`; None where nothing connects them."""
        ours, theirs = self._ancestors(plain_frame(source)), self._ancestors(plain_frame(target))
        common = next((frame for frame in ours if frame in theirs), None)
        return None if common is None else theirs[common].inverse().after(ours[common])

    def _ancestors(self, frame: str) -> dict[str, RigidTransform]:
        """The frame, its parent and so on, with the transform to each; it ends where a tree would close to a ring."""
        found, to_here = {frame: IDENTITY}, IDENTITY
        while frame in self._to_parent:
            frame, to_parent = self._to_parent[frame]
            if frame in found:
                break
            to_here = to_parent.after(to_here)
            found[frame] = to_here
        return found
