"""Messages kept by stamp until their counterpart comes: depth waits here for matches that take a second to make."""
from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any

from ..conversions.stamps import has_restarted

MEGABYTE = 1_000_000
BYTES = 256 * MEGABYTE          # of one role: 140 images of 16-bit depth at 1280x720, which are five seconds at 30 Hz
OPTIONAL_BYTES = BYTES // 2     # of an optional one: 48 colour images, 1.6 seconds
SMALLEST_BYTES = 1000           # what a message costs beside its data


class TimeBuffer:
    """A bounded buffer of items by stamp (nanoseconds). Not thread-safe by itself.

    length_ns: what is older than the newest by more is forgotten; so are the oldest while all together have more than max_bytes.
    """

    def __init__(self, length_ns: int, max_bytes: int = BYTES) -> None:
        self._length, self._max = length_ns, max_bytes
        self._stamps: list[int] = []
        self._items: list[Any] = []
        self._sizes: list[int] = []
        self.bytes = 0
        self.is_full = False        # whether something has been forgotten for its size

    def __len__(self) -> int:
        return len(self._stamps)

    def put(self, stamp: int, item: Any, size: int = 0) -> list[int]:
        """Keep an item of so many bytes, in place of one of the same stamp; gives the stamps of those that are forgotten for it.

        A restart empties the buffer. The newest item is always kept.
        """
        if has_restarted(stamp, self._stamps[-1] if self._stamps else None):
            self.clear()
        at = bisect_left(self._stamps, stamp)
        same = at < len(self._stamps) and self._stamps[at] == stamp
        self.bytes += size + SMALLEST_BYTES - sum(self._sizes[at : at + same])
        self._stamps[at : at + same] = [stamp]
        self._items[at : at + same] = [item]
        self._sizes[at : at + same] = [size + SMALLEST_BYTES]
        count = bisect_left(self._stamps, self._stamps[-1] - self._length)
        left = self.bytes - sum(self._sizes[:count])
        while left > self._max and count < len(self._stamps) - 1:
            left -= self._sizes[count]
            count += 1
            self.is_full = True
        return self._forget(count)

    def forget_before(self, stamp: int) -> list[int]:
        """Forget what is older; gives its stamps."""
        return self._forget(bisect_left(self._stamps, stamp))

    def _forget(self, count: int) -> list[int]:
        old = self._stamps[:count]
        self.bytes -= sum(self._sizes[:count])
        del self._stamps[:count], self._items[:count], self._sizes[:count]
        return old

    def newest_first(self) -> list[tuple[int, Any]]:
        """(stamp, item) of all that is kept."""
        return list(zip(self._stamps, self._items))[::-1]

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
        self._forget(len(self._stamps))


