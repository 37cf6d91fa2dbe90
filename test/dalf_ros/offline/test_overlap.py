"""Reading ahead and writing behind keep the order, and every error comes to the surface."""
from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from dalf_ros.bags.bag_source import BagError
from dalf_ros.offline.overlap import READ_AHEAD, WRITTEN_BEHIND, WriteBehind, read_ahead


def test_items_come_in_order_and_a_few_are_taken_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    got = read_ahead(items())
    assert next(got) == 0
    deadline = time.monotonic() + 30
    while len(taken) < READ_AHEAD + 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert taken == list(range(READ_AHEAD + 1))         # on another thread, and no more than that
    assert list(got) == list(range(1, 20))


def test_an_error_of_reading_comes_after_what_was_read_before_it() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise BagError("cut off")

    got = read_ahead(items())
    assert (next(got), next(got)) == (1, 2)
    with pytest.raises(BagError, match="cut off"):
        next(got)


class Bag:
    """Takes what is written; the batch recorded at `fails_at` cannot be."""

    def __init__(self, fails_at: int = -1) -> None:
        self.written, self.fails_at, self.gate = [], fails_at, threading.Event()

    def write_results(self, results, time_ns: int) -> None:
        self.gate.wait()
        if time_ns == self.fails_at:
            raise BagError("disk full")
        self.written.append((time_ns, list(results)))


def test_everything_is_written_in_order_on_another_thread() -> None:
    bag = Bag()
    with WriteBehind(bag) as results:
        for number in range(WRITTEN_BEHIND):
            results.write_results([(name, {"number": number}) for name in "ab"], number)
        assert bag.written == []                        # none was waited for
        bag.gate.set()
        for number in range(WRITTEN_BEHIND, 50):
            results.write_results([("a", {})], number)
    assert [time_ns for time_ns, _ in bag.written] == list(range(50))
    assert bag.written[3] == (3, [("a", {"number": 3}), ("b", {"number": 3})])


@pytest.mark.parametrize("more", [0, 3 * WRITTEN_BEHIND])       # told on leaving, or by a later call
def test_an_error_of_writing_is_raised(more: int) -> None:
    bag = Bag(fails_at=1)
    bag.gate.set()
    with pytest.raises(BagError, match="disk full"), WriteBehind(bag) as results:
        for number in range(2 + more):
            results.write_results([], number)
    assert bag.written[0] == (0, [])


def test_the_error_of_the_run_is_not_hidden_by_one_of_writing() -> None:
    bag = Bag(fails_at=0)
    bag.gate.set()
    with pytest.raises(ValueError, match="the run's"), WriteBehind(bag) as results:
        results.write_results([], 0)
        raise ValueError("the run's")
