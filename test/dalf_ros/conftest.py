"""Small recordings of a textured board that slides sideways: every frame's true motion is known."""
from __future__ import annotations

import gzip
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_core.lens import Lens
from dalf_core.tracking import FrameMatches
from dalf_core.types import Matches
from dalf_ros.conversions.message_factory import bag_message, bag_typestore
from dalf_ros.conversions.messages import camera_info, header, stamp_ns
from dalf_ros.images.image_conversion import from_color, from_color_compressed, from_depth, from_mask

CAMERA = PinholeCamera(200.0, 200.0, 95.5, 71.5, 192, 144)
DISTANCE_M = 0.6
SHIFT_PX = 2.0                  # between frames; on the board, SHIFT_PX * DISTANCE_M / fx metres
PERIOD_NS = 100_000_000
FIRST_NS = 1_700_000_000_000_000_000
FRAME = "camera_color_optical_frame"
COLOR, DEPTH = "/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw"
CLOUD = "/camera/depth_registered/points"
INFO, MASK = "/camera/color/camera_info", "/camera/object_mask"
TYPES = {COLOR: "sensor_msgs/msg/Image", DEPTH: "sensor_msgs/msg/Image", CLOUD: "sensor_msgs/msg/PointCloud2",
         INFO: "sensor_msgs/msg/CameraInfo", MASK: "sensor_msgs/msg/Image",
         **dict.fromkeys((COLOR + "/compressed", DEPTH + "/compressed", DEPTH + "/compressedDepth", COLOR + "/zstd", DEPTH + "/zstd"),
                         "sensor_msgs/msg/CompressedImage")}


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
                  COLOR + "/compressed": lambda h=head, n=number: from_color_compressed(board(n), h),
                  DEPTH + "/compressed": lambda h=depth_head: packed_depth(board_depth(), h, "16UC1; png compressed"),
                  DEPTH + "/compressedDepth": lambda h=depth_head: packed_depth(board_depth(), h, "16UC1; compressedDepth png"),
                  COLOR + "/zstd": lambda h=head, n=number: zstd_image(from_color(board(n), h)),
                  DEPTH + "/zstd": lambda h=depth_head: zstd_image(from_depth(board_depth(), h, "16UC1")),
                  CLOUD: lambda h=depth_head: organised_cloud(board_depth(), h)}
        out += [(topic, stamp(number), fields[topic]()) for topic in topics]
    return out


def packed_depth(depth_m: np.ndarray, head: dict, form: str) -> dict:
    """Millimetres as PNG in a CompressedImage; twelve bytes of header before it for compressedDepth."""
    png = cv2.imencode(".png", np.nan_to_num(1000 * depth_m).round().astype(np.uint16))[1].reshape(-1)
    return {"header": head, "format": form, "data": np.concatenate([np.zeros(12 * ("compressedDepth" in form), np.uint8), png])}


def zstd_image(fields: dict) -> dict:
    """An Image's fields as image_transport's zstd plugin packs them."""
    name = fields["encoding"].encode()
    head = struct.pack("<IIBII", fields["height"], fields["width"], fields["is_bigendian"], fields["step"], len(name)) + name
    data = head + gzip.compress(fields["data"].tobytes(), 3)
    return {"header": fields["header"], "format": "zstd", "data": np.frombuffer(data, np.uint8)}


def organised_cloud(depth_m: np.ndarray, head: dict) -> dict:
    """Depth of CAMERA as depth_image_proc makes an organised cloud of it: 16 bytes a point, x, y, z and four that are empty."""
    height, width = depth_m.shape
    y, x = np.mgrid[:height, :width].astype(float)
    points = np.zeros((height, width, 4), "<f4")
    points[..., :3] = CAMERA.lift(np.stack([x, y], axis=-1).reshape(-1, 2), depth_m.reshape(-1)).reshape(height, width, 3)
    fields = [{"name": name, "offset": 4 * number, "datatype": 7, "count": 1} for number, name in enumerate("xyz")]
    return {"header": head, "height": height, "width": width, "fields": fields, "is_bigendian": False, "point_step": 16,
            "row_step": 16 * width, "data": points.view(np.uint8).reshape(-1), "is_dense": False}


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
        color, depth, info, mask, points = COLOR, DEPTH, INFO, MASK, CLOUD
        shift_m = SHIFT_PX * DISTANCE_M / CAMERA.fx
        image, depth_m, stamp = staticmethod(board), staticmethod(board_depth), staticmethod(stamp)
        zstd_image, organised_cloud = staticmethod(zstd_image), staticmethod(organised_cloud)
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


