"""One registration_node process that many tests talk to: exact matches and depth in, vertices compared with the truth."""
from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dalf_core.camera import PinholeCamera
from dalf_core.lens import PLUMB_BOB, Lens
from dalf_ros.conversions import messages as convert
from dalf_ros.conversions import topics
from dalf_ros.conversions.message_factory import ros_class, ros_message
from dalf_ros.images.image_conversion import from_color, from_color_compressed, from_depth

pytest.importorskip("rclpy")

from dalf_ros.nodes.inputs import LATCHED_QOS  # noqa: E402

from .conftest import reliably  # noqa: E402

CAMERA = PinholeCamera(200.0, 201.0, 95.5, 70.2, 192, 144)
BARREL = (-0.30, 0.10, 0.001, -0.0007, -0.01)
IMAGE, COMPRESSED, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo"
FRAME = "camera_color_optical_frame"
STEP = np.array([0.004, -0.002, 0.001])         # metres a frame
REST = np.zeros(3)


class Bench:
    """The node and what it is fed. Every test begins at a later stamp with a new reference image."""

    depth_topic, depth_kind = "/depth", IMAGE
    more_topics: tuple[str, ...] = ("/image",)
    remappings: tuple[str, ...] = ()

    def __init__(self, graph, peer, namespace: str = "", **parameters: object) -> None:
        self.peer, self.namespace = peer, namespace
        defaults = {"silence_warning": 3600.0, "max_vertices": 2000, "save_folder": tempfile.gettempdir()}
        words = [word for name, value in {**defaults, **parameters}.items() for word in ("-p", f"{name}:={value}")]
        words += reliably(*(namespace + topic for topic in (self.depth_topic, "/camera_info", *self.more_topics)))
        known = self.endpoints()        # of a node that was killed: ROS believes in it for twenty seconds more
        self.node = graph.start("dalf_ros.registration_node", "--ros-args", *words, "-r", f"__ns:={namespace or '/'}",
                                *(word for remapping in self.remappings for word in ("-r", remapping)))
        self.status, self.mesh, self.reference = (
            peer.hear(f"{namespace}/{name}", topics.TYPES[name], name in topics.LATCHED)
            for name in (topics.STATUS, topics.MESH, topics.REFERENCE))
        self.began = self.now = 1_700_000_000_000_000_000
        assert peer.until(lambda: len(self.endpoints() - known) == 4, 120), self.node.output
        for topic, kind in ((self.depth_topic, self.depth_kind), ("/camera_info", "sensor_msgs/msg/CameraInfo"),
                            ("/matches", "dalf/msg/MatchArray")):
            peer.publisher(namespace + topic, kind)
        peer.be_known_to(f"{namespace}/registration_node")      # also where publishers are left of a node before

    def endpoints(self) -> set[bytes]:
        """Identities of the publishers of status and of the subscriptions that the bench serves."""
        found = self.peer.node.get_publishers_info_by_topic(f"{self.namespace}/status")
        for topic in (self.depth_topic, "/camera_info", "/matches"):
            found += self.peer.node.get_subscriptions_info_by_topic(self.namespace + topic)
        return {bytes(info.endpoint_gid) for info in found}

    def begin(self) -> None:
        """From here on another reference image."""
        self.began = self.now = self.now + 10_000_000_000

    def send(self, scene, shift=REST, *, stamp=None, depth=None, depth_frame=FRAME, matches_frame=FRAME, info=True, color=None) -> int:
        """One frame of a scene moved by shift, of one colour (BGR); its stamp."""
        self.now = self.now + 100_000_000 if stamp is None else stamp
        head = convert.header(self.now, depth_frame)
        if color is not None:
            image = np.full((scene.size[1], scene.size[0], 3), color, np.uint8)
            self.peer.publish(self.namespace + "/image", IMAGE, from_color(image, convert.header(self.now, FRAME)))
        if info:
            self.info(scene.lens)
        depth = self.packed(scene.depth(shift) if depth is None else depth, head)
        self.peer.publish(self.namespace + self.depth_topic, self.depth_kind, depth)
        pairs = scene.matches(self.now, shift, self.began, REST)
        self.peer.publish(f"{self.namespace}/matches", "dalf/msg/MatchArray", convert.match_array(pairs, matches_frame))
        return self.now

    def show(self, scene) -> None:
        """Send frames until one is answered: after another camera the first one is skipped."""
        for _ in range(20):
            stamp = self.send(scene)
            if self.peer.until(lambda stamp=stamp: of_stamp(self.status, stamp), 2.0):
                break
        if self.answer(stamp).status == 1:      # then one of them became the reference: not to be taken for that of the test
            assert self.peer.until(lambda: convert.stamp_ns(self.reference[-1].header) > self.began if self.reference else False)

    def change_camera(self, scene) -> None:
        """One frame of another camera, which is skipped."""
        name = f"{self.namespace}/registration_node"
        refused = int(self.peer.diagnostics(name)["refused"])
        self.send(scene)
        assert self.peer.until(lambda: int(self.peer.diagnostics(name)["refused"]) == refused + 1)
        assert "a frame of another camera" in self.peer.diagnostics(name)["last_refusal"]

    def packed(self, depth: np.ndarray, head: dict) -> dict:
        return from_depth(depth, head)

    def info(self, lens: Lens) -> None:
        fields = convert.camera_info(lens.camera, convert.header(self.now, FRAME), lens.model, lens.coefficients or (0.0,) * 5)
        self.peer.publish(f"{self.namespace}/camera_info", "sensor_msgs/msg/CameraInfo", fields)

    def answer(self, stamp: int, timeout: float = 60.0):
        """The status message of a stamp."""
        assert self.peer.until(lambda: of_stamp(self.status, stamp), timeout), self.node.output
        return of_stamp(self.status, stamp)[-1]

    def vertices(self, stamp: int) -> np.ndarray:
        assert self.peer.until(lambda: of_stamp(self.mesh, stamp)), self.node.output
        return convert.mesh_of(of_stamp(self.mesh, stamp)[-1])["vertices"].astype(float)

    def reference_of(self, stamp: int):
        """The reference surface that the frame of this stamp became."""
        assert self.peer.until(lambda: of_stamp(self.reference, stamp)), self.node.output
        return of_stamp(self.reference, stamp)[-1]

    def follow(self, scene, frames: int = 3, **more) -> tuple[np.ndarray, np.ndarray]:
        """Some frames: the first one's vertices, and the last one's with its motion taken away."""
        for number in range(frames):
            stamp = self.send(scene, number * STEP, **more)
            status = self.answer(stamp)
            assert status.status == 1, status.reason
            if number == 0:
                first = self.vertices(stamp)
        return first, self.vertices(stamp) - (frames - 1) * STEP


