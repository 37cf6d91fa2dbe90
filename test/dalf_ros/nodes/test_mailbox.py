"""The one-slot mailbox, without ROS."""
from __future__ import annotations

import threading
import time

from dalf_ros.nodes.mailbox import Mailbox


def test_newest_wins_and_drops_are_counted() -> None:
    box: Mailbox[int] = Mailbox()
    for item in (1, 2, 3):
        box.put(item)
    assert box.take(0) == 3
    assert box.take(0) is None
    assert (box.received, box.dropped) == (3, 2)


def test_false_items_are_items() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(0)
    assert box.take(0) == 0


def test_take_waits_for_put() -> None:
    box: Mailbox[str] = Mailbox()
    threading.Timer(0.05, box.put, ["hello"]).start()
    assert box.take(timeout=60.0) == "hello"


def test_close_wakes_the_waiting() -> None:
    box: Mailbox[str] = Mailbox()
    threading.Timer(0.05, box.close).start()
    assert box.take() is None           # it would wait for ever
    box.put("late")
    assert box.closed and box.take(0) is None and box.received == 0


def test_clear_is_no_drop() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(1)
    box.clear()
    box.put(2)
    assert box.take(0) == 2 and box.dropped == 0


def test_nothing_is_lost_between_threads() -> None:
    box: Mailbox[int] = Mailbox()
    taken: list[int] = []

    def work() -> None:
        while (item := box.take(timeout=1.0)) != -1:
            if item is not None:
                taken.append(item)

    worker = threading.Thread(target=work)
    worker.start()
    for number in range(2000):
        box.put(number)
        if number % 100 == 0:
            time.sleep(0.001)
    while box.received - box.dropped > len(taken):
        time.sleep(0.001)
    box.put(-1)
    worker.join()
    assert taken == sorted(taken) and taken[-1] == 1999
    assert len(taken) + box.dropped == 2000
