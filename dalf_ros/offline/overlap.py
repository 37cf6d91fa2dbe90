"""Reading ahead and writing behind, each on a thread of its own: what is slow about them runs without Python's lock.

Both keep the order, so that a run's results do not depend on how its threads are timed.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from ..bags.bag_writer import BagWriter

READ_AHEAD = 4              # frames
WRITTEN_BEHIND = 16         # batches of results

Item = TypeVar("Item")
_END: Any = object()


def read_ahead(items: Iterator[Item], count: int = READ_AHEAD) -> Iterator[Item]:
    """The items, at most `count` of them taken before they are asked for. What raises does so in its turn."""
    with ThreadPoolExecutor(1, "reader") as executor:
        waiting = deque(executor.submit(next, items, _END) for _ in range(count))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(executor.submit(next, items, _END))
            yield item


class WriteBehind:
    """Writes to a BagWriter in the order given. Use it in a `with` block inside the BagWriter's: leaving it writes what is left.

    An error of writing is raised by one of the next calls, or on leaving.
    """

    def __init__(self, bag: BagWriter) -> None:
        self._bag = bag
        self._executor = ThreadPoolExecutor(1, "writer")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._executor.shutdown()
        if kind is None:
            for written in self._waiting:
                written.result()

    def write_results(self, results: Iterable[tuple[str, dict]], time_ns: int) -> None:
        """As BagWriter.write_results. The results are made on the thread too: they may only hang on what does not change."""
        while len(self._waiting) >= WRITTEN_BEHIND or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._executor.submit(self._bag.write_results, results, time_ns))