@pytest.fixture(scope="module")
def bench(ros_graph, peer) -> Iterator[Bench]:
    made = Bench(ros_graph, peer)
    yield made
    assert made.node.stop() == 0 and "Traceback" not in made.node.output, made.node.output


@pytest.fixture
def scene(bench: Bench, relief):
    bench.begin()
    made = relief(Lens(CAMERA))
    bench.show(made)
    bench.begin()
    return made


def of_stamp(messages: list, stamp: int) -> list:
    return [message for message in messages if convert.stamp_ns(message.header) == stamp]


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def test_lens_distortion_is_undone(bench: Bench, scene, relief) -> None:
    bent = relief(Lens(CAMERA, PLUMB_BOB, BARREL))
    bench.change_camera(bent)
    first, last = bench.follow(bent)
    assert rms(first[:, 2] - bent.height(first[:, 0], first[:, 1])) < 2e-4 and rms(last - first) < 6e-4
    assert "plumb_bob distortion, which is undone" in bench.node.output


def test_unknown_distortion_is_told_once(bench: Bench, scene) -> None:
    head = convert.header(bench.now, FRAME)
    for _ in range(3):
        bench.now += 100_000_000
        head = convert.header(bench.now, FRAME)
        bench.peer.publish("/camera_info", "sensor_msgs/msg/CameraInfo", convert.camera_info(CAMERA, head, "fancy", (0.1,)))
        bench.answer(bench.send(scene, stamp=bench.now, info=False))
    bench.follow(scene)         # and it goes on when that is mended
    told = [line for line in bench.node.lines if "'fancy' is not known" in line]
    assert len(told) == 1 and "ERROR" in told[0]


def test_depth_of_another_resolution(bench: Bench, scene, relief) -> None:
    """Depth at half the resolution: its pixel u is the colour image's 2 u + 0.5."""
    half = relief(Lens(CAMERA.scaled(96, 72)))
    bench.change_camera(half)
    for number in range(3):
        bench.info(scene.lens)
        stamp = bench.send(scene, number * STEP, depth=half.depth(number * STEP), info=False)
        assert bench.answer(stamp).status == 1
        if number == 0:
            first = bench.vertices(stamp)
    assert rms(first[:, 2] - scene.height(first[:, 0], first[:, 1])) < 3.5e-4    # half a pixel off would be 1.5 mm, times the slope
    assert rms(bench.vertices(stamp) - 2 * STEP - first) < 6e-4


def test_depth_of_another_shape_is_refused(bench: Bench, scene) -> None:
    """Its status says why: waiting while there is no surface, lost when there is; the frames around it do not care."""
    from std_srvs.srv import Trigger

    odd = np.full((108, 192), 0.6, np.float32)
    assert bench.peer.call("/registration_node/reset", Trigger, Trigger.Request()).success
    waiting = bench.answer(bench.send(scene, depth=odd))
    first, _ = bench.follow(scene, 1)
    lost = bench.answer(bench.send(scene, depth=odd))
    assert (waiting.status, lost.status) == (0, 3) and "depth is 192x108" in waiting.reason and waiting.reason == lost.reason
    stamp = bench.send(scene, STEP)
    assert bench.answer(stamp).status == 1 and rms(bench.vertices(stamp) - STEP - first) < 6e-4
    assert bench.peer.until(lambda: "depth is 192x108 but camera_info describes 192x144" in bench.node.output)
    bench.follow(scene, 1)