# ---------------------------------------------------------------- live nodes

class Peer:
    """A node of the test's process: it publishes, keeps what it hears by topic, and calls services."""

    def __init__(self, context: object, name: str = "peer") -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.node = rclpy.create_node(name, context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.got: dict[str, list] = {}
        self._publishers: dict[str, object] = {}
        self._clients: dict[str, object] = {}

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()

    def until(self, condition: Callable[[], object], timeout: float = 60.0) -> bool:
        """Spin until the condition holds; whether it does in time."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.executor.spin_once(timeout_sec=0.02)
        return True

    def spin(self, seconds: float) -> None:
        self.until(lambda: False, seconds)

    def hear(self, topic: str, kind: str, latched: bool = False) -> list:
        """The messages of a topic: a list that grows."""
        from dalf_ros.conversions.message_factory import ros_class
        from dalf_ros.nodes.inputs import LATCHED_QOS, RESULT_QOS

        if topic not in self.got:
            self.got[topic] = []
            self.node.create_subscription(ros_class(kind), topic, self.got[topic].append, LATCHED_QOS if latched else RESULT_QOS)
        return self.got[topic]

    def publisher(self, topic: str, kind: str, to: tuple[str, ...] = ()) -> object:
        """A reliable publisher that somebody listens to, and who listens knows of it. to: full names of nodes that must be among them."""
        from dalf_ros.conversions.message_factory import ros_class
        from dalf_ros.nodes.inputs import RESULT_QOS

        if topic in self._publishers:
            return self._publishers[topic]
        made = self._publishers[topic] = self.node.create_publisher(ros_class(kind), topic, RESULT_QOS)

        def is_heard() -> bool:
            names = self.listeners(topic)
            return made.get_subscription_count() >= len(names) > 0 and names >= set(to)

        assert self.until(is_heard, 60), f"only {self.listeners(topic)} listen to {topic}"
        for node in self.listeners(topic) - {self.node.get_fully_qualified_name()}:
            self.be_known_to(node)
        return made

    def listeners(self, topic: str) -> set[str]:
        """Full names of the nodes that subscribe to a topic, as far as they are told."""
        infos = self.node.get_subscriptions_info_by_topic(topic)
        return {f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos if not info.node_name.startswith("_NODE")}

    def be_known_to(self, node: str, timeout: float = 60.0) -> None:
        """Return once a node's process knows of everything that this one has made so far: publishers, subscriptions, clients.

        This side knows of a match before the other one does, and until then the other one's best effort loses what is sent, as does the
        answer of a service. Discovery is told in order and reliably: who answers a client knows of what was made before that client.
        """
        from rcl_interfaces.srv import ListParameters

        client = self.node.create_client(ListParameters, f"{node}/list_parameters")
        deadline = time.monotonic() + timeout
        while True:
            assert time.monotonic() < deadline, f"{node} does not answer"
            if self.until(client.service_is_ready, 2.0) and self.until(client.call_async(ListParameters.Request()).done, 2.0):
                break           # else it was asked before it knew where to answer
        self.node.destroy_client(client)

    def publish(self, topic: str, kind: str, fields: dict) -> None:
        from dalf_ros.conversions.message_factory import ros_message

        self.publisher(topic, kind).publish(ros_message(kind, fields))

    def unpublish(self, topic: str) -> None:
        """End the publisher of a topic."""
        self.node.destroy_publisher(self._publishers.pop(topic))

    def client(self, service: str, kind: object, timeout: float = 60.0) -> object:
        """A client that its server knows of. service: of a node, "/its/name/service"."""
        if service not in self._clients:
            made = self.node.create_client(kind, service)
            assert self.until(made.service_is_ready, timeout), f"{service} did not appear"
            self.be_known_to(service.rpartition("/")[0], timeout)
            self._clients[service] = made
        assert self.until(self._clients[service].service_is_ready, timeout), f"{service} did not appear"
        return self._clients[service]

    def call(self, service: str, kind: object, request: object, timeout: float = 60.0) -> object:
        future = self.client(service, kind, timeout).call_async(request)
        assert self.until(future.done, timeout), f"{service} did not answer"
        return future.result()

    def set_parameters(self, node: str, **values: object) -> list[tuple[bool, str]]:
        """Set parameters of a node: (accepted, reason) of each."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()])
        answer = self.call(f"{node}/set_parameters", SetParameters, request)
        return [(result.successful, result.reason) for result in answer.results]

    def diagnostics(self, name: str) -> dict[str, str]:
        """What a node tells of itself from now on, the next time that it does; its level as "level"."""
        heard, asked_ns = self.hear("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray"), time.time_ns()

        def told() -> list:
            return [status for array in heard if stamp_ns(array.header) >= asked_ns for status in array.status if status.name == name]

        assert self.until(told, 60), f"no diagnostics of {name}"
        status = told()[-1]
        return {pair.key: pair.value for pair in status.values} | {"level": str(status.level[0]), "message": status.message}


def reliably(*names: str) -> list[str]:
    """Words of a node's command line: it subscribes to these topics, which sensors publish at best effort, reliably.

    For tests that send one frame and wait for its answer: on a busy machine best effort loses it now and then.
    """
    return [word for name in names for word in ("-p", f"qos_overrides.{name}.subscription.reliability:=reliable")]


@pytest.fixture(scope="module")
def peer(ros_graph: object) -> Iterator[Peer]:
    """A node of this process in the module's domain."""
    made = Peer(ros_graph.context)  # type: ignore[attr-defined]
    yield made
    made.close()


@pytest.fixture
def own_peer(own_graph: object) -> Iterator[Peer]:
    """A node of this process in the test's own domain."""
    made = Peer(own_graph.context)  # type: ignore[attr-defined]
    yield made
    made.close()


class Relief:
    """A wavy wall that moves sideways before a camera with a lens: exact depth images, exact pixel pairs."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.size = (lens.camera.width, lens.camera.height)

    @staticmethod
    def height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """z of the surface at rest, metres."""
        return 0.6 + 0.02 * np.sin(20 * x + 0.4) * np.cos(17 * y) + 0.05 * x

    def points(self, xy: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """(N, 3) where the rays of the lens's pixels (N, 2) meet the surface moved by shift (3,), by iterating z = height."""
        camera = self.lens.camera
        pinhole = self.lens.undistort(xy)
        rays = np.stack([(pinhole[:, 0] - camera.cx) / camera.fx, (pinhole[:, 1] - camera.cy) / camera.fy], axis=1)
        z = np.full(len(rays), 0.6)
        for _ in range(40):
            z = self.height(*(rays * z[:, None] - shift[:2]).T) + shift[2]
        return np.column_stack([rays * z[:, None], z])

    def depth(self, shift: np.ndarray, noise_m: float = 0.0) -> np.ndarray:
        """(H, W) float32 metres along z."""
        x, y = np.meshgrid(np.arange(self.size[0]), np.arange(self.size[1]))
        z = self.points(np.stack([x, y], axis=-1).reshape(-1, 2).astype(float), shift)[:, 2].reshape(self.size[1], self.size[0])
        return (z + np.random.default_rng(3).normal(0, noise_m, z.shape) if noise_m else z).astype(np.float32)

    def matches(self, stamp_ns: int, shift: np.ndarray, reference_stamp_ns: int, reference_shift: np.ndarray,
                count: int = 150) -> FrameMatches:
        """Exact pixel pairs of points of the surface between two of its places."""
        rng = np.random.default_rng(7)
        reference_xy = rng.uniform([8, 8], [self.size[0] - 9, self.size[1] - 9], (count, 2))
        points = self.points(reference_xy, reference_shift) - reference_shift + shift
        query_xy = self.lens.distort(self.lens.camera.project(points))
        index = np.arange(count)
        return FrameMatches(stamp_ns, reference_stamp_ns, self.size, self.size,
                            Matches(index, index, np.zeros(count, np.float32), np.ones(count, bool)),
                            reference_xy.astype(np.float32), query_xy.astype(np.float32))


@pytest.fixture(scope="session")
def relief() -> type[Relief]:
    return Relief
