"""Recordings of the RealSense SDK, written here as its ros_writer.cpp lays them out: topics, encodings, empty frames, transforms, units."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dalf_core.camera import PinholeCamera
from dalf_core.depth_alignment import align_depth
from dalf_ros import register
from dalf_ros.errors import SetupError
from dalf_ros.offline.recording import open_recording

STREAMS = {"Depth_0": "/device_0/sensor_0/Depth_0", "Infrared_1": "/device_0/sensor_0/Infrared_1", "Color_0": "/device_0/sensor_1/Color_0"}
DEPTH_CAMERA = PinholeCamera(210.0, 210.0, 158.0, 88.0, 320, 180)
UNIT = 0.0001               # metres
FROM_REFERENCE = {"Depth_0": ((0.02, 0.0, 0.0), (0.0, 0.1, 0.0)), "Color_0": ((0.05, 0.004, 0.0), (0.0, 0.1, 0.0))}     # metres, radians
DEPTH_AT = np.array([0.03, 0.004, 0.0])         # of the depth camera's centre in the colour camera
NEAR = (-0.05, -0.04, 0.06, 0.05, 0.5)          # a rectangle before the board: left, top, right, bottom, distance, metres
FAR = 0.6


class SdkFile:
    """What is written; tests leave parts away."""

    def __init__(self) -> None:
        from rosbags.typesys import Stores, get_typestore

        self.store = get_typestore(Stores.ROS1_NOETIC)
        self.messages: list[tuple[str, int, object]] = []

    def make(self, kind: str, **fields: object) -> object:
        """A ROS 1 message; fields that are not given are 0."""
        members = {}
        for name, (_, how) in self.store.fielddefs[kind][1]:
            if name in fields:
                members[name] = fields[name]
            elif isinstance(how, str):
                members[name] = self.make(how)
            elif isinstance(how[0], tuple):
                members[name] = np.zeros(how[1], np.float64)
            else:
                members[name] = "" if how[0] == "string" else False if how[0] == "bool" else 0
        return self.store.types[kind](**members)

    def add(self, topic: str, kind: str, time_ns: int = 1, **fields: object) -> None:
        self.messages.append((topic, time_ns, self.make(kind, **fields)))

    def image(self, stream: str, number: int, pixels: np.ndarray, encoding: str) -> None:
        time_ns = 33_000_000 * number + 1
        seconds, rest = divmod(1_700_000_000_000_000_000 + time_ns, 1_000_000_000)
        head = self.make("std_msgs/msg/Header", seq=number,
                         stamp=self.store.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=rest))
        self.add(f"{STREAMS[stream]}/image/data", "sensor_msgs/msg/Image", time_ns, header=head, height=pixels.shape[0],
                 width=pixels.shape[1], encoding=encoding, step=pixels[0].nbytes,
                 data=np.ascontiguousarray(pixels).view(np.uint8).reshape(-1))

    def camera(self, stream: str, camera: PinholeCamera, model: str = "Brown Conrady", coefficients: tuple = (0.0,) * 5) -> None:
        k = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1])
        self.add(f"{STREAMS[stream]}/info/camera_info", "sensor_msgs/msg/CameraInfo", height=camera.height, width=camera.width,
                 distortion_model=model, D=np.array(coefficients, float), K=k)

    def pose(self, stream: str, translation: tuple, turn: tuple, group: int = 0) -> None:
        q = Rotation.from_rotvec(turn).as_quat()
        self.add(f"{STREAMS[stream]}/tf/{group}", "geometry_msgs/msg/Transform",
                 translation=self.make("geometry_msgs/msg/Vector3", **dict(zip("xyz", translation))),
                 rotation=self.make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", q))))

    def write(self, path: Path) -> Path:
        from rosbags.rosbag1 import Writer

        writer = Writer(path)
        writer.set_compression(Writer.CompressionFormat.LZ4)        # as the SDK does by default
        with writer:
            links: dict = {}
            for topic, time_ns, message in sorted(self.messages, key=lambda item: item[1]):
                if topic not in links:
                    links[topic] = writer.add_connection(topic, message.__msgtype__, typestore=self.store)
                writer.write(links[topic], time_ns, self.store.serialize_ros1(message, message.__msgtype__))
        return path


def depth_seen_by(camera: PinholeCamera, centre: np.ndarray) -> np.ndarray:
    """Metres: the rectangle before the board, as a camera looking along the colour camera's axis from `centre` sees it."""
    left, top, right, bottom, distance = NEAR
    corners = camera.project(np.array([[left, top, distance], [right, bottom, distance]]) - centre)
    x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    inside = (x > corners[0, 0]) & (x < corners[1, 0]) & (y > corners[0, 1]) & (y < corners[1, 1])
    return np.where(inside, distance, FAR)


def sdk_file(scene: type, poses: dict | None = None, frames: int = 3) -> SdkFile:
    made = SdkFile()
    made.add("/file_version", "std_msgs/msg/UInt32", data=3)
    made.add("/device_0/sensor_0/option/Depth Units/value", "std_msgs/msg/Float32", data=UNIT)
    made.add("/device_0/sensor_1/option/Exposure/value", "std_msgs/msg/Float32", data=156.0)
    made.camera("Depth_0", DEPTH_CAMERA)
    made.camera("Infrared_1", DEPTH_CAMERA)
    made.camera("Color_0", scene.camera, "Inverse Brown Conrady")
    for stream, pose in (FROM_REFERENCE if poses is None else poses).items():
        made.pose(stream, *pose)
    for number in range(frames):
        made.image("Color_0", number, scene.image(number)[:, :, ::-1], "rgb8")
        made.image("Infrared_1", number, scene.image(number)[:, :, 0], "8UC1")
        depth = depth_seen_by(DEPTH_CAMERA, DEPTH_AT)
        made.image("Depth_0", number, np.rint(depth / UNIT).astype(np.uint16), "mono16")
    return made