def test_depth_in_another_frame_is_refused(bench: Bench, scene) -> None:
    for _ in range(3):
        bench.answer(bench.send(scene, depth_frame="camera_depth_optical_frame"))
    bench.follow(scene, 1, depth_frame="/" + FRAME)         # ROS 1 writes names with a slash
    told = [line for line in bench.node.lines if "depth is in frame camera_depth_optical_frame" in line]
    assert len(told) == 1 and "ERROR" in told[0] and "check_frames" in told[0]


def test_an_endoscope(ros_graph, peer, relief) -> None:
    """Depth of 0.1 mm units at 4 cm: the scene of the other tests, fifteen times as small."""
    class Small(Bench):
        def packed(self, depth: np.ndarray, head: dict) -> dict:
            return from_depth(10 * depth / 15, head, "16UC1")

    scene = relief(Lens(CAMERA))
    near = Small(ros_graph, peer, "/near", depth_scale=1e-4, min_depth=0.005, max_depth=0.5, depth_noise=0.0002)
    first, last = near.follow(scene)
    last = last + 2 * STEP - 2 * STEP / 15
    assert rms(15 * first[:, 2] - scene.height(*(15 * first[:, :2]).T)) < 1e-3 and rms(15 * (last - first)) < 2e-3
    assert 0.03 < first[:, 2].min() < first[:, 2].max() < 0.05
    assert near.node.stop() == 0


def test_depth_of_a_unit_that_cannot_be_metres(bench: Bench, scene) -> None:
    for _ in range(3):
        bench.answer(bench.send(scene, depth=1000 * scene.depth(REST)))
    bench.follow(scene, 1)
    told = [line for line in bench.node.lines if "set depth_scale to the metres per unit" in line]
    assert len(told) == 1 and "ERROR" in told[0]


class ApartBench(Bench):
    """Depth of a camera of its own: 5 cm beside the colour camera, turned, of another resolution."""

    depth_topic, remappings = "/infra/image", ("depth:=/apart/infra/image",)
    more_topics = ("/infra/camera_info",)
    lens = Lens(PinholeCamera(180.0, 180.0, 83.0, 60.0, 170, 120))
    pose = (-0.05, 0.004, 0.002, 0.01, -0.02, 0.005, 0.99973)      # in the colour camera's frame

    def depth_info(self) -> None:
        head = convert.header(self.now, "infra_frame")
        self.peer.publish("/apart/infra/camera_info", INFO, convert.camera_info(self.lens.camera, head))

    def depth(self, scene, shift: np.ndarray) -> np.ndarray:
        """Where each ray meets the surface that has moved by shift, by iteration."""
        x, y = np.meshgrid(np.arange(170.0), np.arange(120.0))
        rays = self.lens.camera.lift(np.stack([x, y], axis=-1).reshape(-1, 2), np.ones(170 * 120))
        rays = Rotation.from_quat(self.pose[3:]).apply(rays)
        z = np.full(len(rays), 0.6)
        for _ in range(60):
            points = rays * z[:, None] + self.pose[:3] - shift
            z += (scene.height(points[:, 0], points[:, 1]) - points[:, 2]) / rays[:, 2]
        return z.reshape(120, 170).astype(np.float32)


def test_depth_of_another_camera_is_aligned(ros_graph, peer, scene) -> None:
    """Its camera_info lies beside the depth topic; the transform is a parameter. Results are in the frame of the matched images."""
    apart = ApartBench(ros_graph, peer, "/apart", depth_to_color=list(ApartBench.pose))
    for number in range(4):
        apart.depth_info()
        peer.spin(0.1)
        stamp = apart.send(scene, number * STEP, depth=apart.depth(scene, number * STEP), depth_frame="infra_frame")
        assert apart.answer(stamp).status == 1
        if number == 0:
            first = apart.vertices(stamp)
    last = apart.vertices(stamp) - 3 * STEP
    assert rms(first[:, 2] - scene.height(first[:, 0], first[:, 1])) < 3e-4 and rms(last - first) < 8e-4
    assert apart.mesh[-1].header.frame_id == FRAME
    told = [line for line in apart.node.lines if "depth is not aligned with colour: it is aligned here" in line]
    assert len(told) == 1 and "from frame infra_frame (170x120)" in told[0]
    assert apart.node.stop() == 0


def test_the_transform_of_tf_static(ros_graph, peer, scene) -> None:
    """The same, from /tf_static, which was published before."""
    tf2 = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not among the ROS wheels")
    from geometry_msgs.msg import TransformStamped

    static = TransformStamped(child_frame_id="infra_frame")
    static.header.frame_id = FRAME
    t, q = static.transform.translation, static.transform.rotation
    t.x, t.y, t.z, q.x, q.y, q.z, q.w = ApartBench.pose
    publisher = peer.node.create_publisher(tf2.TFMessage, "/tf_static", LATCHED_QOS)
    publisher.publish(tf2.TFMessage(transforms=[static]))
    apart = ApartBench(ros_graph, peer, "/apart")
    apart.depth_info()
    peer.spin(1.0)
    stamp = apart.send(scene, depth=apart.depth(scene, REST), depth_frame="infra_frame")
    assert apart.answer(stamp).status == 1
    vertices = apart.vertices(stamp)
    assert rms(vertices[:, 2] - scene.height(vertices[:, 0], vertices[:, 1])) < 3e-4
    peer.node.destroy_publisher(publisher)
    assert apart.node.stop() == 0


