"""numba's `njit` with a cache on disk that never runs stale code and works without a writable home.

numba drops a cached kernel when the file it is written in changes. Functions and constants that it inlines from other files are compiled
into it too, so the cache folder is named by a hash of all files of this package that hold kernels: another source, another folder.

The folder lies in $NUMBA_CACHE_DIR if that is set, else in the package's __pycache__, else in the user's cache folder. Where none of
these can be written, it is a private folder among the temporary files, and a warning says so once.
"""
from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import event

from .files.user_cache import cache_folder

# Floating-point freedom for kernels that meet NaN or infinity: sums may be reordered, but tests for NaN stay (`fastmath=True` drops them).
REORDERED = {"reassoc", "contract", "arcp", "nsz"}
PREFIX = "kernels-"         # of the folder's name
KEPT_DAYS = 30              # an older cache of other sources is removed when a new one is made
PACKAGE = Path(__file__).parent

_log = logging.getLogger(__name__)
_setting = threading.Lock()


def njit(function: Callable | None = None, **options: Any) -> Any:
    """`numba.njit` with a cache in kernel_folder(), run without Python's lock: other threads go on meanwhile.

    options: those of numba.njit, except `cache` and `nogil`.
    """
    folder = kernel_folder()

    def compiled(function: Callable) -> Any:
        with _setting:          # numba reads the setting when it decorates; other packages keep theirs
            before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder or "")
            try:
                return numba.njit(function, cache=folder is not None, nogil=True, **options)
            finally:
                numba.config.CACHE_DIR = before

    return compiled if function is None else compiled(function)


@cache
def kernel_folder() -> Path | None:
    """Where compiled kernels are kept; None where nothing at all can be written."""
    name = PREFIX + _sources_hash(PACKAGE)
    tried = []
    for parent in _parents():
        folder = parent / name
        try:
            is_new = not folder.exists()
            _make_writable(folder)
        except OSError as error:
            tried.append(f"{parent} ({error.strerror})")
            continue
        if is_new:
            _remove_old(parent, folder)
        _tell_of_compiling()
        return folder
    return _temporary(name, tried)


def _tell_of_compiling() -> None:
    """Say it when the first kernel is compiled, not read from the cache: before that nothing takes long.

    That is not when the folder is made, which imports alone do, long before.
    """
    class Teller(event.Listener):
        told = False

        def on_start(self, _: Any) -> None:
            if not self.told:
                self.told = True
                _log.warning("compiling, once: it takes up to a minute, and later starts are without it")

        def on_end(self, _: Any) -> None: ...

    event.register("numba:compile", Teller())


def _sources_hash(package: Path) -> str:
    """Of the files whose functions and constants may be part of a kernel: those that use numba."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        if not file.is_file():          # a link that leads nowhere, as a linked installation has when a file is gone
            continue
        text = file.read_bytes()
        if b"njit" in text or b"numba" in text:
            digest.update(f"{file.relative_to(package)} {len(text)}\n".encode())
            digest.update(text)
    return digest.hexdigest()[:16]


def _parents() -> list[Path]:
    if numba.config.CACHE_DIR:
        return [Path(numba.config.CACHE_DIR)]
    try:
        return [PACKAGE / "__pycache__", cache_folder()]
    except RuntimeError:            # no home folder
        return [PACKAGE / "__pycache__"]


def _make_writable(folder: Path) -> None:
    """Make sure that files can be written there. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


def _remove_old(parent: Path, current: Path) -> None:
    for other in parent.glob(PREFIX + "*"):
        if other != current and time.time() - other.stat().st_mtime > KEPT_DAYS * 86400:
            shutil.rmtree(other, ignore_errors=True)


def _temporary(name: str, tried: list[str]) -> Path | None:
    """A folder among the temporary files that only this user can read and write."""
    reason = f"compiled kernels cannot be kept in {', '.join(tried)}"
    mend = "set NUMBA_CACHE_DIR to a folder that can be written"
    try:
        folder = Path(tempfile.gettempdir()) / f"dalf-{os.getuid() if hasattr(os, 'getuid') else 'cache'}-{name}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        if not _is_private(folder):             # somebody else made it first
            folder = Path(tempfile.mkdtemp(prefix=f"dalf-{name}-"))
    except OSError as error:
        _log.warning("%s nor among the temporary files (%s): they are compiled anew at each start, which takes half a minute; %s",
                     reason, error, mend)
        return None
    _log.warning("%s: using %s; to keep them elsewhere, %s", reason, folder, mend)
    return folder


def _is_private(folder: Path) -> bool:
    """Is it a folder of this user's own, no link, closed to others?"""
    found = folder.lstat()
    own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return own and stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
