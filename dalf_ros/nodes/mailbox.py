"""A one-slot mailbox between a callback and a worker thread: the newest item wins, overwritten ones are counted."""
from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """put() never waits; take() waits for an item. Safe between any number of threads."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = self._woken = False
        self._received = 0
        self._dropped = 0

    def put(self, item: T) -> None:
        """Leave an item, in place of one that has not been taken. Ignored once closed."""
        with self._condition:
            if self._closed:
                return
            self._received += 1
            self._dropped += self._item is not None
            self._item = item
            self._condition.notify()

    def take(self, timeout: float | None = None) -> T | None:
        """The newest item, or None when closed, when woken, or when timeout (seconds) ran out."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed or self._woken, timeout)
            item, self._item, self._woken = self._item, None, False
            return item

    def wake(self) -> None:
        """Let who waits in take() go on, though there is no item."""
        with self._condition:
            self._woken = True
            self._condition.notify_all()

    def clear(self) -> None:
        """Throw away what waits, without counting it as dropped."""
        with self._condition:
            self._item = None

    def close(self) -> None:
        """Wake whoever waits; from now on nothing is accepted."""
        with self._condition:
            self._closed, self._item = True, None
            self._condition.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def received(self) -> int:
        """Items put since the mailbox was made."""
        return self._received

    @property
    def dropped(self) -> int:
        """Items overwritten before anyone took them."""
        return self._dropped
