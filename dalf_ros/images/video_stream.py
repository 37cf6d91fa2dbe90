"""Films that come message by message: H.264 and H.265 in CompressedImage, Foxglove's CompressedVideo and ffmpeg_image_transport's packets.

A picture of such a stream is told by those before it, so every message must go through the decoder, in order, wanted or not.
"""
from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from dalf_core.files.picture_file import MOST_PIXELS

from ..errors import ImageError
from .h264_order import PictureOrder

CODECS = {"h264": "h264", "avc": "h264", "libx264": "h264", "h265": "hevc", "hevc": "hevc", "libx265": "hevc"}
KEYFRAMES = {"h264": {5}, "hevc": set(range(16, 22))}       # types of NAL units: pictures that need none before them,
PICTURES = {"h264": set(range(1, 6)), "hevc": set(range(32))}       # all pictures


@dataclass(frozen=True)
class VideoFrame:
    """What became of one message. header: std_msgs/Header. format: as the message names it. image: HxWx3 uint8 BGR; None: see problem."""

    header: Any
    format: str
    image: np.ndarray | None
    problem: str = ""

    @property
    def data(self) -> memoryview:
        """The bytes that it holds."""
        return memoryview(b"" if self.image is None else self.image)

    def picture(self) -> np.ndarray:
        """A copy of the image, HxWx3 uint8 BGR. Raises ImageError saying why there is none."""
        if self.image is None:
            raise ImageError(f"video frame of format {self.format!r}: {self.problem}")
        return self.image.copy()


def video_codec(message: Any) -> str | None:
    """FFmpeg's name of the codec of a message; None where it is no part of a film."""
    name = str(getattr(message, "format", None) or getattr(message, "encoding", "")).replace(",", ";").partition(";")[0].strip().lower()
    codec = name.removesuffix("_nvenc").removesuffix("_vaapi").removesuffix("_v4l2m2m")
    return CODECS.get(codec)


class VideoStreams:
    """One decoder for each topic. One object serves one pass over the topics, in one thread."""

    def __init__(self) -> None:
        self._decoders: dict[str, VideoDecoder] = {}

    def decoded(self, topic: str, message: Any) -> Any:
        """A VideoFrame where the message is part of a film, else the message itself."""
        codec = video_codec(message)
        if codec is None:
            return message
        decoder = self._decoders.get(topic)
        if decoder is None or decoder.codec != codec:
            decoder = self._decoders[topic] = VideoDecoder(codec)
        return decoder.decode(message)

    def restart(self) -> None:
        """Wait for a keyframe in every topic: what comes next does not follow what came before (a recording begins anew)."""
        self._decoders.clear()


class VideoDecoder:
    """The decoder of one stream of codec "h264" or "hevc" in Annex B, each message one picture, none of them reordered (no B-frames)."""

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self._context: Any = None
        self._started = False
        self._number = 0
        self._parameters = b""      # of the stream, where they come in a message of their own
        self._order = PictureOrder()

    def decode(self, message: Any) -> VideoFrame:
        """The picture of this message. Before the first keyframe, and after an error until the next one, there is none."""
        header = message.header if hasattr(message, "header") else SimpleNamespace(stamp=message.timestamp, frame_id=message.frame_id)
        form = str(getattr(message, "format", None) or message.encoding)
        data = bytes(memoryview(message.data))
        units = _unit_types(data, self.codec)
        if units and not units & PICTURES[self.codec]:
            self._parameters = data
            return VideoFrame(header, form, None, "it holds parameters of the stream, no picture")
        if not self._started and not units & KEYFRAMES[self.codec]:
            return VideoFrame(header, form, None, "it comes before the first keyframe, from which on pictures can be decoded")
        data, self._parameters = self._parameters + data, b""
        try:
            if self.codec == "h264" and not self._order.follows(data):
                raise ImageError("a message before it was lost; waiting for the next keyframe")
            image = self._picture(data)
        except ImageError as error:
            self._started, self._context, self._order = False, None, PictureOrder()
            return VideoFrame(header, form, None, str(error))
        self._started = True
        return VideoFrame(header, form, image)

    def _picture(self, data: bytes) -> np.ndarray:
        try:
            import av
        except ImportError as error:
            raise ImageError(f"films are decoded by PyAV, which is not installed (pip install av): {error}") from error
        if self._context is None:
            self._context = _open(self.codec)
        packet = av.Packet(data)
        packet.pts = self._number
        self._number += 1
        try:
            frames = self._context.decode(packet)
        except (av.error.FFmpegError, ValueError) as error:
            raise ImageError(f"it cannot be decoded ({error}); waiting for the next keyframe") from error
        if not frames:
            raise ImageError("the decoder gives no picture: it is damaged, or the encoder reorders pictures (B-frames); switch that off")
        frame = frames[-1]
        if frame.is_corrupt or frame.pts != packet.pts:
            raise ImageError("its picture is damaged, or the encoder reorders pictures (B-frames); waiting for the next keyframe")
        return np.ascontiguousarray(frame.to_ndarray(format="bgr24"))


def _open(codec: str) -> Any:
    """A decoder that gives each picture at once, and errors rather than guesses."""
    import av

    context = av.CodecContext.create(codec, "r")
    context.thread_count = 1        # more would each hold a picture back
    context.options = {"flags": "low_delay", "err_detect": "explode", "max_pixels": str(MOST_PIXELS)}
    return context


def _unit_types(data: bytes, codec: str) -> set[int]:
    """The types of the NAL units in these bytes."""
    found, at = set(), data.find(b"\x00\x00\x01")
    while 0 <= at < len(data) - 3:
        found.add(data[at + 3] & 0x1F if codec == "h264" else data[at + 3] >> 1 & 0x3F)
        at = data.find(b"\x00\x00\x01", at + 3)
    return found
