"""Damaged and repeated messages: left out, the first told at once and their number at the end, whatever topic they are on."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dalf_ros.bags.bag_reader import read_camera, read_frames
from dalf_ros.bags.bag_source import ZSTD_MAGIC, BagError, BagSource
from dalf_ros.bags.bag_topics import choose_topics
from dalf_ros.conversions.message_factory import bag_message, bag_typestore
from dalf_ros.conversions.messages import header
from dalf_ros.offline.depth_streams import TRANSFORMS, DepthStreams

STATIC = "/tf_static"
DEPTH_INFO = "/camera/depth/camera_info"


def write(path: Path, messages: list[tuple[str, str, int, dict]], damaged: dict[int, bytes | None]) -> Path:
    """A bag of (topic, type, time, fields); damaged: by number what stands in place of a message's bytes, None: its first half."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    store = bag_typestore()
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        links = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in {one[0]: one[1] for one in messages}.items()}
        for number, (topic, kind, time_ns, fields) in enumerate(messages):
            data = bytes(store.serialize_cdr(bag_message(kind, fields), kind))
            if number in damaged:
                data = damaged[number] or data[: len(data) // 2]
            writer.write(links[topic], time_ns, data)
    return path


def typed(scene: type, frames: int, topics: tuple[str, ...]) -> list[tuple[str, str, int, dict]]:
    kind = {scene.info: "sensor_msgs/msg/CameraInfo"}
    return [(topic, kind.get(topic, "sensor_msgs/msg/Image"), time_ns, fields) for topic, time_ns, fields in scene.messages(frames, topics)]


def transform(time_ns: int, x: float) -> tuple[str, str, int, dict]:
    """From the depth camera's frame to colour's, x metres aside."""
    one = {"header": header(time_ns, "color"), "child_frame_id": "depth",
           "transform": {"translation": {"x": x, "y": 0.0, "z": 0.0}, "rotation": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}}}
    return STATIC, TRANSFORMS, time_ns, {"transforms": [one]}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_damaged_camera_info_is_left_out_and_the_next_one_serves(scene: type, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    messages = typed(scene, 3, (scene.color, scene.depth, scene.info))
    with BagSource(write(tmp_path / "bag", messages, {2: None})) as source:
        chosen = choose_topics(source.topics)
        assert source.topics[scene.info].frame_id == scene.frame_id         # of the first that can be read
        camera = read_camera(source, chosen).camera
        assert (camera.fx, camera.cx, camera.width) == (scene.camera.fx, scene.camera.cx, scene.camera.width)
        assert len(list(read_frames(source, chosen))) == 3
    told = warnings(caplog)
    assert len(told) == 1 and f"a message on {scene.info} is not a readable sensor_msgs/msg/CameraInfo" in told[0]


def test_without_any_readable_camera_info_the_option_is_named(scene: type, tmp_path: Path) -> None:
    messages = typed(scene, 2, (scene.color, scene.depth, scene.info))
    with BagSource(write(tmp_path / "bag", messages, {2: None, 5: None})) as source, \
            pytest.raises(BagError, match="no readable messages; give --intrinsics"):
        read_camera(source, choose_topics(source.topics))


def test_a_damaged_transform_or_depth_camera_info_is_left_out(scene: type, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first message of each is cut, the second camera_info has no focal length: the third, and the second transform, serve."""
    depth = "/camera/depth/image_rect_raw"
    messages = []
    for topic, kind, time_ns, fields in typed(scene, 3, (scene.color, scene.depth, scene.info, scene.info)):
        messages.append((topic, kind, time_ns, fields | {"header": header(time_ns, "color")}))
    for number in range(3):
        *_, time_ns, fields = messages[4 * number + 3]
        p = np.array([[200.0 * number - 200, 0, 80, 0], [0, 200, 60, 0], [0, 0, 1, 0]])
        messages[4 * number + 3] = (DEPTH_INFO, "sensor_msgs/msg/CameraInfo", time_ns,
                                    fields | {"header": header(time_ns, "depth"), "k": p[:, :3].reshape(-1), "p": p.reshape(-1)})
        _, kind, time_ns, fields = messages[4 * number + 1]
        messages[4 * number + 1] = (depth, kind, time_ns, fields | {"header": header(time_ns, "depth")})
    first = messages[0][2]
    path = write(tmp_path / "bag", [transform(first, 9.0), transform(first, 0.05), *messages], {0: None, 5: None})
    with BagSource(path) as source:
        chosen = choose_topics(source.topics)
        assert (chosen.depth, chosen.camera_info) == (depth, scene.info)
        own = DepthStreams(source, chosen).camera(read_camera(source, chosen), "color", "depth")
    assert own.to_color.translation.tolist() == [0.05, 0, 0] and own.lens.camera.fx == 200 and own.lens.camera.cx == 80
    told = warnings(caplog)
    assert f"a message on {DEPTH_INFO} is not a readable" in told[0] and told[1:] == ["2 messages are damaged and were left out"]


def test_the_first_is_told_at_once_and_the_number_at_the_end(scene: type, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two colour images come a second time."""
    messages = typed(scene, 40, (scene.color, scene.depth))
    path = write(tmp_path / "bag", sorted([*messages, messages[4], messages[8]], key=lambda one: one[2]), {})
    with BagSource(path) as source:
        frames = read_frames(source, choose_topics(source.topics))
        next(frames)
        early = warnings(caplog)
        assert len(early) == 1 and f"a message on {scene.color} repeats the stamp" in early[0]
        assert len(list(frames)) == 39
    assert warnings(caplog)[1:] == ["2 messages repeat the stamp of an earlier one and were left out"]


def test_a_run_that_is_broken_off_tells_the_number_too(scene: type, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    messages = typed(scene, 40, (scene.color, scene.depth))
    path = write(tmp_path / "bag", messages, {3: None, 5: None, 7: None, 79: None})
    with BagSource(path) as source:
        frames = read_frames(source, choose_topics(source.topics))
        next(frames)
        early = warnings(caplog)
        assert len(early) == 1 and f"a message on {scene.depth} is not a readable" in early[0]
        frames.close()
    assert warnings(caplog)[1:] == ["3 messages are damaged and were left out"]


def test_a_message_that_cannot_be_decompressed_is_left_out(scene: type, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    messages = typed(scene, 3, (scene.color, scene.depth))
    with BagSource(write(tmp_path / "bag", messages, {2: ZSTD_MAGIC + bytes([255] * 40)})) as source:
        frames = list(read_frames(source, choose_topics(source.topics)))
    assert [frame.stamp_ns for frame in frames] == [scene.stamp(n) for n in (0, 2)]
    assert len(warnings(caplog)) == 1 and f"a message on {scene.color} cannot be decompressed" in warnings(caplog)[0]
