"""What the commands write: refused early; pictures."""
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..files.made_folders import make_folder
from ..files.whole_file import write_whole

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def check_output(path: Path, suffixes: Sequence[str], inputs: Sequence[Path] = ()) -> None:
    """Refuse a file that cannot be made, before anything slow happens; its folder is made when it is not there, and
    exit_status() takes it away again if it stays empty.

    Raises ValueError: a suffix that stands for no known format, or one of the inputs. OSError: a place where nothing can be written.
    """
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: the name must end in {' or '.join(suffixes)}")
    if any(path.resolve() == item.resolve() for item in inputs):
        raise ValueError(f"{path} is the input; choose another name for the output")
    probe = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        make_folder(path.parent)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error


def write_picture(path: Path, bgr: np.ndarray) -> None:
    """Write a picture in the format that its name says."""
    ok, data = cv2.imencode(path.suffix, bgr)
    if not ok:
        raise OSError(f"{path}: OpenCV cannot write {path.suffix} pictures")
    write_whole(path, data.tobytes())
