"""sensor_msgs/Image and CompressedImage to NumPy and back: the one home of every encoding the package reads or writes.

Messages are duck-typed: rclpy's and those that `rosbags` deserialises are both accepted. Where there is a cv_bridge that does it right,
colour goes through it (see bridge.py); elsewhere the same encodings are read by NumPy and OpenCV. Depth and masks are read by NumPy alone.
"""
from __future__ import annotations

import logging
import re
from functools import cache
from typing import Any

import cv2
import numpy as np

from dalf_core.depth_units import to_metres
from dalf_core.files.picture_file import decode_picture

from ..errors import ImageError
from .bridge import through_bridge
from .compressed_depth import decode_depth
from .video_stream import VideoFrame

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
    **dict.fromkeys(("bgr8", "bgr16", "8UC3", "16UC3"), None),
    **dict.fromkeys(("rgb8", "rgb16"), cv2.COLOR_RGB2BGR),
    **dict.fromkeys(("bgra8", "bgra16", "8UC4", "16UC4"), cv2.COLOR_BGRA2BGR),
    **dict.fromkeys(("rgba8", "rgba16"), cv2.COLOR_RGBA2BGR),
    **_BAYER,
    **_BAYER16,
    **_YUV,
}
LAYOUT: dict[str, tuple[str, int]] = {  # encoding: NumPy type of one channel, number of channels
    "mono8": ("u1", 1), "8UC1": ("u1", 1), "mono16": ("u2", 1), "16UC1": ("u2", 1), "32FC1": ("f4", 1),
    "rgb8": ("u1", 3), "bgr8": ("u1", 3), "8UC3": ("u1", 3), "rgba8": ("u1", 4), "bgra8": ("u1", 4), "8UC4": ("u1", 4),
    "rgb16": ("u2", 3), "bgr16": ("u2", 3), "16UC3": ("u2", 3), "rgba16": ("u2", 4), "bgra16": ("u2", 4), "16UC4": ("u2", 4),
    **{name: ("u1", 1) for name in _BAYER}, **{name: ("u2", 1) for name in _BAYER16}, **{name: ("u1", 2) for name in _YUV},
}  # fmt: skip
_PLAIN = re.compile(r"(8(?!F)|16|32|64(?=F))([USF])C([1-4]?)")     # OpenCV's names: bits, kind, channels
_KINDS = {"U": "u", "S": "i", "F": "f"}
COLOR_ENCODINGS = (*(name for name in LAYOUT if name != "32FC1"), *_PLANAR)
DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")

log = logging.getLogger(__name__)


def is_compressed(message: Any) -> bool:
    """Whether the message is a CompressedImage (it has a format) rather than an Image (it has an encoding)."""
    return hasattr(message, "format")


def to_color(message: Any) -> np.ndarray:
    """Image, CompressedImage or decoded VideoFrame to HxWx3 BGR, or HxW for the mono encodings. The array is the caller's own.

    uint8; uint16 where the message has 16 bits, as stored: dalf_core.sixteen_bit says how they are looked at. 16UC1 is grey, as thermal
    cameras send it: who asks has named the topic as that of the images, which is told once.
    """
    if isinstance(message, VideoFrame):
        return message.picture()
    if is_compressed(message):
        return _compressed_color(message)
    if message.encoding not in COLOR_ENCODINGS:
        raise ImageError(f"encoding {message.encoding!r} is not a colour image; readable: {', '.join(COLOR_ENCODINGS)}")
    if message.encoding in _PLANAR:
        return _from_planes(message)
    pixels = _pixels(message)
    if message.encoding == "16UC1":
        _tell_grey()
    if message.encoding in ("mono8", "8UC1", "mono16", "16UC1"):
        return pixels.copy()
    bridged = through_bridge(message)
    return to_bgr(pixels, message.encoding) if bridged is None else bridged


@cache
def _tell_grey() -> None:
    """Once in a process."""
    log.warning("images of encoding 16UC1 are taken as grey, as thermal cameras send them; if they are depth, name another topic")


def to_depth(message: Any, metres_per_unit: float | None = None) -> np.ndarray:
    """Image or CompressedImage (png, compressedDepth) to HxW float32 metres, NaN where there is no reading (REP 118).

    metres_per_unit: of the numbers in the message; None: 0.001 for 16-bit ones, 1 for floating point.
    """
    if is_compressed(message):
        return decode_depth(message, metres_per_unit)
    if message.encoding not in DEPTH_ENCODINGS:
        raise ImageError(f"encoding {message.encoding!r} is not depth; readable: 16UC1 (millimetres) and 32FC1 (metres)")
    return to_metres(_pixels(message), metres_per_unit)


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
    if encoding in LAYOUT:
        return LAYOUT[encoding]
    plain = _PLAIN.fullmatch(encoding)
    if not plain:
        raise ImageError(f"encoding {encoding!r} is not known; readable: {', '.join(LAYOUT)}")
    bits, kind, channels = plain.groups()
    return f"{_KINDS[kind]}{int(bits) // 8}", int(channels or 1)


def to_bgr(pixels: np.ndarray, encoding: str) -> np.ndarray:
    """Pixels of a colour encoding to a new HxWx3 BGR array."""
    code = _TO_BGR[encoding]
    if encoding in _YUV and pixels.shape[1] % 2:
        raise ImageError(f"a {encoding} image must have an even width, this one has {pixels.shape[1]}")
    if encoding in (*_BAYER, *_BAYER16) and min(pixels.shape) < 2:
        raise ImageError(f"a {encoding} image must be at least 2x2 pixels")
    return pixels.copy() if code is None else cv2.cvtColor(pixels, code)


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


def _compressed_color(message: Any) -> np.ndarray:
    """A CompressedImage as BGR or grey; what was compressed as a Bayer mosaic (the format begins with its name) is demosaiced."""
    pixels = _decompress(message)
    mosaic = message.format.partition(";")[0].strip()
    if pixels.ndim == 2 and mosaic in (*_BAYER, *_BAYER16):
        return to_bgr(pixels, mosaic)
    return np.array(pixels[:, :, :3]) if pixels.ndim == 3 else pixels


def _decompress(message: Any) -> np.ndarray:
    """The picture in a CompressedImage as it is stored, HxW or HxWxC."""
    try:
        pixels = decode_picture(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
    except ValueError as error:
        raise ImageError(f"compressed image of format {message.format!r} ({len(message.data)} bytes) {error}") from error
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"compressed image of format {message.format!r} holds {pixels.dtype}, expected 8 or 16 bits")
    return pixels


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
