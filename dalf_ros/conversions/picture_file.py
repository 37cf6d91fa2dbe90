"""Pictures as files in memory (JPEG, PNG, TIFF, WebP): what the header says, and decoding that no header can make too large."""
from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np

MAX_PIXELS = 1 << 26        # 67 million; a header that says more is damaged, or meant to fill the memory
READABLE = "JPEG, PNG, TIFF or WebP"


class PictureError(ValueError):
    """A picture that cannot be decoded; the text says why."""


@dataclass(frozen=True)
class PictureHeader:
    """Size in pixels, bits of a channel, and channels; 0 where the header does not say it."""

    width: int
    height: int
    bits: int = 0
    channels: int = 0


def read_header(data: bytes) -> PictureHeader:
    """What the header says, without decoding. PictureError: no known picture, or its header is cut off."""
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height, bits, kind = struct.unpack(">IIBB", data[16:26])
            return PictureHeader(width, height, bits, {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(kind, 0))
        if data[:2] == b"\xff\xd8":
            return _jpeg_header(data)
        if data[:4] in (b"II*\x00", b"MM\x00*"):
            return _tiff_header(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_header(data)
    except (struct.error, IndexError) as error:
        raise PictureError("its header is cut off") from error
    raise PictureError(f"it is no {READABLE} file")


def decode_picture(data: bytes) -> np.ndarray:
    """HxW or HxWxC uint8 or uint16 as stored, colours as BGR. PictureError: no such picture, damaged, or of more than MAX_PIXELS."""
    header = read_header(data)
    if not 0 < header.width * header.height <= MAX_PIXELS:
        raise PictureError(f"its header says {header.width}x{header.height} pixels, and at most {MAX_PIXELS} are read")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise PictureError("it is damaged")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"it holds {pixels.dtype}, expected 8 or 16 bits")
    return pixels


def _jpeg_header(data: bytes) -> PictureHeader:
    """Segment by segment to the start of frame."""
    at = 2
    while True:
        marker, length = struct.unpack(">HH", data[at: at + 4])
        if marker == 0xFFFF:        # a fill byte
            at += 1
            continue
        if marker >> 8 != 0xFF or length < 2:
            raise PictureError("its header is damaged")
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            bits, height, width, channels = struct.unpack(">BHHB", data[at + 4: at + 10])
            return PictureHeader(width, height, bits, channels)
        at += 2 + length


def _tiff_header(data: bytes) -> PictureHeader:
    """The first directory: numbers of two or four bytes, the value in the entry itself."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack(order + "I", data[4:8])
    (entries,) = struct.unpack(order + "H", data[start: start + 2])
    values = {}
    for at in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind = struct.unpack(order + "HH", data[at: at + 4])
        values[tag] = struct.unpack(order + ("H" if kind == 3 else "I"), data[at + 8: at + (10 if kind == 3 else 12)])[0]
    channels = values.get(277, 1)
    return PictureHeader(values.get(256, 0), values.get(257, 0), values.get(258, 1) if channels == 1 else 0, channels)


def _webp_header(data: bytes) -> PictureHeader:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at: at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        (packed,) = struct.unpack("<I", data[21:25])
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    else:
        width, height = (size & 0x3FFF for size in struct.unpack("<HH", data[26:30]))
    return PictureHeader(width, height, 8)
