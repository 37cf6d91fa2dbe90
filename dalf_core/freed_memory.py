"""Freed memory, given back to the system."""
from __future__ import annotations

import ctypes
import sys


def glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if libc.mallopt and libc.malloc_trim else None
    except (OSError, AttributeError):
        return None


def give_back() -> None:
    """Give freed memory back that glibc keeps (malloc_trim(3)); nothing with another C library. Takes some milliseconds.

    Blocks of many sizes that one thread takes and another frees leave pieces that are not used again, so that a process grows for long.
    """
    if (libc := glibc()) is not None:
        libc.malloc_trim(0)
