"""Memory of the process."""
from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path

GROWTH = 1.25                               # of the memory held, from which on freed memory is given back
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4     # of mallopt(3)


def keep_freed_memory() -> None:
    """Keep freed memory for the next use. Call it before PyTorch is imported.

    A step on the CPU frees and allocates gigabytes. Pages that come fresh from the system are cleared first, which takes a third of the
    step. Does nothing about that where the C library is not glibc. On a GPU, where each batch has another number of patches, PyTorch
    is told to let its blocks grow instead of keeping one for each size; PYTORCH_CUDA_ALLOC_CONF, if set, stays as it is.
    """
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 ** 31 - 1)


class FreedMemory:
    """Bounds what keep_freed_memory keeps.

    Every batch needs blocks of other sizes, so freed memory becomes fragmented, and a process that only keeps it grows to several times
    what it needs. When it has grown by a quarter since the first batch, all is given back; that happens every few batches.
    """

    def __init__(self) -> None:
        self._first = 0.0

    def bound(self) -> None:
        """After each batch."""
        held = resident()
        if not self._first:
            self._first = held
        elif held > GROWTH * self._first and (libc := _glibc()) is not None:
            libc.malloc_trim(0)
            self._first = 0.0


def resident() -> float:
    """Bytes of memory the process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * float(os.sysconf("SC_PAGE_SIZE"))
    except OSError:
        return 0.0


def peak() -> float:
    """The most bytes the process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if libc.mallopt and libc.malloc_trim else None
    except (OSError, AttributeError):
        return None
