"""Ctrl-C that lets the work in hand be finished: long loops look at it, so that what they write stays whole."""
from __future__ import annotations

import signal
from types import FrameType, TracebackType


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