def test_camera_info_of_another_camera_is_refused(bench: Bench, scene) -> None:
    head = convert.header(bench.now + 100_000_000, "infra_frame")
    bench.peer.publish("/camera_info", INFO, convert.camera_info(CAMERA, head))
    bench.send(scene, info=False)
    bench.node.wait_for_output("camera_info is of frame infra_frame, the matched images are in " + FRAME)
    bench.follow(scene, 1)


def test_a_change_of_resolution_begins_anew(bench: Bench, scene, relief) -> None:
    """Two frames of it do; a single one is skipped, and the surface is followed on."""
    bench.follow(scene)
    count, topology = len(bench.reference), bench.mesh[-1].topology_id
    other = relief(Lens(CAMERA.scaled(160, 120)))
    bench.change_camera(other)
    stamp = bench.send(scene, 3 * STEP)
    assert bench.answer(stamp).status == 1 and bench.mesh[-1].topology_id == topology
    bench.change_camera(other)
    first, last = bench.follow(other)
    assert len(bench.reference) == count + 1 and bench.reference[-1].topology_id > bench.reference[-2].topology_id
    assert rms(first[:, 2] - other.height(first[:, 0], first[:, 1])) < 2e-4 and rms(last - first) < 6e-4
    assert "the camera has changed, tracking starts anew: depth of 160x120, no distortion" in bench.node.output


class PackedBench(Bench):
    """Depth as compressed_depth_image_transport sends 32FC1, colour as jpeg."""

    depth_topic, depth_kind, more_topics = "/depth/compressedDepth", COMPRESSED, ("/image/compressed",)

    def packed(self, depth: np.ndarray, head: dict) -> dict:
        a, b = 10_100.0, 1.0 - 10_100.0 / 10.0
        stored = np.where(depth > 0, np.rint(a / depth + b), 0).astype(np.uint16)
        data = np.array([0], "<i4").tobytes() + np.array([a, b], "<f4").tobytes() + cv2.imencode(".png", stored)[1].tobytes()
        return {"header": head, "format": "32FC1; compressedDepth png", "data": np.frombuffer(data, np.uint8)}


def test_compressed_images_in_a_namespace(ros_graph, peer, scene) -> None:
    """Steps of the quantised inverse depth: 0.6^2 / 10100 = 36 um. The reference's colours come from the jpeg."""
    packed = PackedBench(ros_graph, peer, "/packed", depth_transport="compressedDepth", image_transport="compressed")
    colour = np.zeros((144, 192, 3), np.uint8)
    colour[:] = (200, 90, 30)
    peer.publish("/packed/image/compressed", COMPRESSED, from_color_compressed(colour, convert.header(packed.now + 100_000_000, FRAME)))
    first, last = packed.follow(scene)
    assert rms(first[:, 2] - scene.height(first[:, 0], first[:, 1])) < 2e-4 and rms(last - first) < 6e-4
    colors = convert.mesh_of(packed.reference[0])["colors"]
    assert np.abs(colors.astype(int) - [30, 90, 200]).max() <= 4
    assert packed.node.stop() == 0


class CloudBench(Bench):
    """Depth as an organised cloud, with x forward as zed_wrapper has it, colours between the coordinates and padding behind the rows."""

    depth_topic, depth_kind = "/lidar/points", "sensor_msgs/msg/PointCloud2"
    remappings = ("depth:=lidar/points",)
    pose = (0.06, -0.01, 0.02, -0.5, 0.5, -0.5, -0.5)      # of its frame in the colour camera's

    def packed(self, depth: np.ndarray, head: dict) -> dict:
        height, width = depth.shape
        x, y = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
        points = CAMERA.lift(np.stack([x, y], axis=-1).reshape(-1, 2), depth.reshape(-1).astype(float))
        stored = np.zeros((height, width + 1), np.dtype({"names": ["x", "rgb", "y", "z"], "formats": ["<f4", "<u4", "<f8", "<f4"],
                                                         "offsets": [0, 4, 8, 16], "itemsize": 24}))
        inside = stored[:, :width]
        inside["x"], inside["y"], inside["z"] = np.moveaxis(self.placed(points).reshape(height, width, 3), -1, 0)
        fields = [{"name": name, "offset": offset, "datatype": kind, "count": 1}
                  for name, offset, kind in (("x", 0, 7), ("rgb", 4, 6), ("y", 8, 8), ("z", 16, 7))]
        return {"header": head, "height": height, "width": width, "fields": fields, "point_step": 24, "row_step": 24 * (width + 1),
                "data": stored.view(np.uint8).reshape(-1), "is_dense": False}

    def placed(self, points: np.ndarray) -> np.ndarray:
        return Rotation.from_quat(self.pose[3:]).inv().apply(points - self.pose[:3])


