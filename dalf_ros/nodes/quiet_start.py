"""Ctrl-C while a program still imports its libraries, which takes seconds: it ends at once, without a traceback, with status 130."""
from __future__ import annotations

import os
import signal


def end_quietly_on_interrupt() -> None:
    """Until interrupt_as_usual(): SIGINT ends the process. (A KeyboardInterrupt inside an import is now and then swallowed.)"""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))


def interrupt_as_usual() -> None:
    """SIGINT raises KeyboardInterrupt again."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
