"""Telling what is left out of a recording: the first message at once, how many there were at the end."""
from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class LeftOut:
    """Messages that are left out for one reason. reason: follows their number, as in "are damaged and were left out"."""

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self.count = 0

    def add(self, message: str) -> None:
        """One more; `message` says which it is and why, which is told of the first."""
        self.count += 1
        if self.count == 1:
            log.warning("%s; it is left out, and so are others like it", message)

    def tell(self) -> None:
        """At the end: how many there were, where the first was not the only one."""
        if self.count > 1:
            log.warning("%d messages %s", self.count, self._reason)