def test_depth_from_an_organised_cloud(ros_graph, peer, scene) -> None:
    """In a frame of its own: results are in that of the images. What is wrong with a cloud is told once, and the next good one serves."""
    cloud = CloudBench(ros_graph, peer, "/cloud", depth_transport="points", depth_to_color=list(CloudBench.pose))
    first, last = cloud.follow(scene, depth_frame="lidar")
    assert rms(first[:, 2] - scene.height(first[:, 0], first[:, 1])) < 2e-4 and rms(last - first) < 6e-4
    assert cloud.mesh[-1].header.frame_id == cloud.reference[0].header.frame_id == FRAME
    good = cloud.packed
    for wrong, words in (({"height": 1, "width": 192 * 144, "row_step": 24 * 192 * 144}, "point cloud is not organised: 27648x1 points"),
                         ({"is_bigendian": True}, "big-endian"), ({"height": 108}, "is 192x108 but camera_info describes 192x144")):
        cloud.packed = lambda depth, head, wrong=wrong: {**good(depth, head), **wrong}
        for _ in range(3):
            assert cloud.answer(cloud.send(scene, 2 * STEP, depth_frame="lidar")).status != 1
        cloud.node.wait_for_output(words)           # it comes after the status
        told = [line for line in cloud.node.lines if words in line and "ERROR" in line]
        assert len(told) == 1, cloud.node.output
    cloud.packed = good
    assert cloud.answer(cloud.send(scene, 2 * STEP, depth_frame="lidar")).status == 1
    assert cloud.node.stop() == 0


def test_a_cloud_whose_frame_is_not_placed_is_refused(ros_graph, peer, scene) -> None:
    cloud = CloudBench(ros_graph, peer, "/astray", depth_transport="points")
    for _ in range(3):
        assert cloud.answer(cloud.send(scene, depth_frame="lidar")).status != 1
    told = [line for line in cloud.node.lines if f"the transform from lidar to {FRAME} is not known: publish it on /tf_static" in line]
    assert len(told) == 1 and "ERROR" in told[0]
    assert cloud.answer(cloud.send(scene)).status != 1          # said to be in the camera's frame, which it is not
    cloud.node.wait_for_output("the point cloud does not lie on the colour image")
    cloud.placed = lambda points: points
    assert cloud.answer(cloud.send(scene)).status == 1
    assert cloud.node.stop() == 0


@pytest.mark.parametrize(("remappings", "topic", "why"), [
    (["image:=/left/color/image_raw/zstd"], "/left/color/camera_info", "beside /left/color/image_raw/zstd, as camera_info is not remapped"),
    ([], "/camera_info", "beside /image, as camera_info is not remapped"),
    (["image:=/left/color/image_raw", "camera_info:=/camera_info"], "/camera_info", "as it is remapped"),
    (["image:=/left/color/image_raw", "registration_node:camera_info:=/my/info"], "/my/info", "as it is remapped"),
    (["image:=/left/color/image_raw", "depth_camera_info:=/my/info"], "/left/color/camera_info", "beside /left/color/image_raw, as")])
def test_camera_info_is_found_beside_the_image(ros_process, own_peer, remappings: list[str], topic: str, why: str) -> None:
    """Which it is, and why, is told once; a remap wins, also to the name that it has anyway."""
    node = ros_process("dalf_ros.registration_node", "--ros-args", *(word for remapping in remappings for word in ("-r", remapping)))
    assert f"camera_info from {topic}, {why}" in node.wait_for_output("camera_info from", 60)
    assert own_peer.until(lambda: own_peer.node.count_subscribers(topic) == 1), node.output
    assert node.stop() == 0 and node.output.count("camera_info from") == 1


def test_a_focal_length_that_drifts_is_the_same_camera(bench: Bench, scene, relief) -> None:
    bench.follow(scene, 2)
    count = len(bench.reference)
    drifted = relief(Lens(replace(CAMERA, fx=CAMERA.fx * 1.0005, cx=CAMERA.cx + 0.1)))
    assert bench.answer(bench.send(drifted, 2 * STEP)).status == 1
    bench.peer.spin(0.3)
    assert len(bench.reference) == count


