"""What image_transport's `zstd` plugin sends: a whole Image, its data packed, in a CompressedImage of format "zstd".

The data begin with height and width (uint32 each), is_bigendian (uint8), step and the length of the encoding's name (uint32 each), all
little-endian, then that name; what follows is the Image's data. Released plugins (zstd_image_transport 4 to 6, of Jazzy and later) pack
them by gzip, whatever their name says; Zstandard, which is to come, is read too: the first bytes tell which it is.
"""
from __future__ import annotations

import struct
import zlib
from types import SimpleNamespace
from typing import Any

from dalf_core.files.picture_file import MOST_PIXELS

from ..errors import ImageError

FORMAT = "zstd"
HEADER = struct.Struct("<IIBII")
MOST_BYTES = 4 * MOST_PIXELS        # once unpacked
PLANES = 3                          # the most that an encoding has: nv24 holds three times height * step bytes
ZSTANDARD = b"\x28\xb5\x2f\xfd"
ZLIB_OR_GZIP = zlib.MAX_WBITS + 32


def is_packed(message: Any) -> bool:
    """Whether the message is a CompressedImage of the zstd plugin."""
    return str(getattr(message, "format", "")).strip() == FORMAT


def unpacked(message: Any) -> SimpleNamespace:
    """The Image in it, as an object with the fields of sensor_msgs/Image. Raises ImageError: cut off, damaged, or too large to unpack."""
    data = memoryview(message.data).cast("B")
    if len(data) < HEADER.size:
        raise ImageError(f"zstd image of {len(data)} bytes has no header of {HEADER.size}: is the topic that of image_transport's zstd?")
    height, width, is_bigendian, step, length = HEADER.unpack_from(data)
    if length > len(data) - HEADER.size:
        raise ImageError(f"zstd image of {len(data)} bytes is cut off, or no image: the name of its encoding has {length} bytes")
    packed = data[HEADER.size + length:]
    encoding = bytes(data[HEADER.size: HEADER.size + length]).decode("ascii", "replace")
    if width * height > MOST_PIXELS or height * step > MOST_BYTES:
        raise ImageError(f"zstd image has {width}x{height} pixels, {height * step / 1e6:.0f} MB, by its header; at most "
                         f"{MOST_PIXELS / 1e6:.0f} million pixels, {MOST_BYTES / 1e6:.0f} MB, are unpacked")
    content = _unpacked(packed, min(PLANES * height * step, MOST_BYTES), f"zstd image of {width}x{height} {encoding} pixels")
    return SimpleNamespace(header=message.header, height=height, width=width, encoding=encoding, is_bigendian=is_bigendian, step=step,
                           data=content)


def packed_encoding(message: Any) -> str:
    """The encoding that the header of a zstd image names, without unpacking it; empty where it has none."""
    data = bytes(memoryview(message.data).cast("B")[:HEADER.size + 64])
    if len(data) < HEADER.size:
        return ""
    length = HEADER.unpack_from(data)[-1]
    return data[HEADER.size: HEADER.size + length].decode("ascii", "replace") if length <= 64 else ""


def _unpacked(packed: memoryview, most: int, what: str) -> bytes:
    """Never more than `most` bytes are made."""
    try:
        return (_from_zstandard if packed[:4] == ZSTANDARD else _from_gzip)(packed, most)
    except ValueError as error:
        raise ImageError(f"{what} ({len(packed)} bytes packed) cannot be unpacked: {error}") from error


def _from_gzip(packed: memoryview, most: int) -> bytes:
    """The content. Raises ValueError."""
    unpacker = zlib.decompressobj(ZLIB_OR_GZIP)
    try:
        content = unpacker.decompress(packed, most + 1)
    except zlib.error as error:
        raise ValueError(f"it is damaged: {error}") from error
    if len(content) > most:
        raise ValueError(f"it holds more than the {most} bytes that its header allows")
    if not unpacker.eof:
        raise ValueError("it is cut off")
    return content


def _from_zstandard(packed: memoryview, most: int) -> bytes:
    """The content. Raises ValueError."""
    try:
        import zstandard
    except ImportError as error:
        raise ValueError(f"zstandard is not installed (pip install zstandard): {error}") from error
    try:
        if zstandard.frame_content_size(packed) > most:     # what would be made room for
            raise ValueError(f"it holds more than the {most} bytes that its header allows")
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=most)
    except zstandard.ZstdError as error:
        raise ValueError(f"it is damaged or cut off: {error}") from error
