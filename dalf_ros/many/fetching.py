"""Recordings from elsewhere, on this machine for as long as they are read."""
from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .sources import cannot_be_reached, is_remote, shown, stem

LOCK = "lock"       # held by the process that uses a scratch folder; the kernel lets go of it however that process ends

YOUNG_S = 60.0      # a scratch folder of that age may be about to be locked


@contextmanager
def fetched(address: str) -> Iterator[Path]:
    """Context: the recording's path on this machine; of a remote one a copy in a scratch folder (below TMPDIR), removed at the end.

    Raises OSError: it cannot be reached, is not there, or the disk is full.
    """
    if not is_remote(address):
        yield Path(address)
        return
    with scratch_folder() as folder:
        # its own file name: what it is is told by the ending
        target = folder / (address.rstrip("/").rpartition("/")[2].partition("?")[0] or stem(address))
        try:
            from fsspec.core import url_to_fs

            fs, path = url_to_fs(address)
            if fs.isdir(path):
                fs.get(path.rstrip("/") + "/", f"{target}/", recursive=True)
            else:
                fs.get_file(path, str(target))
        except FileNotFoundError as error:
            raise OSError(f"{shown(address)} does not exist") from error
        except (OSError, ImportError, ValueError) as error:
            raise OSError(cannot_be_reached(address, error)) from error
        yield target


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Context: a private folder. Those that killed processes have left are removed before."""
    home = Path(tempfile.gettempdir()) / f"dalf_many_{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid != os.getuid():
        raise OSError(f"{home} belongs to somebody else: set TMPDIR to a folder of your own")
    _sweep(home)
    folder = Path(tempfile.mkdtemp(dir=home))
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            (folder / "content").mkdir()
            yield folder / "content"
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(home: Path) -> None:
    for folder in home.iterdir():
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime < YOUNG_S:
                continue
        with suppress(OSError), (folder / LOCK).open() as lock:     # BlockingIOError: it is in use
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
