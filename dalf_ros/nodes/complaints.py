"""Which reasons are worth telling once more: each is told at most every few seconds, or once while it holds."""
from __future__ import annotations

import math
import re
import threading
import time

EVERY_S = 5.0
MAX_REASONS = 100       # remembered


class Complaints:
    """Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}       # reason: steady time
        self._standing: set[str] = set()        # reasons that were told and still hold

    def is_news(self, reason: str, once: bool) -> bool:
        """Whether to tell it now; then it counts as told. Reasons that differ in their numbers alone are one, unless they hold until
        something good comes (once).
        """
        kind, now = reason if once else re.sub(r"[\d.]+", "#", reason)[:100], time.monotonic()
        with self._lock:
            if kind in self._standing or now - self._told.get(kind, -math.inf) < EVERY_S:
                return False
            if once:
                self._standing.add(kind)
            if len(self._told) > MAX_REASONS:
                self._told.clear()
            self._told[kind] = now
            return True

    def good(self) -> None:
        """Something good has come: reasons that hold are over."""
        with self._lock:
            self._standing.clear()
