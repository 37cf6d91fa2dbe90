"""Processing time by stage."""
from __future__ import annotations

import time


class Stopwatch:
    """laps: milliseconds by stage name, in the order they were run."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, name: str) -> None:
        """End the stage `name`; the next one begins."""
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + 1e3 * (now - self._since)
        self._since = now
