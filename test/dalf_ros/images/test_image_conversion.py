"""Every encoding by pixel value, and every refusal."""
from __future__ import annotations

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from dalf_ros.conversions.message_factory import bag_message, ros_message
from dalf_ros.conversions.messages import header
from dalf_ros.images import image_conversion as ic

HEAD = header(5, "cam")
BGR = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)


def image(pixels: np.ndarray, encoding: str, *, padding: int = 0, big_endian: bool = False) -> SimpleNamespace:
    """An Image message of these pixels, rows padded by so many bytes of rubbish."""
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<"))
    rows = np.ascontiguousarray(stored).view(np.uint8).reshape(len(pixels), -1)
    rows = np.hstack([rows, np.full((len(rows), padding), 77, np.uint8)])
    return SimpleNamespace(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, is_bigendian=int(big_endian),
                           step=rows.shape[1], data=rows.tobytes())


def mosaic(pattern: str) -> np.ndarray:
    """A bayer image of one flat colour: red 200, green 100, blue 50."""
    value = {"r": 200, "g": 100, "b": 50}
    tile = np.array([[value[pattern[0]], value[pattern[1]]], [value[pattern[2]], value[pattern[3]]]], np.uint8)
    return np.tile(tile, (4, 4))


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(("encoding", "channels"), [("bgr8", (0, 1, 2)), ("rgb8", (2, 1, 0)), ("8UC3", (0, 1, 2))])
def test_three_channels(encoding: str, channels: tuple, padding: int) -> None:
    np.testing.assert_array_equal(ic.to_color(image(BGR[:, :, channels], encoding, padding=padding)), BGR)


@pytest.mark.parametrize(("encoding", "channels"), [("bgra8", (0, 1, 2)), ("rgba8", (2, 1, 0)), ("8UC4", (0, 1, 2))])
def test_alpha_is_left_out(encoding: str, channels: tuple) -> None:
    alpha = np.full((6, 8, 1), 9, np.uint8)
    np.testing.assert_array_equal(ic.to_color(image(np.concatenate([BGR[:, :, channels], alpha], axis=2), encoding, padding=4)), BGR)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_mono8(encoding: str) -> None:
    np.testing.assert_array_equal(ic.to_color(image(BGR[:, :, 0], encoding, padding=3)), BGR[:, :, 0])


@pytest.mark.parametrize("big_endian", [False, True])
def test_sixteen_bits_are_kept(big_endian: bool) -> None:
    """Every number as it was stored, in 16 bits: nothing of a thermal camera's range is lost."""
    wide = np.array([[0, 257, 65535], [128 * 257, 300, 1]], np.uint16)
    got = ic.to_color(image(wide, "mono16", padding=2, big_endian=big_endian))
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, wide)
    bgr = np.stack([wide, wide + 1, wide + 2], axis=2).astype(np.uint16)
    for encoding, channels in (("bgr16", (0, 1, 2)), ("16UC3", (0, 1, 2)), ("rgb16", (2, 1, 0)), ("bgra16", (0, 1, 2, 0)),
                               ("rgba16", (2, 1, 0, 0))):
        got = ic.to_color(image(bgr[:, :, channels], encoding, padding=2, big_endian=big_endian))
        assert got.dtype == np.uint16
        np.testing.assert_array_equal(got, bgr)
    png = SimpleNamespace(format="mono16; png compressed ", data=cv2.imencode(".png", wide)[1].tobytes())
    np.testing.assert_array_equal(ic.to_color(png), wide)


@pytest.mark.parametrize("big_endian", [False, True])
def test_a_thermal_image_is_grey_which_is_told_once(big_endian: bool, caplog: pytest.LogCaptureFixture) -> None:
    """16UC1 of a topic that somebody named as that of the images."""
    wide = np.array([[0, 29_000, 29_400], [1, 255, 65535]], np.uint16)
    ic._tell_grey.cache_clear()
    for _ in range(2):
        got = ic.to_color(image(wide, "16UC1", padding=2, big_endian=big_endian))
        assert got.dtype == np.uint16
        np.testing.assert_array_equal(got, wide)
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == ["images of encoding 16UC1 are taken as grey"]