def opened(path: Path, *more: str):
    return open_recording(register.parser().parse_args([str(path), *more]))


def test_depth_is_aligned_by_what_the_file_says(scene: type, tmp_path: Path) -> None:
    with opened(sdk_file(scene).write(tmp_path / "sdk.bag")) as recording:
        assert recording.description == (
            "a recording of the RealSense SDK: colour: /device_0/sensor_1/Color_0/image/data, "
            "depth: /device_0/sensor_0/Depth_0/image/data, camera_info: /device_0/sensor_1/Color_0/info/camera_info, "
            "mask: none; depth in units of 0.0001 m")
        color, frames = recording.camera(), list(recording.frames())
        assert len(frames) == 3 and color.is_pinhole and color.camera == scene.camera
        np.testing.assert_array_equal(frames[0].image, scene.image(0))
        frame = frames[1]
        np.testing.assert_allclose(frame.depth_m, depth_seen_by(DEPTH_CAMERA, DEPTH_AT), atol=1e-6)
        own = recording.depth_camera(color, frame.frame_id, frame.depth_frame_id)
    assert own.lens.camera == DEPTH_CAMERA
    np.testing.assert_allclose(own.to_color.rotation, np.eye(3), atol=1e-7)
    np.testing.assert_allclose(own.to_color.translation, DEPTH_AT, atol=1e-7)
    aligned = align_depth(frame.depth_m, own.lens.camera, color.camera, own.to_color.rotation, own.to_color.translation)
    truth = depth_seen_by(scene.camera, np.zeros(3))
    both = np.isfinite(aligned)
    wrong = np.abs(aligned - truth)[both] > 1e-3        # pixels at the rectangle's borders
    assert both.mean() > 0.6 and wrong.mean() < 0.01
    apart = align_depth(frame.depth_m, own.lens.camera, color.camera, np.eye(3), np.zeros(3))        # as if it were one camera
    assert (np.abs(apart - truth)[np.isfinite(apart)] > 1e-3).mean() > 3 * wrong.mean()


def test_it_is_registered(scene: type, tmp_path: Path, command) -> None:
    code, text, errors = command(register.main, sdk_file(scene).write(tmp_path / "sdk.bag"), "--output", tmp_path / "out", "--top-k", 300,
                                 "--no-video")
    assert code == 0, errors
    assert "tracked 100%" in text and "depth is not aligned with colour: it is aligned here, from the depth camera to the colour" in text


@pytest.mark.parametrize("poses", [{}, {"Depth_0": FROM_REFERENCE["Depth_0"]}, {"Depth_0": FROM_REFERENCE["Depth_0"],
                                                                                "Color_0": (*FROM_REFERENCE["Color_0"], 1)}])
def test_cameras_that_are_not_placed_are_refused_with_the_mend(scene: type, tmp_path: Path, poses: dict) -> None:
    path = sdk_file(scene, poses).write(tmp_path / "sdk.bag")
    with pytest.raises(SetupError, match="does not say where /device_0/sensor_0/Depth_0/image/data is seen .* --depth-to-color"):
        opened(path)
    with opened(path, "--depth-to-color", "0.03,0.004,0,0,0,0,1") as recording:
        own = recording.depth_camera(recording.camera(), "", "")
    np.testing.assert_allclose(own.to_color.translation, DEPTH_AT, atol=1e-7)
    with opened(path, "--no-check-frames") as recording:
        assert recording.depth_camera(recording.camera(), "", "") is None


@pytest.mark.parametrize("unit", [None, float("nan"), float("inf"), 0.0])
def test_without_usable_units_it_is_millimetres(scene: type, tmp_path: Path, unit: float | None) -> None:
    made = sdk_file(scene)
    made.messages = [item for item in made.messages if "Depth Units" not in item[0]]
    if unit is not None:
        made.add("/device_0/sensor_0/option/Depth Units/value", "std_msgs/msg/Float32", data=unit)
    with opened(made.write(tmp_path / "sdk.bag")) as recording:
        assert np.nanmin(next(iter(recording.frames())).depth_m) == pytest.approx(NEAR[4] / UNIT * 0.001)


@pytest.mark.parametrize(("model", "known_as", "count"), [
    ("Brown Conrady", "plumb_bob", 5), ("Inverse Brown Conrady", "plumb_bob", 5), ("Modified Brown Conrady", "plumb_bob", 5),
    ("Kannala Brandt4", "equidistant", 4)])
def test_distortion_by_the_names_of_the_sdk(scene: type, tmp_path: Path, model: str, known_as: str, count: int) -> None:
    made, coefficients = sdk_file(scene), (0.1, -0.2, 0.001, -0.002, 0.05)
    made.messages = [item for item in made.messages if "Color_0/info" not in item[0]]
    made.camera("Color_0", scene.camera, model, coefficients)
    with opened(made.write(tmp_path / "sdk.bag")) as recording:
        lens = recording.camera()
    assert lens.model == known_as and lens.coefficients == coefficients[:count]