def test_the_reference_waits_for_those_who_come_late(bench: Bench, scene) -> None:
    """Latched: a subscriber that comes after it gets it all the same; the deformation field then comes with every frame."""
    first, _ = bench.follow(scene, 2)
    late: list = []
    subscription = bench.peer.node.create_subscription(ros_class("dalf/msg/SurfaceMesh"), "/surface/reference", late.append, LATCHED_QOS)
    fields = bench.peer.hear("/deformation", topics.TYPES[topics.DEFORMATION])
    assert bench.peer.until(lambda: late) and late[0].topology_id == bench.mesh[-1].topology_id
    reference = convert.mesh_of(late[0])
    bench.peer.be_known_to("/registration_node")
    stamp = bench.send(scene, 2 * STEP)
    assert bench.answer(stamp).status == 1 and bench.peer.until(lambda: fields and convert.stamp_ns(fields[-1].header) == stamp)
    assert fields[-1].header.frame_id == FRAME and convert.stamp_ns(fields[-1].reference_header) == convert.stamp_ns(late[0].header)
    np.testing.assert_allclose(warped(convert.deformation_of(fields[-1]), reference["vertices"]), bench.vertices(stamp), atol=1e-3)
    bench.peer.node.destroy_subscription(subscription)


def warped(field: dict, points: np.ndarray) -> np.ndarray:
    """The formula that DeformationField.msg writes down."""
    distance = np.linalg.norm(points[:, None] - field["position"][None], axis=2)
    nearest = np.argsort(distance, axis=1)[:, :4]
    weight = np.maximum(0, 1 - np.take_along_axis(distance, nearest, 1) / field["radius"][nearest]) ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    g, t, rotation = field["position"][nearest], field["translation"][nearest], field["rotation"][nearest]
    moved = np.einsum("vkij,vkj->vki", rotation, points[:, None] - g) + g + t
    return (weight[..., None] * moved).sum(axis=1)


def test_how_sure_each_vertex_is(bench: Bench, scene) -> None:
    """Asked for, it comes once a second: not of the reference, and the errors are as large as it says."""
    heard = bench.peer.hear("/surface/covariance", topics.TYPES[topics.COVARIANCE])
    bench.peer.be_known_to("/registration_node")
    first, last = bench.follow(scene, 4)
    assert bench.peer.until(lambda: heard), bench.node.output
    bench.peer.spin(0.5)
    assert [convert.stamp_ns(message.header) - bench.began for message in heard] == [200_000_000]
    covariance = convert.covariance_of(heard[0]).astype(float)
    assert heard[0].topology_id == bench.mesh[-1].topology_id and covariance.shape == (len(first), 3, 3)
    variance, axes = np.linalg.eigh(covariance)
    sigma = np.abs(np.einsum("vij,vi->vj", axes, last - first)) / np.sqrt(variance)
    assert variance.min() > 0 and np.sqrt(variance.max()) < 0.05 and (sigma < 2).mean() > 0.9


def test_reset_leaves_nothing_to_save(bench: Bench, scene, tmp_path, load_ply) -> None:
    from dalf.srv import SaveSurface
    from std_srvs.srv import Trigger

    def save(name: str, **more):
        return bench.peer.call("/registration_node/save_surface", SaveSurface, SaveSurface.Request(path=str(tmp_path / name), **more))

    first, _ = bench.follow(scene, 2)
    saved = save("a.ply")
    assert saved.success and len(load_ply(tmp_path / "a.ply").vertices) == len(first)
    np.testing.assert_allclose(load_ply(tmp_path / "a.ply").vertices, bench.vertices(bench.now), atol=1e-6)
    assert "start the node with another save_folder" in save("/etc/dalf_surface.ply").message
    assert save("a.obj").success and not save("a.ply").success and save("a.ply", overwrite=True).success
    for service in ("reset", "set_reference"):
        assert bench.peer.call(f"/registration_node/{service}", Trigger, Trigger.Request()).success
        answer = save("b.ply")
        assert not answer.success and answer.message == "there is no surface yet"
        assert bench.peer.diagnostics("/registration_node")["message"] in ("waiting for a reference surface", "no data")
        stamp = bench.send(scene, 5 * STEP)         # the next frame is the new reference, wherever the surface is
        assert bench.answer(stamp).status == 1 and bench.reference_of(stamp)
        moved = bench.vertices(stamp) - 5 * STEP
        assert rms(moved[:, 2] - scene.height(moved[:, 0], moved[:, 1])) < 2e-4
    assert save("b.ply").success


def test_every_new_reference_surface_has_its_colours(bench: Bench, scene) -> None:
    """After a request here, a new reference image of the feature half, another camera, and a recording that begins anew."""
    from std_srvs.srv import Trigger

    def colors_of_next(color: tuple[int, int, int], **more) -> np.ndarray:
        stamp = bench.send(scene, color=color, **more)
        assert bench.answer(stamp).status == 1
        return convert.mesh_of(bench.reference_of(stamp))["colors"]

    assert (colors_of_next((200, 90, 30)) == [30, 90, 200]).all()
    assert bench.answer(bench.send(scene, STEP, color=(1, 2, 3))).status == 1
    for service in ("reset", "set_reference"):
        assert bench.peer.call(f"/registration_node/{service}", Trigger, Trigger.Request()).success
        assert (colors_of_next((10, 20, 30)) == [30, 20, 10]).all()
    bench.began = bench.now + 100_000_000
    assert (colors_of_next((40, 50, 60)) == [60, 50, 40]).all()
    assert (colors_of_next((70, 80, 90), stamp=bench.now - 5 * 10**9) == [90, 80, 70]).all()
    bench.now += 20 * 10**9


