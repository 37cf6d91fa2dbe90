"""Transforms between frames that move against each other: what /tf and /tf_static say of a moment, between the stamps of their messages."""
from __future__ import annotations

import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from ..conversions.messages import NANOSECONDS, stamp_ns
from ..conversions.transforms import IDENTITY, RigidTransform, plain_frame, rigid_transform

SET_BACK_NS = NANOSECONDS       # a stamp so much before the newest one: the clock was set back, a recording began anew


class TransformError(ValueError):
    """No transform of that moment; the text names the frames. may_come: one of that moment may still be on its way."""

    def __init__(self, text: str, may_come: bool = False) -> None:
        super().__init__(text)
        self.may_come = may_come


@dataclass
class _Link:
    """A frame in its parent: once where it is static, else over time. stamps: ns, rising; poses: x, y, z, qx, qy, qz, qw of each."""

    parent: str
    static: RigidTransform | None = None
    stamps: list[int] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)

    def put(self, stamp: int, pose: np.ndarray, history_ns: int) -> None:
        if self.stamps and stamp < self.stamps[-1] - SET_BACK_NS:
            keep = bisect_left(self.stamps, stamp)
            del self.stamps[keep:], self.poses[keep:]
        place = bisect_left(self.stamps, stamp)
        if place < len(self.stamps) and self.stamps[place] == stamp:
            self.poses[place] = pose
            return
        self.stamps.insert(place, stamp)
        self.poses.insert(place, pose)
        old = bisect_left(self.stamps, self.stamps[-1] - history_ns)
        del self.stamps[:old], self.poses[:old]

    def at(self, stamp: int, tolerance_ns: int) -> RigidTransform | str:
        """Between the two nearest stamps, positions along a line, rotations along a great circle; beyond the first and the last that one,
        no farther than the tolerance. Else what is known, in words.
        """
        if self.static is not None:
            return self.static
        after = bisect_left(self.stamps, stamp)
        if after == len(self.stamps) or self.stamps[after] != stamp:
            if 0 < after < len(self.stamps):
                return self._between(after, stamp)
            after = min(after, len(self.stamps) - 1)
            if abs(self.stamps[after] - stamp) > tolerance_ns:
                which = "newest" if self.stamps[after] < stamp else "oldest"
                return f"the {which} on /tf is of {self.stamps[after] / NANOSECONDS:.3f} s"
        return rigid_transform(self.poses[after].tolist())

    def _between(self, after: int, stamp: int) -> RigidTransform:
        (first, second), times = self.poses[after - 1:after + 1], self.stamps[after - 1:after + 1]
        share = (stamp - times[0]) / (times[1] - times[0])
        rotation = Slerp([0.0, 1.0], Rotation.from_quat([first[3:], second[3:]]))(share)
        return RigidTransform(rotation.as_matrix(), first[:3] + share * (second[:3] - first[:3]))

    def is_about_to_know(self, stamp: int) -> bool:
        """Whether its newest message is a little older than that."""
        return self.static is None and 0 < stamp - self.stamps[-1] < NANOSECONDS


class MovingTransforms:
    """The tree of frames that messages on /tf and /tf_static make, over time. Safe to use from several threads.

    history_s: so much before its newest message is known of each frame. tolerance_s: so far beyond the messages' stamps the nearest one
    holds; never farther.
    """

    def __init__(self, history_s: float, tolerance_s: float) -> None:
        self._history_ns, self._tolerance_ns = int(history_s * NANOSECONDS), int(tolerance_s * NANOSECONDS)
        self._links: dict[str, _Link] = {}      # by the child's name
        self._came = threading.Condition()

    def add(self, message: Any) -> None:
        """Take a tf2_msgs/TFMessage of /tf. Wrong numbers are left out; another parent than before replaces what was known."""
        self._add(message, False)

    def add_static(self, message: Any) -> None:
        """Take one of /tf_static: it holds at all times."""
        self._add(message, True)

    def _add(self, message: Any, static: bool) -> None:
        with self._came:
            for one in message.transforms:
                t, q = one.transform.translation, one.transform.rotation
                values = [t.x, t.y, t.z, q.x, q.y, q.z, q.w]
                try:
                    pose = rigid_transform(values)
                except ValueError:
                    continue
                child, parent = plain_frame(one.child_frame_id), plain_frame(one.header.frame_id)
                if static:
                    self._links[child] = _Link(parent, pose)
                    continue
                link = self._links.get(child)
                if link is None or link.parent != parent or link.static is not None:
                    link = self._links[child] = _Link(parent)
                link.put(stamp_ns(one.header), np.array(values), self._history_ns)
            self._came.notify_all()

    def find(self, source: str, target: str, stamp: int, patience_s: float = 0.0) -> RigidTransform:
        """From coordinates in frame `source` to those in frame `target`, both as they were at a stamp in nanoseconds.

        Raises TransformError where nothing connects them, or nothing of that moment does. What may be on its way, for what came last is a
        little older, is waited for.
        """
        source, target, deadline = plain_frame(source), plain_frame(target), time.monotonic() + patience_s
        with self._came:
            while True:
                try:
                    return self._find(source, target, stamp, 0)
                except TransformError as error:
                    left = deadline - time.monotonic()
                    if not error.may_come or left <= 0:
                        break
                self._came.wait(left)
            return self._find(source, target, stamp, self._tolerance_ns)

    def _find(self, source: str, target: str, stamp: int, tolerance_ns: int) -> RigidTransform:
        ours, theirs = self._ancestors(source), self._ancestors(target)
        common = next((frame for frame in ours if frame in theirs), None)
        if common is None:
            unknown = [frame for frame, path in ((source, ours), (target, theirs)) if len(path) == 1 and frame not in self._parents()]
            why = f"nothing has come of {' and '.join(unknown)}" if unknown else "nothing connects them"
            raise TransformError(f"no transform from {source} to {target}: {why} on /tf or /tf_static")
        up, down = (self._to_ancestor(path[:path.index(common) + 1], stamp, tolerance_ns, (source, target)) for path in (ours, theirs))
        return down.inverse().after(up)

    def _parents(self) -> set[str]:
        return {link.parent for link in self._links.values()}

    def _to_ancestor(self, path: list[str], stamp: int, tolerance_ns: int, asked: tuple[str, str]) -> RigidTransform:
        to_here = IDENTITY
        for child, parent in pairwise(path):
            link = self._links[child]
            found = link.at(stamp, tolerance_ns)
            if isinstance(found, str):
                raise TransformError(f"no transform from {asked[0]} to {asked[1]} at {stamp / NANOSECONDS:.3f} s: of {child} in {parent} "
                                     f"{found}", link.is_about_to_know(stamp))
            to_here = found.after(to_here)
        return to_here

    def _ancestors(self, frame: str) -> list[str]:
        """The frame, its parent and so on; it ends where a tree would close to a ring."""
        found = [frame]
        while frame in self._links:
            frame = self._links[frame].parent
            if frame in found:
                break
            found.append(frame)
        return found
