"""H.264 and H.265 message by message, as cameras publish them: every picture comes out at once, none that is damaged passes for one."""
from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

av = pytest.importorskip("av")

from dalf_ros.conversions.messages import header  # noqa: E402
from dalf_ros.images.image_conversion import ImageError, to_color  # noqa: E402
from dalf_ros.images.video_stream import VideoFrame, VideoStreams, video_codec  # noqa: E402

FRAMES = 12
KEY_EVERY = 6
ENCODERS = {"h264": "libx264", "hevc": "libx265"}


def picture(number: int) -> np.ndarray:
    """48x64 BGR: its grey tells the number."""
    return np.full((48, 64, 3), 40 + 12 * number, np.uint8)


def encoded(codec: str, options: dict[str, str] | None = None) -> list[bytes]:
    """One access unit in Annex B for each picture, as encoders of cameras make them."""
    if ENCODERS[codec] not in av.codecs_available:
        pytest.skip(f"PyAV has no {ENCODERS[codec]}")
    context = av.CodecContext.create(ENCODERS[codec], "w")
    context.width, context.height, context.pix_fmt, context.time_base = 64, 48, "yuv420p", Fraction(1, 10)
    context.gop_size = KEY_EVERY
    quiet = {"x265-params": "log-level=none:repeat-headers=1:open-gop=0:bframes=0"} if codec == "hevc" else {}
    context.options = {"tune": "zerolatency", "crf": "5", **quiet} if options is None else options
    units = []
    for number in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(picture(number), format="bgr24")
        frame.pts = number
        units += [bytes(packet) for packet in context.encode(frame)]
    units += [bytes(packet) for packet in context.encode(None)]
    assert len(units) == FRAMES
    return units


def message(data: bytes, form: str, number: int = 0) -> SimpleNamespace:
    return SimpleNamespace(header=header(number * 100_000_000, "cam"), format=form, data=np.frombuffer(data, np.uint8))


def grey(frame: VideoFrame) -> float:
    return float(to_color(frame)[8:-8, 8:-8].mean())


@pytest.mark.parametrize(("codec", "form"), [("h264", "h264"), ("h264", "H264"), ("hevc", "h265"), ("hevc", "hevc"), ("h264", "h264; avc")])
def test_every_picture_comes_with_its_own_message(codec: str, form: str) -> None:
    streams = VideoStreams()
    for number, data in enumerate(encoded(codec)):
        frame = streams.decoded("/image", message(data, form, number))
        assert frame.header["stamp"]["nanosec"] == number * 100_000_000 % 1_000_000_000
        assert to_color(frame).shape == (48, 64, 3) and grey(frame) == pytest.approx(40 + 12 * number, abs=4)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_frames_before_the_first_keyframe_say_so(codec: str) -> None:
    streams = VideoStreams()
    for number, data in enumerate(encoded(codec)[2:], 2):
        frame = streams.decoded("/image", message(data, codec))
        if number < KEY_EVERY:
            with pytest.raises(ImageError, match="before the first keyframe"):
                to_color(frame)
        else:
            assert grey(frame) == pytest.approx(40 + 12 * number, abs=4)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_after_a_damaged_message_the_next_keyframe_is_waited_for(codec: str) -> None:
    streams = VideoStreams()
    results = []
    for number, data in enumerate(encoded(codec)):
        frame = streams.decoded("/image", message(b"\x00\x00\x01" if number == 2 else data, codec))
        results.append(frame.image is not None)
        if frame.image is not None:
            assert grey(frame) == pytest.approx(40 + 12 * number, abs=4)
    assert results == [True, True, False, False, False, False] + [True] * 6


@pytest.mark.parametrize("lost", [1, 2, 5])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_after_a_lost_message_the_next_keyframe_is_waited_for(codec: str, lost: int) -> None:
    """FFmpeg alone shows a wrong picture there."""
    streams = VideoStreams()
    frames = {number: streams.decoded("/image", message(data, codec)) for number, data in enumerate(encoded(codec)) if number != lost}
    missing = [number for number, frame in frames.items() if frame.image is None]
    assert missing == list(range(lost + 1, KEY_EVERY))
    for number, frame in frames.items():
        if number not in missing:
            assert grey(frame) == pytest.approx(40 + 12 * number, abs=4)


def test_reordered_pictures_are_refused() -> None:
    """B-frames: the decoder's picture is not the message's."""
    streams = VideoStreams()
    units = encoded("h264", {"bf": "2", "b-adapt": "0", "b-pyramid": "none", "preset": "medium", "rc-lookahead": "3"})
    frames = [streams.decoded("/image", message(data, "h264")) for data in units]
    problems = [frame.problem for frame in frames if frame.image is None]
    assert any("B-frames" in problem for problem in problems)