class Synchronizer:
    """Joins a primary message with the others of its stamp, whichever comes first. Safe from any thread.

    required: roles without which a group does not come out. optional: roles that are added when they are there.
    When several primaries could come out, the newest does and the older ones are given up: counted as skipped. given_up(role, why) is
    called for each primary that is given up because one of the required roles has nothing for it.
    max_bytes: of each role and of the primary; optional roles have half of it.
    """

    def __init__(self, primary: str, required: Iterable[str], optional: Iterable[str], *, tolerance_ns: int, length_ns: int,
                 max_bytes: int = BYTES, given_up: Callable[[str, str], None] = lambda *_: None) -> None:
        self.primary, self._required, self._optional = primary, tuple(required), tuple(optional)
        self._tolerance, self._given_up = tolerance_ns, given_up
        self._buffers = {role: TimeBuffer(length_ns, max_bytes) for role in self._required}
        self._buffers |= {role: TimeBuffer(length_ns, max_bytes // 2) for role in self._optional}
        self._pending = TimeBuffer(length_ns, max_bytes)
        self._newest: int | None = None         # stamp of the primary, since the source began anew
        self._lock = threading.Lock()
        self.skipped = 0

    @property
    def bytes(self) -> int:
        """Of everything that is kept."""
        with self._lock:
            return self._pending.bytes + sum(buffer.bytes for buffer in self._buffers.values())

    def put(self, role: str, stamp: int, item: Any, size: int = 0) -> dict[str, Any] | None:
        """Take a message of so many bytes; gives {role: message} when one is complete, None in place of a missing optional one."""
        with self._lock:
            if role != self.primary:
                self._buffers[role].put(stamp, item, size)
                group, lost = (None, []) if role in self._optional else self._complete()
            else:
                if has_restarted(stamp, self._newest):
                    self._newest = None
                    self._pending.clear()
                self._newest = stamp if self._newest is None else max(self._newest, stamp)
                forgotten = [self._lacking(old) for old in self._pending.put(stamp, item, size)]
                self.skipped += len(forgotten)
                group, lost = self._complete()
                lost = forgotten + lost
        for missing in lost:
            for other, why in missing.items():
                self._given_up(other, why)
        return group

    def newest(self, *roles: str, optional: Iterable[str] = ()) -> dict[str, Any] | None:
        """The newest messages of these roles that belong together, whatever the primary; they stay. None where there are none.

        optional: as well, None in place of a missing one.
        """
        with self._lock:
            for stamp, item in self._buffers[roles[0]].newest_first():
                group = {role: self._buffers[role].find(stamp, self._tolerance) for role in (*roles[1:], *optional)}
                if all(group[role] is not None for role in roles[1:]):
                    return {roles[0]: item, **group}
        return None

    def _complete(self) -> tuple[dict[str, Any] | None, list[dict[str, str]]]:
        """The newest group that is complete, if any; what the older primaries lacked, which are given up then."""
        for stamp, item in self._pending.newest_first():
            group = {role: self._buffers[role].find(stamp, self._tolerance) for role in self._required}
            if any(value is None for value in group.values()):
                continue
            group |= {role: self._buffers[role].find(stamp, self._tolerance) for role in self._optional}
            old = self._pending.forget_before(stamp)
            lost = [self._lacking(other) for other in old]
            self.skipped += len(old)
            self._pending.forget_before(stamp + 1)
            for buffer in self._buffers.values():       # nothing older is asked for any more: stamps that come late are refused
                buffer.forget_before(stamp - self._tolerance)
            return group | {self.primary: item}, lost
        return None, []

    def _lacking(self, stamp: int) -> dict[str, str]:
        """Why there is nothing for a primary of this stamp, by required role; empty where there is."""
        return {role: self._why(role, stamp) for role in self._required if self._buffers[role].find(stamp, self._tolerance) is None}

    def _why(self, role: str, stamp: int) -> str:
        """What is known of a role that has nothing for a stamp, in words."""
        buffer = self._buffers[role]
        gap = buffer.nearest_ns(stamp)
        full = " (older ones were forgotten, as buffer_megabytes demands)" if buffer.is_full and (gap is None or gap > 0) else ""
        if gap is None:
            return f"no {role} is kept{full}"
        if abs(gap) <= self._tolerance:
            return f"a nearer {role} may come"
        return f"the nearest {role} is {abs(gap) / 1e9:.3f} s {'later' if gap > 0 else 'earlier'}{full}"

    def clear(self) -> None:
        """Forget everything that waits."""
        with self._lock:
            for buffer in (self._pending, *self._buffers.values()):
                buffer.clear()

    def mismatch(self) -> str:
        """Why what waits does not come out, for the person who wonders; empty when nothing waits."""
        with self._lock:
            waiting = self._pending.newest_first()
            told = [self._why(role, waiting[0][0]) for role in self._required if not self._fits(role, waiting[0][0])] if waiting else []
        return f"of the newest {self.primary}, " + " and ".join(told) + f" (stamp_tolerance {self._tolerance / 1e9:g} s)" if told else ""

    def _fits(self, role: str, stamp: int) -> bool:
        gap = self._buffers[role].nearest_ns(stamp)
        return gap is not None and abs(gap) <= self._tolerance


def size_of(message: Any) -> int:
    """Bytes of a message's data; 0 for one that has none."""
    return memoryview(message.data).nbytes if hasattr(message, "data") else 0
