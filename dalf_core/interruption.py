"""Ctrl-C that lets the work in hand be finished: long loops look at it, so that what they write stays whole. Processes that go with it."""
from __future__ import annotations

import ctypes
import signal
import sys
from types import FrameType, TracebackType

PR_SET_PDEATHSIG = 1        # of <sys/prctl.h>


class Interruption:
    """Context: the first SIGINT or SIGTERM only sets `asked`; a second one interrupts at once.

    exit_code: what the shell expects of a program ended so: 130 or 143; 0 when nothing came.
    """

    def __init__(self) -> None:
        self.asked = False
        self.exit_code = 0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked, self.exit_code = True, 128 + number


def die_with_parent() -> None:
    """In a new process: it ends even where the thread that began it is killed. On Linux alone."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
