"""Calls in a thread beside: all of them, in order, not too many at once, and errors told."""
from __future__ import annotations

import threading

import pytest

from dalf_core.drawing.in_turn import InTurn


def test_all_calls_in_order_in_one_other_thread_and_then_the_last() -> None:
    seen: list = []
    with InTurn(lambda: seen.append("last"), most_waiting=2) as beside:
        for number in range(20):
            beside.call(lambda n: seen.append((n, threading.get_ident())), number)
    threads = {thread for _, thread in seen[:-1]}
    assert [n for n, _ in seen[:-1]] == list(range(20)) and seen[-1] == "last"
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_the_caller_waits_where_too_many_are_to_be_done() -> None:
    go, called = threading.Event(), threading.Event()
    with InTurn(lambda: None, most_waiting=3) as beside:
        for _ in range(3):
            beside.call(go.wait)            # returns at once
        late = threading.Thread(target=lambda: (beside.call(go.wait), called.set()))
        late.start()
        assert not called.wait(0.3)
        go.set()
        assert called.wait(30)
        late.join()


def test_an_error_is_told_at_a_later_call_or_at_the_end_and_the_last_is_called() -> None:
    seen: list = []
    with pytest.raises(ZeroDivisionError), InTurn(lambda: seen.append("last"), most_waiting=1) as beside:
        beside.call(lambda: 1 / 0)
        for _ in range(5):
            beside.call(lambda: None)
        raise AssertionError("the error was not told")
    assert seen == ["last"]
    with pytest.raises(ZeroDivisionError), InTurn(lambda: seen.append("again")) as beside:
        beside.call(lambda: 1 / 0)
        beside.call(seen.append, "meanwhile")
    assert seen == ["last", "meanwhile", "again"]


def test_an_interruption_drops_what_has_not_begun() -> None:
    begun, go, seen = threading.Event(), threading.Event(), []
    with pytest.raises(KeyboardInterrupt), InTurn(lambda: seen.append("last")) as beside:
        beside.call(lambda: (begun.set(), go.wait(30), seen.append("begun")))
        beside.call(seen.append, "dropped")
        assert begun.wait(30)
        threading.Timer(0.2, go.set).start()
        raise KeyboardInterrupt
    assert seen == ["begun", "last"]