def test_stamps_that_repeat_and_jump(bench: Bench, scene) -> None:
    bench.follow(scene, 2)
    last, topology, answers = bench.now, bench.mesh[-1].topology_id, len(bench.status)
    for stamp, word in ((last, "repeated"), (last - 200_000_000, "late")):
        bench.send(scene, STEP, stamp=stamp)
        assert bench.peer.until(lambda word=word: f"matches with a {word} stamp skipped" in bench.node.output), bench.node.output
    assert len(bench.status) == answers
    hour = bench.send(scene, STEP, stamp=last + 3600 * 10**9)
    assert bench.answer(hour).status == 1 and bench.mesh[-1].topology_id == topology        # ahead: the surface is still the same
    back = bench.send(scene, 4 * STEP, stamp=last - 5 * 10**9)
    assert bench.answer(back).status == 1 and "stamps jumped back: tracking starts anew" in bench.node.output
    assert bench.peer.until(lambda: bench.mesh[-1].topology_id > topology)
    vertices = bench.vertices(back) - 4 * STEP
    assert rms(vertices[:, 2] - scene.height(vertices[:, 0], vertices[:, 1])) < 2e-4
    bench.now = hour


@pytest.mark.parametrize("value", [0.0, np.nan], ids=["zero", "nan"])
def test_depth_without_a_reading(bench: Bench, scene, value: float) -> None:
    """It does not become the reference, and does not move the surface: the next good frame is as exact as if it had not been."""
    nothing = np.full((144, 192), value, np.float32)
    waiting = bench.answer(bench.send(scene, depth=nothing))
    assert waiting.status == 0 and "depth readings" in waiting.reason
    stamp = bench.send(scene)
    assert bench.answer(stamp).status == 1
    first = bench.vertices(stamp)
    for _ in range(3):
        blind = bench.send(scene, STEP, depth=nothing)
        status = bench.answer(blind)
        assert status.status == 3 and status.reason and np.isnan(status.residual_m) and status.visible_fraction == 0
        np.testing.assert_allclose(bench.vertices(blind), first, atol=1e-3)             # the last good ones
    stamp = bench.send(scene, STEP)
    assert bench.answer(stamp).status == 1 and rms(bench.vertices(stamp) - STEP - first) < 6e-4


def test_depth_that_is_missing_for_a_while(bench: Bench, scene) -> None:
    bench.follow(scene, 2)
    skipped, answers = int(bench.peer.diagnostics("/registration_node")["skipped"]), len(bench.status)
    for _ in range(4):
        bench.now += 100_000_000
        pairs = scene.matches(bench.now, STEP, bench.began, REST)
        bench.peer.publish("/matches", "dalf/msg/MatchArray", convert.match_array(pairs, FRAME))
        bench.peer.spin(0.1)
    assert len(bench.status) == answers
    stamp = bench.send(scene, 2 * STEP)
    assert bench.answer(stamp).status == 1
    assert int(bench.peer.diagnostics("/registration_node")["skipped"]) == skipped + 4


def test_publishers_that_die_and_return(bench: Bench, scene) -> None:
    first, _ = bench.follow(scene, 2)
    for topic in ("/depth", "/matches"):
        bench.peer.unpublish(topic)
    bench.peer.spin(1.0)
    bench.now += 2 * 10**9
    for topic, kind in (("/depth", IMAGE), ("/matches", "dalf/msg/MatchArray")):
        bench.peer.publisher(topic, kind)
    stamp = bench.send(scene, 2 * STEP)
    assert bench.answer(stamp).status == 1 and rms(bench.vertices(stamp) - 2 * STEP - first) < 6e-4


def test_killed_and_started_again(ros_graph, peer, scene) -> None:
    """It joins matches that refer to an image that it never saw; its reference is the first frame that it gets."""
    killed = Bench(ros_graph, peer, "/killed")
    killed.follow(scene, 2)
    killed.node.stop(signal.SIGKILL)
    again = Bench(ros_graph, peer, "/killed")
    again.began, again.now = killed.began, killed.now
    again.follow(scene, 1)
    stamp = again.send(scene, 4 * STEP)
    assert again.answer(stamp).status == 1
    vertices = again.vertices(stamp) - 4 * STEP
    assert rms(vertices[:, 2] - scene.height(vertices[:, 0], vertices[:, 1])) < 3e-4
    assert convert.stamp_ns(again.mesh[-1].reference_header) == stamp - 100_000_000
    assert again.node.stop() == 0


