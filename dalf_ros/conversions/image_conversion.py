"""sensor_msgs/Image and CompressedImage to NumPy and back: the one home of every encoding the package reads or writes.

Messages are duck-typed: rclpy's and those that `rosbags` deserialises are both accepted. Where cv_bridge can be imported, colour goes
through it; elsewhere the same encodings are read by NumPy and OpenCV. Depth and masks are read by NumPy alone.
"""
from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np

from dalf_core.depth import is_reading

from .depth_units import metres_per_unit_of

try:
    from cv_bridge import CvBridge

    _bridge = CvBridge()
except (ImportError, AttributeError, SystemError):     # absent, or built for another NumPy
    _bridge = None

_BAYER = {  # OpenCV names a pattern by its second row's second and third pixel, ROS by its first row's first two
    "bayer_rggb8": cv2.COLOR_BayerBG2BGR,
    "bayer_bggr8": cv2.COLOR_BayerRG2BGR,
    "bayer_gbrg8": cv2.COLOR_BayerGR2BGR,
    "bayer_grbg8": cv2.COLOR_BayerGB2BGR,
}
_BAYER16 = {name[:-1] + "16": code for name, code in _BAYER.items()}
_YUV = {
    "yuv422": cv2.COLOR_YUV2BGR_UYVY,
    "uyvy": cv2.COLOR_YUV2BGR_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2BGR_YUY2,
    "yuyv": cv2.COLOR_YUV2BGR_YUY2,
}
_PLANAR = {"nv12": cv2.COLOR_YUV2BGR_NV12, "nv21": cv2.COLOR_YUV2BGR_NV21, "nv24": cv2.COLOR_YUV2BGR_NV12}   # Y, then U and V
_TO_BGR = {
    "bgr8": None,
    "8UC3": None,
    "rgb8": cv2.COLOR_RGB2BGR,
    "bgra8": cv2.COLOR_BGRA2BGR,
    "8UC4": cv2.COLOR_BGRA2BGR,
    "rgba8": cv2.COLOR_RGBA2BGR,
    **_BAYER,
    **_BAYER16,
    **_YUV,
}
_LAYOUT: dict[str, tuple[str, int]] = {  # encoding: NumPy type of one channel, number of channels
    "mono8": ("u1", 1), "8UC1": ("u1", 1), "mono16": ("u2", 1), "16UC1": ("u2", 1), "32FC1": ("f4", 1),
    "rgb8": ("u1", 3), "bgr8": ("u1", 3), "8UC3": ("u1", 3), "rgba8": ("u1", 4), "bgra8": ("u1", 4), "8UC4": ("u1", 4),
    **{name: ("u1", 1) for name in _BAYER}, **{name: ("u2", 1) for name in _BAYER16}, **{name: ("u1", 2) for name in _YUV},
}  # fmt: skip
_PLAIN = re.compile(r"(8(?!F)|16|32|64(?=F))([USF])C([1-4]?)")     # OpenCV's names: bits, kind, channels
_KINDS = {"U": "u", "S": "i", "F": "f"}
COLOR_ENCODINGS = (*(name for name in _LAYOUT if name not in ("16UC1", "32FC1")), *_PLANAR)
BRIDGED = ("rgb8", "bgr8", "rgba8", "bgra8", *_BAYER, *_YUV)       # what goes through cv_bridge where there is one
DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")


class ImageError(ValueError):
    """An image message that cannot be read; the text says which, and why."""


def is_compressed(message: Any) -> bool:
    """Whether the message is a CompressedImage (it has a format) rather than an Image (it has an encoding)."""
    return hasattr(message, "format")


def to_color(message: Any) -> np.ndarray:
    """Image or CompressedImage to HxWx3 uint8 BGR, or HxW uint8 for the mono encodings. The array is the caller's own."""
    if is_compressed(message):
        return _eight_bit(_without_alpha(_decompress(message)))
    if message.encoding not in COLOR_ENCODINGS:
        raise ImageError(f"encoding {message.encoding!r} is not a colour image; readable: {', '.join(COLOR_ENCODINGS)}")
    if message.encoding in _PLANAR:
        return _from_planes(message)
    pixels = _pixels(message)
    if message.encoding in ("mono8", "8UC1", "mono16"):
        return _eight_bit(pixels)
    if _bridge is not None and message.encoding in BRIDGED:
        return np.array(_bridge.imgmsg_to_cv2(message, "bgr8"))
    return _to_bgr(pixels, message.encoding)


def to_depth(message: Any, metres_per_unit: float | None = None) -> np.ndarray:
    """Image or CompressedImage (png, compressedDepth) to HxW float32 metres, NaN where there is no reading (REP 118).

    metres_per_unit: of the numbers in the message; None: 0.001 for 16-bit ones, 1 for floating point.
    """
    if is_compressed(message):
        return _compressed_depth(message, metres_per_unit)
    if message.encoding not in DEPTH_ENCODINGS:
        raise ImageError(f"encoding {message.encoding!r} is not depth; readable: 16UC1 (millimetres) and 32FC1 (metres)")
    return _metres(_pixels(message), metres_per_unit)


