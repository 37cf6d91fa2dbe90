"""What a node hears."""
from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("rclpy")
av = pytest.importorskip("av")

from dalf_ros.conversions.messages import header, stamp_ns  # noqa: E402
from dalf_ros.images.image_conversion import to_color  # noqa: E402
from dalf_ros.images.video_stream import VideoFrame  # noqa: E402
from dalf_ros.nodes.inputs import Inputs  # noqa: E402

COMPRESSED = "sensor_msgs/msg/CompressedImage"


def test_a_film_on_the_compressed_topic_is_decoded(own_peer) -> None:
    """Three pictures of H.264, and a JPEG among them, which passes as it is."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 64, 48, "yuv420p", Fraction(1, 10)
    context.options = {"tune": "zerolatency", "crf": "5"}
    units = []
    for number in range(3):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 + 40 * number, np.uint8), format="bgr24")
        frame.pts = number
        units += [bytes(packet) for packet in context.encode(frame)]
    got: list = []
    inputs = Inputs(own_peer.node)
    inputs.add_image("image", "image", got.append, "compressed")
    for number, data in enumerate([*units, b"jpeg"]):
        fields = {"header": header(number * 100_000_000, "cam"), "format": "h264" if number < 3 else "jpeg"}
        own_peer.publish("/image/compressed", COMPRESSED, {**fields, "data": np.frombuffer(data, np.uint8)})
        assert own_peer.until(lambda wanted=number + 1: len(got) == wanted, 10)
    assert [stamp_ns(frame.header) for frame in got] == [number * 100_000_000 for number in range(4)]
    assert [to_color(frame)[8:-8, 8:-8].mean() for frame in got[:3]] == pytest.approx([40, 80, 120], abs=4)
    assert all(isinstance(frame, VideoFrame) and frame.data.nbytes == 48 * 64 * 3 for frame in got[:3])
    assert not isinstance(got[3], VideoFrame)
    inputs.close()