def test_camera_info_from_before_the_node_started(ros_graph, peer, scene) -> None:
    """Published once and kept by its publisher, as drivers and bag players do: it serves all frames. Later ones that are empty do not."""
    fields = convert.camera_info(CAMERA, convert.header(0, FRAME))
    publisher = peer.node.create_publisher(ros_class(INFO), "/early/camera_info", LATCHED_QOS)
    publisher.publish(ros_message(INFO, fields))
    early = Bench(ros_graph, peer, "/early")
    for _ in range(60):         # the node looks for it once a second
        status = early.answer(early.send(scene, info=False))
        if status.status == 1:
            break
        peer.spin(0.5)
    assert status.status == 1, status.reason
    publisher.publish(ros_message(INFO, fields | {"k": np.zeros(9), "p": np.zeros(12)}))
    peer.spin(0.5)
    for number in (1, 2):
        stamp = early.send(scene, number * STEP, info=False)
        assert early.answer(stamp).status == 1
    assert rms(early.vertices(stamp)[:, 2] - 2 * STEP[2] - scene.height(*(early.vertices(stamp) - 2 * STEP)[:, :2].T)) < 6e-4
    peer.node.destroy_publisher(publisher)
    assert early.node.stop() == 0


def test_an_empty_camera_info_is_told_and_the_next_one_serves(ros_graph, peer, scene) -> None:
    fresh = Bench(ros_graph, peer, "/fresh")
    empty = convert.camera_info(CAMERA, convert.header(fresh.now, FRAME)) | {"k": np.zeros(9), "p": np.zeros(12)}
    for _ in range(3):
        peer.publish("/fresh/camera_info", INFO, empty)
        fresh.answer(fresh.send(scene, info=False))
    only_p = convert.camera_info(CAMERA, convert.header(fresh.now + 100_000_000, FRAME)) | {"k": np.zeros(9)}
    peer.publish("/fresh/camera_info", INFO, only_p)
    assert fresh.answer(fresh.send(scene, info=False)).status == 1
    told = [line for line in fresh.node.lines if "K and P are all zero" in line]
    assert len(told) == 1 and "ERROR" in told[0]
    assert fresh.node.stop() == 0


def test_a_reference_saved_is_followed_again(bench: Bench, scene, tmp_path) -> None:
    """save_template writes the reference; as a template it is found where it is now, though no frame of its start was seen."""
    from dalf.srv import SaveTemplate, TrackPoint

    from dalf_core import load_template
    from dalf_ros.templates.template_message import template_message

    def save(file: str, **more):
        request = SaveTemplate.Request(path=str(tmp_path / file), **more)
        return bench.peer.call("/registration_node/save_template", SaveTemplate, request)

    bench.peer.publisher("/image", IMAGE)
    first, _ = bench.follow(scene, 2, color=(10, 200, 30))
    place = TrackPoint.Request(action=TrackPoint.Request.ADD, name="grasp", use_pixel=True, x=100.0, y=70.0)
    named = bench.peer.call("/registration_node/track_point", TrackPoint, place)
    assert named.success, named.message
    answer = save("relief.dalf")
    assert answer.success, answer.message
    assert "exists already" in save("relief.dalf").message and "must end in .dalf" in save("relief.ply").message
    template = load_template(tmp_path / "relief.dalf")
    assert template.name == "relief" and template.camera == CAMERA and (template.image == (10, 200, 30)).all()
    np.testing.assert_allclose(template.surface.vertices, first, atol=1e-6)

    stamp = 3
    bench.peer.publish("/template", topics.TYPES[topics.TEMPLATE], {**template_message(template, stamp), "data": np.zeros(40, np.uint8)})
    assert bench.peer.until(lambda: "no template" in bench.peer.diagnostics("/registration_node")["last_refusal"])
    bench.peer.publish("/template", topics.TYPES[topics.TEMPLATE], template_message(template, stamp))
    bench.peer.spin(0.5)
    for steps in (6, 7):
        bench.now += 100_000_000
        pairs = replace(scene.matches(bench.now, steps * STEP, stamp, REST), template="relief")
        bench.peer.publish("/matches", "dalf/msg/MatchArray", convert.match_array(pairs, FRAME))
        bench.peer.publish("/depth", IMAGE, from_depth(scene.depth(steps * STEP), convert.header(bench.now, FRAME)))
        status = bench.answer(bench.now)
        assert status.status == 1, status.reason
        assert rms(bench.vertices(bench.now) - steps * STEP - first) < 6e-4
    saved = save("again.dalf", name="the relief")
    again = load_template(tmp_path / "again.dalf")
    assert saved.success and again.name == "the relief" and list(again.points) == ["grasp"]
    np.testing.assert_allclose(again.points["grasp"], template.points["grasp"], atol=1e-6)
    x, y, z = template.points["grasp"]
    assert z == pytest.approx(scene.height(x, y), abs=5e-4)


def test_matches_to_a_template_that_nobody_sent(bench: Bench, scene) -> None:
    stamp = bench.now = bench.now + 100_000_000
    pairs = replace(scene.matches(stamp, REST, 4, REST), template="unknown")
    bench.info(scene.lens)
    bench.peer.publish("/matches", "dalf/msg/MatchArray", convert.match_array(pairs, FRAME))
    bench.peer.publish("/depth", IMAGE, from_depth(scene.depth(REST), convert.header(stamp, FRAME)))
    status = bench.answer(stamp)
    assert status.status == 0 and "template unknown, which has not come yet" in status.reason
