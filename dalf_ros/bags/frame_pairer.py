"""Messages of one camera joined by their stamps."""
from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..conversions.messages import NANOSECONDS, stamp_ns
from ..conversions.stamps import RESTART_NS, has_restarted, set_missing_stamp
from .bag_topics import CameraTopics
from .left_out import LeftOut
from .raw_message import RawMessage

WINDOW_NS = 1 * NANOSECONDS        # how long a frame waits at least, in recording time, for earlier ones that were recorded late
WINDOW_FRAMES = 256                # messages of a topic that wait at most for their counterparts
WINDOW_BYTES = 1 << 28             # and how much memory they may take


@dataclass(frozen=True)
class Group:
    """One colour image and what belongs to it. messages: {role: message, or None where nothing near enough came}.

    gap_ns: {role: how much later than the colour image the nearest message of a missing role is, negative: earlier; None: there is none}.
    """

    stamp_ns: int
    messages: dict[str, Any]
    gap_ns: dict[str, int | None]


@dataclass(order=True)
class _Waiting:
    stamp_ns: int
    order: int
    time_ns: int = field(compare=False)
    size: int = field(compare=False)
    message: Any = field(compare=False)


class FramePairer:
    """Joins messages by stamp: exact first, else the nearest within the tolerance. Groups come out in the order of their stamps.

    Roles are "color", and "depth", "mask" where asked for. A colour image waits until its counterparts have come or later ones show that
    they will not, however late they were recorded. Stamps that jump back begin anew. A message without a stamp (zero), or every message
    with by_recording_time, gets the time at which it was recorded; one of the same stamp as an earlier one of its topic is left out.
    unset: how many had no stamp. repeated: those left out.
    """

    def __init__(self, topics: CameraTopics, tolerance_ns: int, by_recording_time: bool = False) -> None:
        self._roles = {name: role for role, name in (("mask", topics.mask), ("depth", topics.depth), ("color", topics.color)) if name}
        self._tolerance, self._by_recording_time = tolerance_ns, by_recording_time
        self._color: list[_Waiting] = []
        self._others: dict[str, list[_Waiting]] = {role: [] for role in self._roles.values() if role != "color"}
        self._newest: dict[str, int] = {}       # stamp, by role, since the recording began anew
        self._recent: dict[str, set[int]] = {}  # stamps, by role, that a repeat may have: an older one begins anew
        self._bytes = self._count = self.unset = 0
        self.repeated = LeftOut("repeat the stamp of an earlier one and were left out")

    def add(self, raw: RawMessage, message: Any) -> Iterator[Group]:
        """Take one message; gives the groups that are now complete."""
        role = self._roles[raw.topic]
        if self._by_recording_time:
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(raw.time_ns, NANOSECONDS)
        else:
            self.unset += set_missing_stamp(message, raw.time_ns)
        stamp = stamp_ns(message.header)
        if stamp in self._recent.get(role, ()):
            self.repeated.add(f"a message on {raw.topic} repeats the stamp {stamp / NANOSECONDS:.3f} s of an earlier one")
            return
        if has_restarted(stamp, self._newest.get(role)):
            yield from self.flush()
        self._newest[role] = newest = max(stamp, self._newest.get(role, stamp))
        self._recent[role] = {stamp, *(other for other in self._recent.get(role, ()) if other >= newest - RESTART_NS)}
        self._count += 1
        self._keep(role, _Waiting(stamp, self._count, raw.time_ns, len(raw.data), message))
        while self._color and self._is_ready(raw.time_ns):
            yield self._take()

    def flush(self) -> Iterator[Group]:
        """The groups that still wait; nothing of before is joined with what comes then."""
        while self._color:
            yield self._take()
        for waiting in self._others.values():
            waiting.clear()
        self._newest.clear()
        self._recent.clear()
        self._bytes = 0

    def _keep(self, role: str, item: _Waiting) -> None:
        self._bytes += item.size
        if role == "color":
            heapq.heappush(self._color, item)
            return
        insort(self._others[role], item)
        self._forget(role, max(0, len(self._others[role]) - WINDOW_FRAMES))

    def _is_ready(self, now_ns: int) -> bool:
        """Whether the earliest colour image need not, or may not, wait any longer."""
        first = self._color[0]
        if len(self._color) > WINDOW_FRAMES or self._bytes > WINDOW_BYTES:
            return True
        decided = all(role in self._newest and self._newest[role] >= first.stamp_ns for role in self._others)
        return decided and now_ns - first.time_ns > WINDOW_NS

    def _take(self) -> Group:
        color = heapq.heappop(self._color)
        self._bytes -= color.size
        messages, gaps = {"color": color.message}, {}
        for role, waiting in self._others.items():
            nearest = min(self._beside(waiting, color.stamp_ns), key=lambda item: abs(item.stamp_ns - color.stamp_ns), default=None)
            gap = None if nearest is None else nearest.stamp_ns - color.stamp_ns
            near = nearest is not None and gap is not None and abs(gap) <= self._tolerance
            messages[role] = nearest.message if near and nearest is not None else None
            if not near:
                gaps[role] = gap
            # later colour images cannot want these: frames come in the order of their stamps. The last one stays, to measure gaps by
            old = bisect_left(waiting, color.stamp_ns - self._tolerance, key=lambda item: item.stamp_ns)
            self._forget(role, min(old, max(0, len(waiting) - 1)))
        return Group(color.stamp_ns, messages, gaps)

    def _forget(self, role: str, count: int) -> None:
        self._bytes -= sum(item.size for item in self._others[role][:count])
        del self._others[role][:count]

    @staticmethod
    def _beside(waiting: list[_Waiting], stamp: int) -> list[_Waiting]:
        at = bisect_left(waiting, stamp, key=lambda item: item.stamp_ns)
        return waiting[max(0, at - 1):at + 1]
