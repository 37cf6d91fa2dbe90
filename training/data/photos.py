"""Photos on disk: which there are, and how they are read."""
from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from dalf_core.files.picture_file import read_picture

SUFFIXES = {".webp", ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}


def find_photos(folder: str | os.PathLike) -> list[Path]:
    """The photos in a folder and the folders below it, in order of their names. ValueError: there is no such folder, or no photo in it."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; name one that holds photos")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise ValueError(f"{folder} holds no photos ({', '.join(sorted(SUFFIXES))})")
    return found


def read_photo(path: str | os.PathLike, size: tuple[int, int]) -> np.ndarray:
    """A photo as HxWx3 uint8 BGR of size (width, height): its middle, cut to that shape and resized. OSError: it cannot be read."""
    return fitted(read_picture(Path(path)), size)


def fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle of an image in the shape of size (width, height), resized to it."""
    height, width = image.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    cut_width, cut_height = min(width, round(size[0] / scale)), min(height, round(size[1] / scale))
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    cut = image[top:top + cut_height, left:left + cut_width]
    return cv2.resize(cut, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
