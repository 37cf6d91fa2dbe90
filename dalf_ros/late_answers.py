"""Services that answer when a thread has done its work, while the executor goes on.

Without coroutines: rclpy's EventsExecutor does not await them, and with the others what waits holds up its callback group.
"""
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Later:
    """What a service's callback returns in place of its response: when `work` is done, also when that failed, answer() gives it.

    answer runs on the executor's thread.
    """

    work: Future[Any]
    answer: Callable[[], Any]


def answers_late(service: Any, node: Any) -> None:
    """Let the callback of a node's service return Later."""
    send = service.send_response

    def send_response(response: Any, request_id: Any) -> None:
        if not isinstance(response, Later):
            send(response, request_id)
        elif (executor := node.executor) is not None:
            def when_done(_: Future[Any]) -> None:
                with suppress(RuntimeError):        # InvalidHandle: the process ends meanwhile
                    executor.create_task(lambda: send(response.answer(), request_id))

            response.work.add_done_callback(when_done)

    service.send_response = send_response
