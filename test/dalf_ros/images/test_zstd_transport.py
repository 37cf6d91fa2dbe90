"""Images as image_transport's zstd plugin packs them, byte for byte; and what only looks like them."""
from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from dalf_ros.bags.topic_kinds import stored_encoding
from dalf_ros.images.image_conversion import ImageError, from_color, from_depth, to_color, to_depth, to_mask

zstandard = pytest.importorskip("zstandard")

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (33, 47, 3), np.uint8)
HEAD = {"stamp": {"sec": 1, "nanosec": 2}, "frame_id": "camera"}
PACKERS = {"gzip": gzip.compress, "zlib": zlib.compress, "zstandard": zstandard.ZstdCompressor().compress,
           "zstandard, size unknown": zstandard.ZstdCompressor(write_content_size=False).compress}


def packed(fields: dict, pack: Callable[[bytes], bytes] = gzip.compress, **changes: object) -> SimpleNamespace:
    """An Image's fields as the plugin sends them: height, width, is_bigendian, step, the encoding's length, the encoding, the data."""
    f = fields | changes
    name = f["encoding"].encode()
    head = struct.pack("<II", f["height"], f["width"]) + bytes([f["is_bigendian"]]) + struct.pack("<II", f["step"], len(name)) + name
    return SimpleNamespace(header=HEAD, format="zstd", data=np.frombuffer(head + pack(np.asarray(f["data"]).tobytes()), np.uint8))


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_colour_and_depth_come_out_as_they_went_in(pack: Callable) -> None:
    message = packed(from_color(COLOUR, HEAD), pack)
    np.testing.assert_array_equal(to_color(message), COLOUR)
    assert stored_encoding(message) == "bgr8"
    depth = RNG.uniform(0.3, 5, (33, 47)).astype(np.float32)
    depth[4:9] = np.nan
    np.testing.assert_array_equal(to_depth(packed(from_depth(depth, HEAD), pack)), depth)
    millimetres = packed(from_depth(depth, HEAD, "16UC1"), pack)
    np.testing.assert_allclose(to_depth(millimetres), depth, atol=0.00051)
    np.testing.assert_allclose(to_depth(millimetres, 0.0001), to_depth(millimetres) / 10, rtol=1e-6)
    assert stored_encoding(millimetres) == "16UC1"
    np.testing.assert_array_equal(to_mask(packed(from_color(COLOUR[:, :, 0] // 200, HEAD))) > 0, COLOUR[:, :, 0] >= 200)


def test_padded_rows_big_endian_numbers_and_planes() -> None:
    wide = RNG.integers(1, 65536, (5, 7)).astype(np.uint16)
    rows = np.full((5, 20), 255, np.uint8)
    rows[:, :14] = wide.astype(">u2").view(np.uint8).reshape(5, 14)
    fields = {"height": 5, "width": 7, "encoding": "16UC1", "is_bigendian": 1, "step": 20, "data": rows}
    np.testing.assert_allclose(to_depth(packed(fields)), wide * np.float32(0.001))
    planes = np.full((3 * 4, 6), 128, np.uint8)         # nv24: three times the bytes of its rows
    planes[:4] = 90
    fields = {"height": 4, "width": 6, "encoding": "nv24", "is_bigendian": 0, "step": 6, "data": planes}
    assert np.unique(to_color(packed(fields))).size == 1


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_cut_anywhere_it_is_refused(pack: Callable) -> None:
    whole = packed(from_color(COLOUR, HEAD), pack).data
    for size in [*range(40), *range(40, len(whole), 97), len(whole) - 9, len(whole) - 1]:
        with pytest.raises(ImageError, match="zstd image"):
            to_color(SimpleNamespace(header=HEAD, format="zstd", data=whole[:size]))


def test_damaged_bytes_are_refused() -> None:
    message = packed(from_color(COLOUR, HEAD))
    data = message.data.copy()
    data[-6] ^= 1           # of the checksum
    with pytest.raises(ImageError, match="zstd image of 47x33 bgr8 pixels .* cannot be unpacked: it is damaged"):
        to_color(SimpleNamespace(header=HEAD, format="zstd", data=data))
    with pytest.raises(ImageError, match="the name of its encoding has 4294967295 bytes"):
        to_color(SimpleNamespace(header=HEAD, format="zstd", data=bytes([1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255, 1])))
    jpeg = SimpleNamespace(header=HEAD, format="zstd", data=b"\xff\xd8\xff\xe0" + bytes(200))
    assert stored_encoding(jpeg) == "" or stored_encoding(jpeg).isprintable()
    with pytest.raises(ImageError, match="zstd image"):
        to_color(jpeg)


@pytest.mark.parametrize("changes", [{"height": 34}, {"step": 142}, {"width": 48}, {"encoding": "rgba8"}])
def test_sizes_that_do_not_fit_the_data_are_refused(changes: dict) -> None:
    with pytest.raises(ImageError, match="data holds|step"):
        to_color(packed(from_color(COLOUR, HEAD), **changes))


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(ImageError, match="encoding 'bgr9' is not a colour image"):
        to_color(packed(from_color(COLOUR, HEAD), encoding="bgr9"))


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_bomb_makes_no_more_than_its_header_allows(pack: Callable) -> None:
    """64 MB of zeros behind a header of 47x33 pixels."""
    bomb = packed({"height": 33, "width": 47, "encoding": "mono8", "is_bigendian": 0, "step": 47, "data": np.zeros(64_000_000, np.uint8)},
                  pack)
    assert len(bomb.data) < 100_000
    tracemalloc.start()
    with pytest.raises(ImageError, match="more than the 4653 bytes that its header allows|damaged or cut off"):
        to_color(bomb)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("size", [(30_000, 30_000, 30_000), (1, 2**32 - 1, 2**32 - 1), (2**32 - 1, 1, 1), (20_000, 1, 2**31)])
def test_a_header_of_too_much_is_refused_before_anything_is_unpacked(size: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalf_ros.images import zstd_transport

    monkeypatch.setattr(zstd_transport, "_unpacked", lambda *_: pytest.fail("it was unpacked"))
    height, width, step = size
    with pytest.raises(ImageError, match="by its header; at most 250 million pixels, 1000 MB"):
        to_color(packed({"height": height, "width": width, "encoding": "mono8", "is_bigendian": 0, "step": step, "data": b""}))
