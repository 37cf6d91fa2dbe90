"""How often something happens, over the last few seconds."""
from __future__ import annotations

import time
from collections import deque

OVER_S = 3.0


class FrameRate:
    """Call tick() whenever it happens. hz: times a second, 0 while it is not known. silent_s: seconds since it happened last."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._times: deque[float] = deque()

    def tick(self) -> None:
        now = time.monotonic()
        self._times.append(now)
        while now - self._times[0] > OVER_S:
            self._times.popleft()

    @property
    def hz(self) -> float:
        now = time.monotonic()
        recent = [moment for moment in self._times if now - moment <= OVER_S]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0

    @property
    def silent_s(self) -> float:
        return time.monotonic() - (self._times[-1] if self._times else self._began)
