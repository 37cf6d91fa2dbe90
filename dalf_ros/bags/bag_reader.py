"""A bag as synchronised RGB-D frames, in the order of their stamps, nothing dropped."""
from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dalf_core.lens import Lens

from ..conversions.camera_model import is_rectified, lens_of
from ..conversions.messages import NANOSECONDS, stamp_ns
from ..conversions.stamps import has_restarted
from ..images.image_conversion import ImageError, to_color, to_depth, to_mask
from ..images.video_stream import VideoStreams
from .bag_source import BagError, BagSource, RawMessage
from .bag_topics import CameraTopics, list_topics

TOLERANCE_S = 0.02                 # stamps further apart than this do not belong together
WINDOW_NS = 1 * NANOSECONDS        # how long a frame waits, in recording time, for its depth and for earlier frames
WINDOW_FRAMES = 256                # and how many frames wait at most


@dataclass(frozen=True)
class RgbdFrame:
    """One camera frame. image: HxWx3 BGR or HxW, uint8 or uint16. depth_m: HxW float32 metres, NaN = none; None: no depth belongs to it.

    mask: HxW uint8 or None. stamp_ns, frame_id: of the colour image. problem: why depth or mask is missing, else empty.
    """

    stamp_ns: int
    frame_id: str
    image: np.ndarray
    depth_m: np.ndarray | None
    mask: np.ndarray | None
    problem: str = ""


@dataclass(order=True)
class _Waiting:
    stamp_ns: int
    time_ns: int
    message: Any


def read_camera(source: BagSource, topics: CameraTopics) -> Lens:
    """The camera of the first camera_info message; without distortion where the colour or depth topic is named rectified. BagError."""
    if topics.camera_info is None:
        raise BagError("no camera_info that belongs to the colour image was found: name it with --camera-info-topic, or give "
                       "--intrinsics fx,fy,cx,cy (pixels). The bag holds:\n" + list_topics(source.topics.values()))
    for raw in source.messages([topics.camera_info]):
        message = source.deserialize(raw)
        try:
            return lens_of(message, is_rectified("auto", topics.color, topics.depth or ""))
        except ValueError as error:
            raise BagError(f"{topics.camera_info}: {error}") from error
    raise BagError(f"{topics.camera_info} has no messages; give --intrinsics fx,fy,cx,cy (pixels)")


def count_frames(source: BagSource, topics: CameraTopics) -> int | None:
    """Colour images in the bag; None where it does not say."""
    return source.topics[topics.color].count


def read_frames(source: BagSource, topics: CameraTopics, tolerance_s: float = TOLERANCE_S) -> Iterator[RgbdFrame]:
    """Every colour image, with the depth and mask of the same stamp, or else of the nearest within tolerance_s."""
    pairer = FramePairer(topics, int(tolerance_s * NANOSECONDS))
    wanted = [name for name in (topics.color, topics.depth, topics.mask) if name is not None]
    videos = VideoStreams()
    for raw in source.messages(wanted):
        message = videos.decoded(raw.topic, source.deserialize(raw))
        for group in pairer.add(raw, message):
            yield _decoded(group)
    for group in pairer.flush():
        yield _decoded(group)


class FramePairer:
    """Joins messages by stamp: exact first, else the nearest within the tolerance. Groups come out in stamp order.

    A group is {role: message or None} for the roles "color", "depth", "mask" that were asked for.
    """

    def __init__(self, topics: CameraTopics, tolerance_ns: int) -> None:
        self._roles = {name: role for role, name in (("mask", topics.mask), ("depth", topics.depth), ("color", topics.color)) if name}
        self._tolerance = tolerance_ns
        self._color: list[_Waiting] = []
        self._others: dict[str, list[_Waiting]] = {role: [] for role in self._roles.values() if role != "color"}
        self._newest: dict[str, int] = {}       # stamp, by topic, since the recording began anew

    def add(self, raw: RawMessage, message: Any) -> Iterator[dict[str, Any]]:
        """Take one message; gives the groups that are now complete."""
        stamp = stamp_ns(message.header)
        if has_restarted(stamp, self._newest.get(raw.topic)):
            yield from self.flush()
        self._newest[raw.topic] = max(stamp, self._newest.get(raw.topic, stamp))
        item = _Waiting(stamp, raw.time_ns, message)
        role = self._roles[raw.topic]
        if role == "color":
            heapq.heappush(self._color, item)
        else:
            insort(self._others[role], item, key=lambda waiting: waiting.stamp_ns)
        while self._color and (raw.time_ns - self._color[0].time_ns > WINDOW_NS or len(self._color) > WINDOW_FRAMES):
            yield self._take()

    def flush(self) -> Iterator[dict[str, Any]]:
        """The groups that still wait."""
        while self._color:
            yield self._take()
        for waiting in self._others.values():
            waiting.clear()
        self._newest.clear()

    def _take(self) -> dict[str, Any]:
        color = heapq.heappop(self._color)
        group = {"color": color.message}
        for role, waiting in self._others.items():
            group[role] = self._nearest(waiting, color.stamp_ns)
            # later colour images cannot want these: frames come in stamp order
            del waiting[: bisect_left(waiting, color.stamp_ns - self._tolerance, key=lambda item: item.stamp_ns)]
        return group

    def _nearest(self, waiting: list[_Waiting], stamp: int) -> Any:
        at = bisect_left(waiting, stamp, key=lambda item: item.stamp_ns)
        near = [item for item in waiting[max(0, at - 1):at + 1] if abs(item.stamp_ns - stamp) <= self._tolerance]
        return min(near, key=lambda item: abs(item.stamp_ns - stamp)).message if near else None


def _decoded(group: dict[str, Any]) -> RgbdFrame:
    """The group's messages as arrays. A colour image that cannot be read is an error; depth or mask is a missing one."""
    color = group["color"]
    try:
        image = to_color(color)
    except ImageError as error:
        raise BagError(f"colour image at {stamp_ns(color.header) / NANOSECONDS:.3f} s: {error}") from error
    arrays: dict[str, np.ndarray | None] = {"depth": None, "mask": None}
    problems = []
    for role, convert in (("depth", to_depth), ("mask", to_mask)):
        if role not in group:
            continue
        if group[role] is None:
            problems.append(f"no {role} within the stamp tolerance")
            continue
        try:
            arrays[role] = convert(group[role])
        except ImageError as error:
            problems.append(f"{role}: {error}")
    return RgbdFrame(stamp_ns(color.header), color.header.frame_id, image, arrays["depth"], arrays["mask"], "; ".join(problems))
