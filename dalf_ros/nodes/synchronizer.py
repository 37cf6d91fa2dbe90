"""Messages kept by stamp until their counterpart comes: depth waits here for matches that take a second to make."""
from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

RESTART_NS = 500_000_000       # a stamp this far behind the newest means that the source began anew (a bag's loop)
MAX_PENDING = 16               # primary messages that wait for their counterparts


class TimeBuffer:
    """A bounded buffer of items by stamp (nanoseconds). Not thread-safe by itself."""

    def __init__(self, length_ns: int, max_items: int = 512) -> None:
        self._length, self._max = length_ns, max_items
        self._stamps: list[int] = []
        self._items: list[Any] = []

    def __len__(self) -> int:
        return len(self._stamps)

    def put(self, stamp: int, item: Any) -> None:
        """Keep an item, in place of one of the same stamp; what is older than the buffer is long, or more than it holds, is forgotten.

        A restart empties it.
        """
        if self._stamps and stamp < self._stamps[-1] - RESTART_NS:
            self.clear()
        at = bisect_left(self._stamps, stamp)
        same = at < len(self._stamps) and self._stamps[at] == stamp
        self._stamps[at : at + same] = [stamp]
        self._items[at : at + same] = [item]
        old = max(bisect_left(self._stamps, self._stamps[-1] - self._length), len(self._stamps) - self._max)
        del self._stamps[:old], self._items[:old]

    def find(self, stamp: int, tolerance_ns: int) -> Any | None:
        """The item of exactly this stamp; else the nearest within the tolerance, once a later one shows that no better comes."""
        at = bisect_left(self._stamps, stamp)
        if at < len(self._stamps) and self._stamps[at] == stamp:
            return self._items[at]
        if at == len(self._stamps):
            return None
        nearest = min((i for i in (at - 1, at) if i >= 0), key=lambda i: abs(self._stamps[i] - stamp))
        return self._items[nearest] if abs(self._stamps[nearest] - stamp) <= tolerance_ns else None

    def nearest_ns(self, stamp: int) -> int | None:
        """How much later than `stamp` the nearest item is (earlier: negative); None when empty."""
        return min((other - stamp for other in self._stamps), key=abs, default=None)

    def clear(self) -> None:
        self._stamps.clear()
        self._items.clear()


class Synchronizer:
    """Joins a primary message with the others of its stamp, whichever comes first. put() is safe from any thread.

    required: roles without which a group does not come out. optional: roles that are added when they are there.
    When several primaries could come out, the newest does and the older ones are given up: counted as skipped.
    """

    def __init__(self, primary: str, required: Iterable[str], optional: Iterable[str], *, tolerance_ns: int, length_ns: int) -> None:
        self._primary, self._required, self._optional = primary, tuple(required), tuple(optional)
        self._tolerance = tolerance_ns
        self._buffers = {role: TimeBuffer(length_ns) for role in (*self._required, *self._optional)}
        self._pending: list[tuple[int, Any]] = []
        self._lock = threading.Lock()
        self.received = {role: 0 for role in (primary, *self._buffers)}
        self.skipped = 0

    def put(self, role: str, stamp: int, item: Any) -> dict[str, Any] | None:
        """Take a message; gives {role: message} when one is complete, None in place of a missing optional one."""
        with self._lock:
            self.received[role] += 1
            if role == self._primary:
                if self._pending and stamp < self._pending[-1][0] - RESTART_NS:
                    self._pending.clear()
                self._pending.append((stamp, item))
                if len(self._pending) > MAX_PENDING:
                    del self._pending[0]
                    self.skipped += 1
            else:
                self._buffers[role].put(stamp, item)
                if role in self._optional:
                    return None
            return self._complete()

    def _complete(self) -> dict[str, Any] | None:
        for at in range(len(self._pending) - 1, -1, -1):
            stamp, item = self._pending[at]
            group = {role: self._buffers[role].find(stamp, self._tolerance) for role in self._required}
            if all(value is not None for value in group.values()):
                self.skipped += at
                del self._pending[: at + 1]
                group |= {role: self._buffers[role].find(stamp, self._tolerance) for role in self._optional}
                return group | {self._primary: item}
        return None

    def drop(self, role: str) -> None:
        """Forget what is kept of one role."""
        with self._lock:
            self._buffers[role].clear()

    def clear(self) -> None:
        """Forget everything that waits."""
        with self._lock:
            self._pending.clear()
            for buffer in self._buffers.values():
                buffer.clear()

    def mismatch(self) -> str:
        """Why what waits does not come out, for the person who wonders; empty when nothing waits."""
        with self._lock:
            if not self._pending:
                return ""
            gaps = {role: self._buffers[role].nearest_ns(self._pending[-1][0]) for role in self._required}
        told = [f"no {role} is kept" if gap is None else f"the nearest {role} is {abs(gap) / 1e9:.3f} s {'later' if gap > 0 else 'earlier'}"
                for role, gap in gaps.items() if gap is None or abs(gap) > self._tolerance]
        return f"of the newest {self._primary}, " + " and ".join(told) + f" (stamp_tolerance {self._tolerance / 1e9:g} s)" if told else ""


class StampGuard:
    """Tells new stamps from repeated, late and restarted ones."""

    def __init__(self) -> None:
        self._last: int | None = None

    def check(self, stamp: int) -> str:
        """"new", "repeated", "late" (out of order: skip it) or "restarted" (the source began anew: reset)."""
        last = self._last
        if last is not None and last - RESTART_NS <= stamp <= last:
            return "repeated" if stamp == last else "late"
        self._last = stamp
        return "new" if last is None or stamp > last else "restarted"
