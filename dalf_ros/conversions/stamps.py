"""Sensor stamps: the one rule for a source that begins anew, and what holds where a driver sets none. Nanoseconds."""
from __future__ import annotations

from typing import Any

from .messages import NANOSECONDS, stamp_ns

RESTART_NS = 500_000_000        # network and recorders bring messages into disorder by less
NEW, REPEATED, LATE, RESTARTED = "new", "repeated", "late", "restarted"


def has_restarted(stamp: int, newest: int | None) -> bool:
    """Whether a stream begins anew with this stamp (a bag's loop, a clock set back). newest: its newest so far; None: none yet."""
    return newest is not None and stamp < newest - RESTART_NS


class StampGuard:
    """Tells new stamps of a stream from repeated, late and restarted ones."""

    def __init__(self) -> None:
        self._newest: int | None = None

    def check(self, stamp: int) -> str:
        """NEW, REPEATED, LATE (out of order: skip it) or RESTARTED (the source began anew: forget what was before)."""
        newest = self._newest
        restarted = has_restarted(stamp, newest)
        if newest is not None and stamp <= newest and not restarted:
            return REPEATED if stamp == newest else LATE
        self._newest = stamp
        return RESTARTED if restarted else NEW


def set_missing_stamp(message: Any, arrival_ns: int) -> bool:
    """Give a message without a stamp (zero) that of its arrival; whether it had none."""
    if stamp_ns(message.header) != 0:
        return False
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(arrival_ns, NANOSECONDS)
    return True
