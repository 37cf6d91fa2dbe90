"""Pictures from files and messages. Their header is read first, and those too large for the memory are refused."""
from __future__ import annotations

import io
from pathlib import Path

import cv2
import imagesize
import numpy as np

MOST_PIXELS = 250_000_000       # 0.75 GB once decoded; a photo of the largest phone cameras has 200 million


def read_picture(path: Path) -> np.ndarray:
    """HxWx3 BGR, uint8 or (16-bit PNG, TIFF) uint16, turned upright as its EXIF says. Raises OSError saying what is wrong."""
    if not path.is_file():
        raise OSError(f"{path}: " + ("this is no file" if path.exists() else "no such file"))
    try:
        return decode_picture(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except ValueError as error:
        raise OSError(f"{path} {error}") from error


def decode_picture(data: np.ndarray, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """An encoded picture, (N,) uint8, decoded as cv2.imdecode does.

    ValueError: not a picture, cut off, or more than MOST_PIXELS (kilobytes can unpack to gigabytes). The message follows a file's name.
    """
    try:
        width, height = imagesize.get(io.BytesIO(data.tobytes()))
    except Exception:           # its parsers meet cut and hostile headers with errors of many kinds
        width = height = -1
    if width * height > MOST_PIXELS:
        raise ValueError(f"has {width}x{height} pixels, more than the {MOST_PIXELS / 1e6:.0f} million that are decoded: "
                         "make it smaller first")
    try:
        picture = cv2.imdecode(data, flags) if width > 0 and height > 0 else None
    except cv2.error:
        picture = None
    if picture is None:
        raise ValueError("is no picture that can be read (PNG, JPEG, WebP, TIFF, BMP), or it was cut off")
    return picture
