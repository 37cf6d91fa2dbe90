"""When a node has had no data for a while, and whether that is worth a warning. Knows nothing of ROS; times are steady seconds."""
from __future__ import annotations

CLOCK_STANDS_S = 1.5            # without an advance of /clock: playback was paused, or is over

SILENT, PAUSED = "silent", "paused"


class Watchdog:
    """look() it every second. state: "" while data comes, SILENT, or PAUSED while simulated time stands still."""

    def __init__(self, after_s: float, now: float) -> None:
        self._after = after_s
        self._seen = 0
        self._since = self._moved = now
        self._clock_ns: int | None = None
        self._told: set[str] = set()
        self.state = ""

    def silent_s(self, now: float) -> float:
        """How long nothing came."""
        return now - self._since

    def look(self, now: float, received: int, clock_ns: int | None) -> str:
        """SILENT or PAUSED the first time that holds since data came last; else "".

        received: items so far. clock_ns: simulated time, 0 before it began; None where time is not simulated.
        """
        if received != self._seen:
            self._seen, self._since, self.state = received, now, ""
            self._told.clear()
        if clock_ns != self._clock_ns:
            if self.state == PAUSED:
                self._since, self.state = now, ""       # playback goes on: data has its time again
            self._clock_ns, self._moved = clock_ns, now
        if now - self._since <= self._after:
            return ""
        self.state = PAUSED if clock_ns and now - self._moved > min(CLOCK_STANDS_S, self._after) else SILENT
        if self.state in self._told:
            return ""
        self._told.add(self.state)
        return self.state
