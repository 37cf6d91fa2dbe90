"""Folders that appear whole or not at all, whatever interrupts their making."""
from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(path: Path, parts: Path, overwrite: bool = False) -> Iterator[Path]:
    """Context: an empty folder in `parts` to fill. Its files are synced and it takes the place of `path` at the end; after an error, or
    where another is there already, nothing is left of it.

    parts: a folder of the same file system; after a crash what lies in it may be deleted. Its entries are named after `path` and the
    process. overwrite: a folder at `path` is replaced. Raises FileExistsError where it is not, and there is one; OSError: a full disk.
    """
    partial = Path(tempfile.mkdtemp(prefix=f"{path.name}.{os.getpid()}.", dir=parts))
    try:
        yield partial
        _sync(partial)
        partial.chmod(0o755)        # mkdtemp's is for its owner alone
        if overwrite and path.exists():
            old = Path(tempfile.mkdtemp(prefix=f"{path.name}.old.", dir=parts))
            os.rename(path, old)    # onto an empty folder, which POSIX lets it replace
            os.rename(partial, path)
            shutil.rmtree(old)
        else:
            _move(partial, path)
        _sync_entries(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move(partial: Path, path: Path) -> None:
    """Raises FileExistsError where another process was first: a folder that holds something is never replaced."""
    try:
        os.rename(partial, path)
    except OSError as error:
        if path.exists():
            raise FileExistsError(f"{path} exists already and is not overwritten") from error
        raise


def _sync(folder: Path) -> None:
    """Else a power cut may leave the new name with files that hold nothing."""
    for place, _, files in os.walk(folder):
        for name in files:
            with open(os.path.join(place, name), "rb") as stream:
                os.fsync(stream.fileno())
        _sync_entries(Path(place))


def _sync_entries(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