@pytest.mark.parametrize(("encoding", "order"), [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")])
def test_yuv(encoding: str, order: str) -> None:
    """Two known colours in the studio range of BT.601: white, and a red of Y 81, U 90, V 240."""
    pair = {"white": {"y": 235, "u": 128, "v": 128}, "red": {"y": 81, "u": 90, "v": 240}}
    for name, expected in (("white", (255, 255, 255)), ("red", (0, 0, 254))):
        row = [pair[name][letter] for letter in order] * 2
        pixels = np.array([row, row], np.uint8).reshape(2, 4, 2)
        got = ic.to_color(image(pixels, encoding, padding=6))
        assert got.shape == (2, 4, 3)
        assert np.abs(got.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer(pattern: str) -> None:
    got = ic.to_color(image(mosaic(pattern), f"bayer_{pattern}8", padding=1))
    np.testing.assert_array_equal(got[2:-2, 2:-2].reshape(-1, 3), np.tile([50, 100, 200], (16, 1)))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer16(pattern: str, big_endian: bool) -> None:
    wide = mosaic(pattern).astype(np.uint16) * 257 + 60
    got = ic.to_color(image(wide, f"bayer_{pattern}16", padding=6, big_endian=big_endian))
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got[2:-2, 2:-2].reshape(-1, 3), np.tile(np.array([50, 100, 200]) * 257 + 60, (16, 1)))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_compressed_bayer(pattern: str, bits: int) -> None:
    """As image_transport compresses the mosaic of an industrial camera: colour comes out, not the mosaic as grey."""
    scale = 1 if bits == 8 else 257
    data = cv2.imencode(".png", mosaic(pattern).astype(f"u{bits // 8}") * np.array(scale, f"u{bits // 8}"))[1].tobytes()
    got = ic.to_color(SimpleNamespace(format=f"bayer_{pattern}{bits}; png compressed ", data=data))
    np.testing.assert_array_equal(got[2:-2, 2:-2].reshape(-1, 3), np.tile([50 * scale, 100 * scale, 200 * scale], (16, 1)))
    if bits == 8:       # what a driver has demosaiced before is left alone
        colour = cv2.imencode(".png", BGR)[1].tobytes()
        np.testing.assert_array_equal(ic.to_color(SimpleNamespace(format=f"bayer_{pattern}8; png compressed bgr8", data=colour)), BGR)


STUDIO = {"white": ((235, 128, 128), (255, 255, 255)), "red": ((81, 90, 240), (0, 0, 254)), "blue": ((41, 240, 110), (255, 0, 0))}


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("encoding", ["nv12", "nv21", "nv24"])
def test_planar_yuv(encoding: str, padding: int) -> None:
    """Left half red, right half blue, the lowest two rows white; YUV in the studio range of BT.601."""
    height, width = 6, 8
    names = np.array([["white" if row >= 4 else "red" if column < 4 else "blue" for column in range(width)] for row in range(height)])
    yuv = np.array([[STUDIO[name][0] for name in row] for row in names], np.uint8)
    order = [2, 1] if encoding == "nv21" else [1, 2]
    chroma = yuv[:, :, order] if encoding == "nv24" else yuv[::2, ::2][:, :, order]
    rubbish = np.full((height, padding), 99, np.uint8)
    chroma_rows = chroma.reshape(len(chroma), -1)
    extra = np.full((len(chroma), padding * (2 if encoding == "nv24" else 1)), 99, np.uint8)
    data = np.hstack([yuv[:, :, 0], rubbish]).tobytes() + np.hstack([chroma_rows, extra]).tobytes()
    message = SimpleNamespace(height=height, width=width, encoding=encoding, is_bigendian=0, step=width + padding, data=data)
    expected = np.array([[STUDIO[name][1] for name in row] for row in names])
    assert np.abs(ic.to_color(message).astype(int) - expected).max() <= 2
    assert (ic.to_mask(message) == 255).all()
    for change, words in (({"data": data[:-1]}, "data holds"), ({"step": 3}, "at least its width"), ({"width": 0}, "must have")):
        with pytest.raises(ic.ImageError, match=words):
            ic.to_color(SimpleNamespace(**{**vars(message), **change}))


@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_millimetres(big_endian: bool) -> None:
    depth = ic.to_depth(image(np.array([[0, 1, 1500, 65535]], np.uint16), "16UC1", padding=2, big_endian=big_endian))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, [[np.nan, 0.001, 1.5, 65.535]])


@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_metres(big_endian: bool) -> None:
    values = np.array([[np.nan, 0.0, -1.0, np.inf, 0.75]], np.float32)
    np.testing.assert_allclose(ic.to_depth(image(values, "32FC1", padding=8, big_endian=big_endian)), [[np.nan] * 4 + [0.75]])


def test_mask() -> None:
    np.testing.assert_array_equal(ic.to_mask(image(np.array([[0, 1, 255]], np.uint8), "mono8")), [[0, 255, 255]])
    np.testing.assert_array_equal(ic.to_mask(image(np.array([[[0, 0, 0], [0, 3, 0]]], np.uint8), "rgb8")), [[0, 255]])


@pytest.mark.parametrize(("encoding", "kind"), [("32SC1", "i4"), ("8SC1", "i1"), ("16SC1", "i2"), ("16UC1", "u2"), ("32FC1", "f4"),
                                                ("64FC1", "f8"), ("8UC1", "u1"), ("mono16", "u2"), ("32SC", "i4")])
def test_masks_of_any_encoding(encoding: str, kind: str) -> None:
    values = np.array([[0, 1, 100], [0, 0, 127]]).astype(kind)
    np.testing.assert_array_equal(ic.to_mask(image(values, encoding)), [[0, 255, 255], [0, 0, 255]])
    if kind[0] == "f":
        values[0] = np.nan, np.inf, -1
        np.testing.assert_array_equal(ic.to_mask(image(values, encoding)), [[0, 255, 255], [0, 0, 255]])
    if kind[0] == "i":
        np.testing.assert_array_equal(ic.to_mask(image(-values, encoding)), [[0, 255, 255], [0, 0, 255]])


def test_masks_of_several_channels_and_unheard_of_encodings() -> None:
    np.testing.assert_array_equal(ic.to_mask(image(np.array([[[0, 0], [0, -3]]], np.int32), "32SC2")), [[0, 255]])
    for encoding in ("8FC1", "64SC1", "16UC5", "32XC1"):
        with pytest.raises(ic.ImageError, match="is not known"):
            ic.to_mask(image(np.zeros((2, 2), np.uint8), encoding))
    for convert in (ic.to_color, ic.to_depth):
        with pytest.raises(ic.ImageError, match="'32SC1' is not"):
            convert(image(np.zeros((2, 2), np.int32), "32SC1"))


@pytest.mark.parametrize("factory", [ros_message, bag_message])
def test_both_kinds_of_message(factory) -> None:
    if factory is ros_message:
        pytest.importorskip("rclpy")
    kind = "sensor_msgs/msg/Image"
    np.testing.assert_array_equal(ic.to_color(factory(kind, ic.from_color(BGR, HEAD))), BGR)
    np.testing.assert_array_equal(ic.to_color(factory(kind, ic.from_color(BGR[:, :, 1], HEAD))), BGR[:, :, 1])
    depth = np.array([[0.5, np.nan], [1.25, 0.0]], np.float32)
    expected = [[0.5, np.nan], [1.25, np.nan]]
    for encoding in ("16UC1", "32FC1"):
        np.testing.assert_allclose(ic.to_depth(factory(kind, ic.from_depth(depth, HEAD, encoding))), expected)
    np.testing.assert_array_equal(ic.to_mask(factory(kind, ic.from_mask(depth > 1, HEAD))), [[0, 0], [255, 0]])
    compressed = factory("sensor_msgs/msg/CompressedImage", ic.from_color_compressed(BGR, HEAD, "png"))
    np.testing.assert_array_equal(ic.to_color(compressed), BGR)


def test_jpeg() -> None:
    smooth = cv2.resize(BGR, (64, 48), interpolation=cv2.INTER_CUBIC)
    message = SimpleNamespace(**ic.from_color_compressed(smooth, HEAD))
    assert np.abs(ic.to_color(message).astype(int) - smooth).mean() < 4


def test_numbers_that_no_camera_measures_are_no_readings() -> None:
    metres = np.array([[np.inf, 3e38, 1e20, 10_001.0, 9_999.0, 0.5, 1e-3, 1e-5, 1e-45, 0.0, -0.0, -1.0, -np.inf, np.nan]], np.float32)
    message = SimpleNamespace(encoding="32FC1", height=1, width=14, step=56, is_bigendian=0, data=metres.tobytes())
    np.testing.assert_array_equal(ic.to_depth(message)[0, 4:7], metres[0, 4:7])
    assert np.isnan(np.delete(ic.to_depth(message)[0], [4, 5, 6])).all()


def test_compressed_depth() -> None:
    millimetres = np.array([[0, 500], [1500, 65535]], np.uint16)
    png = cv2.imencode(".png", millimetres)[1].tobytes()
    metres = [[np.nan, 0.5], [1.5, 65.535]]
    np.testing.assert_allclose(ic.to_depth(SimpleNamespace(format="png", data=png)), metres)
    message = SimpleNamespace(format="16UC1; compressedDepth png", data=bytes(12) + png)
    np.testing.assert_allclose(ic.to_depth(message), metres)
    head = np.array([0], "<i4").tobytes() + np.array([1000.0, 10.0], "<f4").tobytes()       # depth = 1000 / (value - 10)
    inverse = cv2.imencode(".png", np.array([[0, 1010]], np.uint16))[1].tobytes()
    np.testing.assert_allclose(ic.to_depth(SimpleNamespace(format="32FC1; compressedDepth png", data=head + inverse)), [[np.nan, 1.0]])


def rvl(pixels: np.ndarray) -> bytes:
    """Wilson's code of uint16 pixels, as its publication describes it."""
    groups: list[int] = []

    def number(value: int) -> None:
        while True:
            value, low = value >> 3, value & 7
            groups.append(low | (8 if value else 0))
            if not value:
                return

    values, at, last = pixels.reshape(-1).tolist(), 0, 0
    while at < len(values):
        start = at
        while at < len(values) and values[at] == 0:
            at += 1
        number(at - start)
        end = at
        while end < len(values) and values[end] != 0:
            end += 1
        number(end - at)
        for value in values[at:end]:
            delta, last = value - last, value
            number(2 * delta if delta >= 0 else -2 * delta - 1)
        at = end
    groups += [0] * (-len(groups) % 8)
    words = [sum(group << (28 - 4 * i) for i, group in enumerate(groups[k:k + 8])) for k in range(0, len(groups), 8)]
    return np.array(words, "<u4").tobytes()


DEPTH_MM = np.random.default_rng(4).integers(300, 5000, (30, 41)).astype(np.uint16)
DEPTH_MM[3:9, 5:20] = 0
DEPTH_MM[0, 0], DEPTH_MM[-1, -1] = 65535, 0


@pytest.mark.parametrize("pixels", [DEPTH_MM, np.zeros((4, 7), np.uint16), np.full((5, 5), 700, np.uint16)], ids=["noise", "empty", "flat"])
def test_compressed_depth_rvl(pixels: np.ndarray) -> None:
    height, width = pixels.shape
    code = rvl(pixels)
    size = np.array([width, height], "<u4").tobytes()
    expected = np.where(pixels > 0, pixels.astype(np.float32) * np.float32(0.001), np.nan)
    message = SimpleNamespace(format="16UC1; compressedDepth rvl", data=bytes(12) + size + code)
    np.testing.assert_array_equal(ic.to_depth(message), expected)
    for data, words in ((bytes(12) + size + code[:-8], "ends before"), (bytes(15), "no header"), (bytes(20) + code, "0x0 pixels"),
                        (bytes(12) + np.array([width, height + 1], "<u4").tobytes() + code, "ends before")):
        with pytest.raises(ic.ImageError, match=words):
            ic.to_depth(SimpleNamespace(format=message.format, data=data))


@pytest.mark.parametrize("codec", ["png", "rvl"])
def test_quantised_inverse_depth(codec: str) -> None:
    """As compressed_depth_image_transport writes 32FC1: a / depth + b in 16 bits, a and b in the header; a step is depth^2 / a."""
    depth = np.random.default_rng(6).uniform(0.3, 9.0, (20, 31)).astype(np.float32)
    depth[2:5, 3:9] = np.nan
    a = 100.0 * 101.0
    b = 1.0 - a / 10.0
    stored = np.where(np.isfinite(depth), np.floor(a / np.nan_to_num(depth, nan=1.0) + b), 0).astype(np.uint16)
    head = np.array([0], "<i4").tobytes() + np.array([a, b], "<f4").tobytes()
    body = cv2.imencode(".png", stored)[1].tobytes() if codec == "png" else np.array([31, 20], "<u4").tobytes() + rvl(stored)
    got = ic.to_depth(SimpleNamespace(format=f"32FC1; compressedDepth {codec}", data=head + body))
    assert (np.isnan(got) == np.isnan(depth)).all()
    valid = np.isfinite(depth)
    assert (np.abs(got - depth)[valid] <= 1.1 * depth[valid] ** 2 / a + 1e-6).all()


@pytest.mark.parametrize("change", [
    {"encoding": "rgb64"}, {"encoding": ""}, {"data": b""}, {"step": 3}, {"height": 0}, {"width": 100}, {"height": 7},
    {"encoding": "32FC1"},
])
def test_refusals(change: dict) -> None:
    message = SimpleNamespace(**{**vars(image(BGR, "bgr8")), **change})
    with pytest.raises(ic.ImageError):
        ic.to_color(message)


def test_refusals_say_why() -> None:
    with pytest.raises(ic.ImageError, match="data holds 143 bytes, less than height\\*step = 6\\*24 = 144"):
        ic.to_color(SimpleNamespace(**{**vars(image(BGR, "bgr8")), "data": bytes(143)}))
    with pytest.raises(ic.ImageError, match="'bgr8' is not depth"):
        ic.to_depth(image(BGR, "bgr8"))
    with pytest.raises(ic.ImageError, match="'32FC1' is not a colour image"):
        ic.to_color(image(np.ones((2, 2), np.float32), "32FC1"))
    with pytest.raises(ic.ImageError, match="is no picture that can be read"):
        ic.to_color(SimpleNamespace(format="jpeg", data=b"rubbish"))


def test_the_array_is_the_callers_own() -> None:
    message = image(BGR, "bgr8")
    message.data = bytearray(message.data)
    got = ic.to_color(message)
    got[:] = 0
    assert bytes(message.data) == BGR.tobytes()


def test_machine_byte_order() -> None:
    assert sys.byteorder == "little"      # FeatureArray's bytes and depth images are written as they lie in memory
