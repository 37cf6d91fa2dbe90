"""Work that takes long, beside the executor, which hears on meanwhile, and beside the worker thread, which follows on."""
from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent import futures
from contextlib import suppress
from typing import Any, TypeVar

from rclpy.task import Future

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

    async def result(self, job: Callable[[], T]) -> T:
        """What a job gives, or raises; for callbacks of the node's executor, in a callback group that is reentrant: another one lets
        nothing else of the group run before the answer is there.
        """
        executor = self._node.executor
        ready = Future(executor=executor)

        def tell(_: futures.Future[T]) -> None:
            with suppress(RuntimeError):        # InvalidHandle: the process ends meanwhile
                executor.create_task(ready.set_result, None)

        work = self._thread.submit(job)
        work.add_done_callback(tell)
        await ready
        return work.result()