def to_mask(message: Any) -> np.ndarray:
    """Image (of any encoding, 8SC1 or 32SC1 for two) or CompressedImage to HxW uint8, 255 where a colour of the pixel is not 0 or NaN."""
    if is_compressed(message):
        pixels = _decompress(message)
    elif message.encoding in _TO_BGR or message.encoding in _PLANAR:
        pixels = to_color(message)
    else:
        pixels = _pixels(message)
    nonzero = (pixels != 0) & (pixels == pixels)
    if nonzero.ndim == 3:
        nonzero = nonzero[:, :, :3].any(axis=2)
    return nonzero.astype(np.uint8) * 255


def from_color(image: np.ndarray, header: dict) -> dict:
    """HxWx3 BGR or HxW uint8 to the fields of a sensor_msgs/Image."""
    return _image_fields(image, "mono8" if image.ndim == 2 else "bgr8", header)


def from_depth(depth_m: np.ndarray, header: dict, encoding: str = "32FC1") -> dict:
    """HxW float metres (NaN or 0 = none) to the fields of a sensor_msgs/Image, 16UC1 in millimetres or 32FC1 in metres."""
    depth_m = np.asarray(depth_m, np.float32)
    if encoding == "32FC1":
        return _image_fields(np.where(depth_m > 0, depth_m, np.float32(np.nan)), encoding, header)
    if encoding != "16UC1":
        raise ImageError(f"depth cannot be written as {encoding!r}; 16UC1 or 32FC1")
    millimetres = np.rint(np.nan_to_num(depth_m, nan=0.0, posinf=0.0, neginf=0.0) * 1000.0)
    return _image_fields(np.where((millimetres > 0) & (millimetres < 65536), millimetres, 0).astype(np.uint16), encoding, header)


def from_mask(mask: np.ndarray, header: dict) -> dict:
    """HxW, nonzero = selected, to the fields of a mono8 sensor_msgs/Image."""
    return _image_fields((np.asarray(mask) != 0).astype(np.uint8) * 255, "mono8", header)


def from_color_compressed(image: np.ndarray, header: dict, extension: str = "jpeg", quality: int = 90) -> dict:
    """HxWx3 BGR or HxW uint8 to the fields of a sensor_msgs/CompressedImage; extension "jpeg" or "png"."""
    if extension not in ("jpeg", "png"):
        raise ImageError(f"cannot compress to {extension!r}; jpeg or png")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if extension == "jpeg" else []
    _, data = cv2.imencode("." + extension, image, options)
    return {"header": header, "format": extension, "data": data.reshape(-1)}


def _pixels(message: Any) -> np.ndarray:
    """The message's bytes as HxW or HxWxC in the machine's byte order, padding at the end of rows removed. May share memory."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    kind, channels = _layout(message.encoding)
    item = np.dtype(kind).itemsize
    if height < 1 or width < 1:
        raise ImageError(f"the image is empty: {width}x{height} pixels")
    if step < width * channels * item:
        raise ImageError(f"step {step} is less than a row of {width} {message.encoding} pixels ({width * channels * item} bytes)")
    data = np.frombuffer(message.data, np.uint8)
    if data.size < height * step:
        raise ImageError(f"data holds {data.size} bytes, less than height*step = {height}*{step} = {height * step}")
    rows = data[: height * step].reshape(height, step)[:, : width * channels * item]
    order = ">" if message.is_bigendian else "<"
    pixels = np.ascontiguousarray(rows).view(np.dtype(kind).newbyteorder(order))
    if not pixels.dtype.isnative:
        pixels = pixels.astype(np.dtype(kind))
    return pixels.reshape(height, width) if channels == 1 else pixels.reshape(height, width, channels)


def _layout(encoding: str) -> tuple[str, int]:
    """NumPy type of one channel, and how many there are."""
    if encoding in _LAYOUT:
        return _LAYOUT[encoding]
    plain = _PLAIN.fullmatch(encoding)
    if not plain:
        raise ImageError(f"encoding {encoding!r} is not known; readable: {', '.join(_LAYOUT)}")
    bits, kind, channels = plain.groups()
    return f"{_KINDS[kind]}{int(bits) // 8}", int(channels or 1)


def _to_bgr(pixels: np.ndarray, encoding: str) -> np.ndarray:
    """Pixels of a colour encoding to a new HxWx3 BGR array."""
    code = _TO_BGR[encoding]
    if encoding in _YUV and pixels.shape[1] % 2:
        raise ImageError(f"a {encoding} image must have an even width, this one has {pixels.shape[1]}")
    if encoding in _BAYER and min(pixels.shape) < 2:
        raise ImageError(f"a {encoding} image must be at least 2x2 pixels")
    return pixels.copy() if code is None else _eight_bit(cv2.cvtColor(pixels, code))


def _from_planes(message: Any) -> np.ndarray:
    """nv12, nv21, nv24 to HxWx3 BGR: rows of Y, `step` bytes each, then rows of U and V in turn, for 2x2 pixels or (nv24) for each."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    each = message.encoding == "nv24"
    size = height * step * 3 if each else height * step * 3 // 2
    if height < 1 or width < 1 or step < width or (not each and (height % 2 or width % 2 or step % 2)):
        raise ImageError(f"a {message.encoding} image must have {'' if each else 'an even '}size and a step of at least its width, "
                         f"this one is {width}x{height} with step {step}")
    data = np.frombuffer(message.data, np.uint8)
    if data.size < size:
        raise ImageError(f"data holds {data.size} bytes, less than the {size} of {height} {message.encoding} rows of step {step}")
    luma = data[: height * step].reshape(height, step)[:, :width]
    chroma = data[height * step: size].reshape(-1, 2 * step if each else step)[:, : 2 * width if each else width]
    if not each:
        return cv2.cvtColor(np.vstack([luma, chroma]), _PLANAR[message.encoding])
    # OpenCV has no nv24: with every pixel four times over it is an nv12
    double = np.vstack([luma.repeat(2, axis=0).repeat(2, axis=1), chroma])
    return np.ascontiguousarray(cv2.cvtColor(double, _PLANAR["nv24"])[::2, ::2])