def test_parameters_in_a_message_of_their_own() -> None:
    streams, units = VideoStreams(), encoded("h264")
    at = units[0].index(b"\x00\x00\x01\x65")         # the first picture, behind the parameters
    with pytest.raises(ImageError, match="holds parameters of the stream"):
        to_color(streams.decoded("/image", message(units[0][:at], "h264")))
    for number, data in enumerate([units[0][at:], *units[1:]]):
        assert grey(streams.decoded("/image", message(data, "h264"))) == pytest.approx(40 + 12 * number, abs=4)


def test_topics_do_not_mix() -> None:
    streams, units = VideoStreams(), encoded("h264")
    for number, data in enumerate(units):
        assert grey(streams.decoded("/left", message(data, "h264"))) == pytest.approx(40 + 12 * number, abs=4)
        if number >= KEY_EVERY:
            assert grey(streams.decoded("/right", message(data, "h264"))) == pytest.approx(40 + 12 * number, abs=4)


def test_other_messages_pass() -> None:
    streams = VideoStreams()
    for other in (SimpleNamespace(format="jpeg", data=b""), SimpleNamespace(encoding="bgr8"), SimpleNamespace(k=[0.0])):
        assert video_codec(other) is None and streams.decoded("/image", other) is other


def test_packets_of_other_packages() -> None:
    """Foxglove's CompressedVideo has no header, ffmpeg_image_transport names its encoder."""
    data = encoded("h264")[0]
    foxglove = SimpleNamespace(timestamp="stamp", frame_id="cam", format="h264", data=data)
    frame = VideoStreams().decoded("/video", foxglove)
    assert frame.header.stamp == "stamp" and frame.header.frame_id == "cam" and grey(frame) == pytest.approx(40, abs=4)
    for name in ("libx264", "h264_nvenc", "h264;yuv420p;bgr8;bgr8"):
        packet = SimpleNamespace(header="head", encoding=name, data=data)
        assert grey(VideoStreams().decoded("/packets", packet)) == pytest.approx(40, abs=4)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_recording_is_read_with_its_depth(codec: str, scene: type, tmp_path: Path) -> None:
    """Topics are found, and every message gives its own picture."""
    from dalf_ros.bags.bag_source import BagSource
    from dalf_ros.bags.bag_topics import choose_topics

    video = scene.color + "/compressed"
    messages = scene.messages(FRAMES, (video, scene.depth, scene.info))
    units = iter(encoded(codec))
    messages = [(topic, time_ns, {**fields, "format": codec, "data": np.frombuffer(next(units), np.uint8)} if topic == video else fields)
                for topic, time_ns, fields in messages]
    with BagSource(scene.write_bag2(tmp_path / "bag", messages)) as source:
        chosen = choose_topics(source.topics)
        assert (chosen.color, chosen.depth, chosen.camera_info) == (video, scene.depth, scene.info)
        streams = VideoStreams()
        frames = [streams.decoded(raw.topic, source.deserialize(raw)) for raw in source.messages([video])]
    assert [grey(frame) for frame in frames] == pytest.approx([40 + 12 * n for n in range(FRAMES)], abs=4)


VIDEO_TYPE = "foxglove_msgs/msg/CompressedVideo"
VIDEO_DEFINITION = ("builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n" + "=" * 80
                    + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n")


def test_a_recording_of_foxglove_video(tmp_path: Path, command) -> None:
    """From its third picture on: those before the first keyframe are told, the others are seen; the nodes cannot read it, and say so."""
    from mcap.writer import Writer
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    from dalf_ros.bags.bag_reader import read_frames
    from dalf_ros.bags.bag_source import BagSource
    from dalf_ros.bags.bag_topics import CameraTopics, choose_topics
    from dalf_ros.launch_support import describe_bag

    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(VIDEO_DEFINITION, VIDEO_TYPE))
    path = tmp_path / "video.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2", library="test")
        channel = writer.register_channel("/camera/video", "cdr", writer.register_schema(VIDEO_TYPE, "ros2msg", VIDEO_DEFINITION.encode()))
        for number, data in list(enumerate(encoded("h264")))[2:]:
            stamp = store.types["builtin_interfaces/msg/Time"](sec=100 + number, nanosec=0)
            fields = store.types[VIDEO_TYPE](timestamp=stamp, frame_id="cam", data=np.frombuffer(data, np.uint8), format="h264")
            time_ns = (100 + number) * 1_000_000_000
            writer.add_message(channel, time_ns, bytes(store.serialize_cdr(fields, VIDEO_TYPE)), time_ns)
        writer.finish()
    with BagSource(path) as source:
        topics = choose_topics(source.topics)
        assert topics == CameraTopics("/camera/video", None, None, None)
        frames = [frame for frame in read_frames(source, topics) if frame.image is not None]
    assert [frame.stamp_ns // 1_000_000_000 for frame in frames] == list(range(100 + KEY_EVERY, 100 + FRAMES))
    assert [frame.image.mean() for frame in frames] == pytest.approx([40 + 12 * number for number in range(KEY_EVERY, FRAMES)], abs=4)
    code, _, err = command(describe_bag.main, path)
    assert code == 2 and "is a CompressedVideo" in err and "./run register" in err
