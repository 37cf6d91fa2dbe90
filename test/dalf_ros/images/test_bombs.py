"""Compressed images whose headers ask for more memory than is right, or are cut off."""
from __future__ import annotations

import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from dalf_core.files import picture_file
from dalf_ros.images.image_conversion import ImageError, to_color, to_depth

GREY = np.random.default_rng(0).integers(0, 256, (33, 47), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (33, 47, 3), np.uint8)
WIDE = np.random.default_rng(2).integers(0, 65536, (33, 47)).astype(np.uint16)


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that unpacks to width x height black pixels (as far as its rows go)."""
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")


def jpeg_bomb() -> bytes:
    data = bytearray(cv2.imencode(".jpg", GREY)[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5: at + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


@pytest.mark.parametrize("data", [png_bomb(30_000, 30_000), png_bomb(2**31 - 1, 1), jpeg_bomb()], ids=["png", "flat", "jpeg"])
def test_a_bomb_is_refused_by_its_header(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_file.cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    assert len(data) < 10_000
    with pytest.raises(ImageError, match=r"has \d+x\d+ pixels, more than the 250 million"):
        to_color(SimpleNamespace(format="png", data=data))
    with pytest.raises(ImageError, match="more than the 250 million"):
        to_depth(SimpleNamespace(format="16UC1; compressedDepth png", data=bytes(12) + data))


def test_an_rvl_bomb_is_refused_by_its_header() -> None:
    head = np.array([30_000, 30_000], "<u4").tobytes()
    with pytest.raises(ImageError, match="has 30000x30000 pixels by its header, and at most 250 million"):
        to_depth(SimpleNamespace(format="16UC1; compressedDepth rvl", data=bytes(12) + head + bytes(8)))


def test_what_is_cut_off_or_unknown_is_refused() -> None:
    for suffix, pixels in ((".png", GREY), (".jpg", COLOUR), (".tiff", WIDE), (".webp", COLOUR)):
        data = cv2.imencode(suffix, pixels)[1].tobytes()
        for size in range(40):
            with pytest.raises(ImageError, match="is no picture that can be read"):
                to_color(SimpleNamespace(format="png", data=data[:size]))
    for data in (b"", b"GIF89a", b"\xff\xd8\x00\x00\x00\x00"):
        with pytest.raises(ImageError):
            to_color(SimpleNamespace(format="jpeg", data=data))
