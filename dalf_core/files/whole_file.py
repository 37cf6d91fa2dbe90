"""Files that appear whole or not at all, whatever interrupts their writing."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODE = 0o644        # some libraries make files that only their owner can read


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Context: a path beside `path` to write to. It is synced and takes the place of `path` at the end; after an error nothing is left.

    The name keeps its suffix, by which many writers choose the format. Raises OSError: a full disk, a folder that cannot be written to.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield partial
        with open(partial, "rb") as stream:
            os.fsync(stream.fileno())       # else a power cut may leave the new name with no content
        partial.chmod(MODE)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike, data: bytes) -> None:
    """Write a file's whole content. Raises OSError."""
    with whole_file(path) as partial:
        partial.write_bytes(data)
