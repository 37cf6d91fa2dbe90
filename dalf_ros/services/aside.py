"""Work that takes long, beside the executor, which hears on meanwhile, and beside the worker thread, which follows on."""
from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent import futures
from typing import Any, TypeVar

T = TypeVar("T")


class Aside:
    """A thread of a node's own, which does one job after another; it begins with the first."""

    def __init__(self, node: Any, name: str) -> None:
        self._node = node
        self._thread = futures.ThreadPoolExecutor(1, thread_name_prefix=name)

    def do(self, job: Callable[[], None]) -> None:
        """Have a job done; what it raises is logged."""
        def tell(done: futures.Future[None]) -> None:
            if not done.cancelled() and (error := done.exception()):
                self._node.get_logger().error("".join(traceback.format_exception(error)))

        self._thread.submit(job).add_done_callback(tell)

    def begin(self, job: Callable[[], T]) -> futures.Future[T]:
        """Have a job done whose result, or what it raises, is asked for later."""
        return self._thread.submit(job)
