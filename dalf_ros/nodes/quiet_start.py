"""Ctrl-C while a program imports its libraries, which takes seconds, or while it stops: no traceback.

The exit status of an interrupted node is 0, as of other programs of ROS: launch calls everything else a death.
"""
from __future__ import annotations

import os
import signal
import time

PATIENCE_S = 1.0        # so long a second Ctrl-C counts as the first: launch and the terminal may both send one


def end_quietly_on_interrupt() -> None:
    """Until one of the next two: SIGINT ends the process. (A KeyboardInterrupt inside an import is now and then swallowed.)"""
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))


def interrupt_as_usual() -> None:
    """SIGINT raises KeyboardInterrupt again."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupt_once() -> None:
    """From now on the first SIGINT raises KeyboardInterrupt; those after it are as after interrupt_no_more()."""
    signal.signal(signal.SIGINT, _stop_the_program)


def _stop_the_program(*_: object) -> None:
    interrupt_no_more()     # here, and not where the exception is caught: a second one may come before
    raise KeyboardInterrupt


def interrupt_no_more() -> None:
    """The program stops already: SIGINT is ignored for a second; later, when stopping takes long, it ends the process with status 130."""
    began = time.monotonic()
    signal.signal(signal.SIGINT, lambda *_: os._exit(130) if time.monotonic() - began > PATIENCE_S else None)


def comes_of_interrupt(error: BaseException | None) -> bool:
    """Whether a KeyboardInterrupt led to an error: inside the import of a compiled module it comes out as an ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
