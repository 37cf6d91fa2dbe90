"""Depth in a CompressedImage: a PNG, or what compressed_depth_image_transport writes, PNG or RVL behind a header."""
from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from dalf_core.depth_units import to_metres
from dalf_core.files.picture_file import decode_picture

from ..errors import ImageError
from . import rvl

HEADER = 12         # bytes: int32, and two float32 that tell how inverse depth was quantised


def decode_depth(message: Any, metres_per_unit: float | None = None) -> np.ndarray:
    """HxW float32 metres, NaN = none, of 16-bit numbers: depth, or (32FC1 in the format) quantised inverse depth. Raises ImageError."""
    transport = "compressedDepth" in message.format
    data = bytes(memoryview(message.data))
    if transport and len(data) < HEADER:
        raise ImageError(f"compressed depth of {len(data)} bytes has no header")
    try:
        if transport and "rvl" in message.format:
            pixels = _decode_rvl(data[HEADER:])
        else:
            pixels = decode_picture(np.frombuffer(data, np.uint8, offset=HEADER if transport else 0), cv2.IMREAD_UNCHANGED)
    except ValueError as error:
        raise ImageError(f"compressed depth of format {message.format!r} ({len(data)} bytes) {error}") from error
    if pixels.ndim != 2 or pixels.dtype != np.uint16:
        raise ImageError(f"compressed depth ({message.format!r}) must be one channel of 16 bits, it is {pixels.dtype} {pixels.shape}")
    if not (transport and "32FC1" in message.format):
        return to_metres(pixels, metres_per_unit)
    slope, offset = np.frombuffer(data, "<f4", 2, offset=4)
    with np.errstate(all="ignore"):     # the header may hold any two numbers
        return to_metres(np.where(pixels > 0, slope / (pixels.astype(np.float32) - offset), np.float32(np.nan)), metres_per_unit)


def _decode_rvl(data: bytes) -> np.ndarray:
    """Two uint32, width and height, then the code."""
    if len(data) < 8:
        raise rvl.RvlError("has no header of its own")
    width, height = np.frombuffer(data, "<u4", 2).tolist()
    return rvl.decode(np.frombuffer(data, np.uint8, offset=8), width, height)
