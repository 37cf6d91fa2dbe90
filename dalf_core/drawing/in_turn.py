"""Work beside the caller's: pictures are made and encoded while the next frame is looked at."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any

MOST_WAITING = 4            # calls; each holds a frame with all that was found in it


class InTurn:
    """Calls, one after another, in a thread of its own. Kernels, OpenCV and encoders give up Python's lock, so it costs the caller little.

    Use it in a `with` block: leaving it waits for what was called; leaving it by an error drops what has not begun. `last` is called after
    that in any case, in the same thread. What a call raises is raised by a later `call`, or at the end.
    """

    def __init__(self, last: Callable[[], Any], most_waiting: int = MOST_WAITING) -> None:
        self._last, self._most = last, most_waiting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="in_turn")
        self._calls: deque[Future[Any]] = deque()

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Have it called later; returns once no more than `most_waiting` calls are still to be done."""
        self._calls.append(self._thread.submit(function, *args))
        while len(self._calls) > self._most:
            self._calls.popleft().result()

    def __enter__(self) -> InTurn:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            for call in self._calls:
                call.cancel()
        self._calls.append(self._thread.submit(self._last))
        self._thread.shutdown(wait=False)           # the calls go on even if Ctrl-C ends the waiting for them
        wait(self._calls)
        for call in self._calls:
            if not call.cancelled():
                call.result()
