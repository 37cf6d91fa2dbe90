"""Small recordings of a textured board that slides sideways: every frame's true motion is known."""
from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_ros.image_conversion import from_color, from_color_compressed, from_depth, from_mask
from dalf_ros.message_factory import bag_message, bag_typestore
from dalf_ros.messages import camera_info, header

CAMERA = PinholeCamera(200.0, 200.0, 95.5, 71.5, 192, 144)
DISTANCE_M = 0.6
SHIFT_PX = 2.0                  # between frames; on the board, SHIFT_PX * DISTANCE_M / fx metres
PERIOD_NS = 100_000_000
FIRST_NS = 1_700_000_000_000_000_000
FRAME = "camera_color_optical_frame"
COLOR, DEPTH = "/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw"
INFO, MASK = "/camera/color/camera_info", "/camera/object_mask"
TYPES = {COLOR: "sensor_msgs/msg/Image", DEPTH: "sensor_msgs/msg/Image", INFO: "sensor_msgs/msg/CameraInfo", MASK: "sensor_msgs/msg/Image",
         COLOR + "/compressed": "sensor_msgs/msg/CompressedImage"}


def board(number: int) -> np.ndarray:
    """The colour image of a frame, BGR."""
    rng = np.random.default_rng(5)
    texture = sum(cv2.resize(rng.random((18 * k, 32 * k, 3), np.float32), (320, 180), interpolation=cv2.INTER_CUBIC) / k for k in (1, 2, 4))
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    shift = np.float32([[1, 0, SHIFT_PX * number - 60], [0, 1, -18]])
    return cv2.warpAffine(texture, shift, (CAMERA.width, CAMERA.height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def board_depth() -> np.ndarray:
    """The depth image of every frame, metres, with a corner of no readings."""
    depth = np.full((CAMERA.height, CAMERA.width), DISTANCE_M, np.float32)
    depth[:8, :8] = np.nan
    return depth


def stamp(number: int) -> int:
    return FIRST_NS + number * PERIOD_NS


def scene_messages(frames: int, topics: tuple[str, ...], depth_delay_ns: int = 0) -> list[tuple[str, int, dict]]:
    """(topic, recording time, fields) of a recording."""
    out = []
    mask = np.zeros((CAMERA.height, CAMERA.width), np.uint8)
    mask[20:-20, 20:-20] = 255
    for number in range(frames):
        head = header(stamp(number), FRAME)
        depth_head = header(stamp(number) + depth_delay_ns, FRAME)
        fields = {COLOR: lambda h=head, n=number: from_color(board(n), h),
                  DEPTH: lambda h=depth_head: from_depth(board_depth(), h, "16UC1"),
                  INFO: lambda h=head: camera_info(CAMERA, h), MASK: lambda h=head: from_mask(mask, h),
                  COLOR + "/compressed": lambda h=head, n=number: from_color_compressed(board(n), h)}
        out += [(topic, stamp(number), fields[topic]()) for topic in topics]
    return out


def write_bag2(path: Path, messages: list[tuple[str, int, dict]], storage: str = "mcap", compression: str = "none") -> Path:
    """A rosbag2 folder; compression: none, message, file, storage."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    store = bag_typestore()
    writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        links = {topic: writer.add_connection(topic, TYPES[topic], typestore=store) for topic in dict.fromkeys(m[0] for m in messages)}
        for topic, time_ns, fields in messages:
            writer.write(links[topic], time_ns, store.serialize_cdr(bag_message(TYPES[topic], fields), TYPES[topic]))
    return path


def write_bag1(path: Path, messages: list[tuple[str, int, dict]]) -> Path:
    """A ROS 1 .bag file."""
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    with Writer(path) as writer:
        links = {}
        for topic, time_ns, fields in messages:
            kind = TYPES[topic]
            if topic not in links:
                links[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(links[topic], time_ns, store.serialize_ros1(_ros1(store, kind, fields), kind))
    return path


def _ros1(store: object, kind: str, fields: dict) -> object:
    """The ROS 2 fields as a ROS 1 message: a sequence number in the header, capital letters in CameraInfo."""
    message = bag_message(kind, fields)
    head = message.header
    stamped = store.types["std_msgs/msg/Header"](seq=0, stamp=head.stamp, frame_id=head.frame_id)
    members = {name: getattr(message, name, getattr(message, name.lower(), None)) for name, _ in store.fielddefs[kind][1]}
    return store.types[kind](**{**members, "header": stamped})


@pytest.fixture(scope="session")
def scene() -> type:
    """The constants and functions above, for tests that compare with the truth."""
    class Scene:
        camera, distance_m, frame_id, period_ns = CAMERA, DISTANCE_M, FRAME, PERIOD_NS
        color, depth, info, mask = COLOR, DEPTH, INFO, MASK
        shift_m = SHIFT_PX * DISTANCE_M / CAMERA.fx
        image, depth_m, stamp = staticmethod(board), staticmethod(board_depth), staticmethod(stamp)
        messages, write_bag2, write_bag1 = staticmethod(scene_messages), staticmethod(write_bag2), staticmethod(write_bag1)

    return Scene


@pytest.fixture(scope="session")
def rgbd_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames with colour, depth, camera_info and mask, as a rosbag2 mcap folder. Read only."""
    return write_bag2(tmp_path_factory.mktemp("bags") / "rgbd", scene_messages(12, (COLOR, DEPTH, INFO, MASK)))


@pytest.fixture
def bag_copy(rgbd_bag: Path, tmp_path: Path) -> Path:
    """A copy of rgbd_bag that a test may spoil."""
    return Path(shutil.copytree(rgbd_bag, tmp_path / "rgbd"))


@pytest.fixture
def official_weights(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The official checkpoint, served to every process through DALF_WEIGHTS."""
    path = data_folder / "dalf" / "model_ts-fl_final.pth"
    monkeypatch.setenv("DALF_WEIGHTS", str(path))
    return path


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command's main() in this process: (exit status, stdout, stderr)."""
    def run(main: Callable[[list[str]], int], *arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    return run
