"""Memory of the process."""
from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4     # of mallopt(3)


def keep_freed_memory() -> None:
    """Keep freed memory for the next use. Call it before PyTorch is imported.

    A step on the CPU frees and takes gigabytes; got from the system anew each time, their pages are cleared first, which takes a third of
    the step. Does nothing about that where the C library is not glibc. On a GPU, where each batch has another number of patches, PyTorch
    is told to let its blocks grow instead of keeping one for each size; PYTORCH_CUDA_ALLOC_CONF, if set, stays as it is.
    """
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2 ** 31 - 1)
