"""Folders that a command makes for its results before it knows whether there will be any."""
from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_made: list[Path] = []


def make_folder(folder: Path) -> None:
    """Make a folder with all above it, and remember those that were not there. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    _made.extend(missing)


def remove_empty_folders() -> None:
    """At a command's end: take those away again that hold nothing, as after an error."""
    for folder in sorted(_made, key=lambda each: len(each.parts), reverse=True):
        with suppress(OSError):
            folder.rmdir()
    _made.clear()