def _eight_bit(pixels: np.ndarray) -> np.ndarray:
    """uint8 as a copy; uint16 scaled by 255/65535, as cv_bridge does."""
    if pixels.dtype == np.uint16:
        return cv2.convertScaleAbs(pixels, alpha=255.0 / 65535.0)
    return np.array(pixels)


def _without_alpha(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, :, :3] if pixels.ndim == 3 else pixels


def _metres(pixels: np.ndarray, metres_per_unit: float | None) -> np.ndarray:
    """16-bit numbers (0 = none) or floating point ones (dalf_core.depth.is_reading says which are none) to float32 metres with NaN."""
    unit = metres_per_unit_of(pixels.dtype) if metres_per_unit is None else metres_per_unit
    depth = pixels.astype(np.float32)
    if unit != 1.0:
        depth *= np.float32(unit)
    depth[~is_reading(depth)] = np.nan
    return depth


def _decompress(message: Any, skip: int = 0) -> np.ndarray:
    """JPEG or PNG bytes of a CompressedImage as they are stored, HxW or HxWxC."""
    data = np.frombuffer(message.data, np.uint8)[skip:]
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ImageError(f"compressed image of format {message.format!r} ({data.size} bytes) cannot be decoded")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"compressed image of format {message.format!r} holds {pixels.dtype}, expected 8 or 16 bits")
    return pixels


def _compressed_depth(message: Any, metres_per_unit: float | None) -> np.ndarray:
    """PNG, or compressedDepth: 12 bytes of header (int32, two float32), then a PNG or RVL of millimetres or of inverse depth."""
    transport = "compressedDepth" in message.format
    if transport and "rvl" in message.format:
        pixels = _decode_rvl(message)
    else:
        pixels = _decompress(message, skip=12 if transport else 0)
    if pixels.ndim != 2 or pixels.dtype != np.uint16:
        raise ImageError(f"compressed depth ({message.format!r}) must be one channel of 16 bits, it is {pixels.dtype} {pixels.shape}")
    if not (transport and "32FC1" in message.format):
        return _metres(pixels, metres_per_unit)
    if len(message.data) < 12:
        raise ImageError(f"compressed depth of {len(message.data)} bytes has no header")
    slope, offset = np.frombuffer(message.data, np.uint8)[4:12].view("<f4")
    with np.errstate(all="ignore"):     # the header may hold any two numbers
        return _metres(np.where(pixels > 0, slope / (pixels.astype(np.float32) - offset), np.float32(np.nan)), metres_per_unit)


def _decode_rvl(message: Any) -> np.ndarray:
    """compressedDepth's RVL: after the header two uint32, width and height, then the code."""
    from .rvl import decode

    data = np.frombuffer(message.data, np.uint8)
    if data.size < 20:
        raise ImageError(f"compressed depth of format {message.format!r} and {data.size} bytes has no header")
    width, height = data[12:20].view("<u4").tolist()
    try:
        return decode(data[20:], width, height)
    except ValueError as error:
        raise ImageError(f"compressed depth of format {message.format!r}: {error}") from error


def _image_fields(pixels: np.ndarray, encoding: str, header: dict) -> dict:
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    little_endian = pixels if pixels.dtype.itemsize == 1 else pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    return {
        "header": header,
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": 0,
        "step": little_endian.strides[0],
        "data": little_endian.reshape(-1).view(np.uint8),
    }
