"""One registration_node process that many tests talk to: exact matches and depth in, vertices compared with the truth."""
from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_core.lens import PLUMB_BOB, Lens
from dalf_ros.conversions import messages as convert
from dalf_ros.conversions import topics
from dalf_ros.conversions.image_conversion import from_color_compressed, from_depth
from dalf_ros.conversions.message_factory import ros_class

pytest.importorskip("rclpy")

from dalf_ros.nodes.inputs import LATCHED_QOS  # noqa: E402

CAMERA = PinholeCamera(200.0, 201.0, 95.5, 70.2, 192, 144)
BARREL = (-0.30, 0.10, 0.001, -0.0007, -0.01)
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
FRAME = "camera_color_optical_frame"
STEP = np.array([0.004, -0.002, 0.001])         # metres a frame
REST = np.zeros(3)


class Bench:
    """The node and what it is fed. Every test begins at a later stamp with a new reference image."""

    depth_topic, depth_kind = "/depth", IMAGE

    def __init__(self, graph, peer, namespace: str = "", **parameters: object) -> None:
        self.peer, self.namespace = peer, namespace
        words = [word for name, value in {"silence_warning": 3600.0, "max_vertices": 2000, **parameters}.items()
                 for word in ("-p", f"{name}:={value}")]
        known = self.endpoints()        # of a node that was killed: ROS believes in it for twenty seconds more
        self.node = graph.start("dalf_ros.registration_node", "--ros-args", *words, "-r", f"__ns:={namespace or '/'}")
        self.status, self.mesh, self.reference = (
            peer.hear(f"{namespace}/{name}", topics.TYPES[name], name in topics.LATCHED)
            for name in (topics.STATUS, topics.MESH, topics.REFERENCE))
        self.began = self.now = 1_700_000_000_000_000_000
        assert peer.until(lambda: len(self.endpoints() - known) == 4, 120), self.node.output
        for topic, kind in ((self.depth_topic, self.depth_kind), ("/camera_info", "sensor_msgs/msg/CameraInfo"),
                            ("/matches", "dalf/msg/MatchArray")):
            peer.publisher(namespace + topic, kind)
        peer.spin(0.5)

    def endpoints(self) -> set[bytes]:
        """Identities of the publishers of status and of the subscriptions that the bench serves."""
        found = self.peer.node.get_publishers_info_by_topic(f"{self.namespace}/status")
        for topic in (self.depth_topic, "/camera_info", "/matches"):
            found += self.peer.node.get_subscriptions_info_by_topic(self.namespace + topic)
        return {bytes(info.endpoint_gid) for info in found}

    def begin(self) -> None:
        """From here on another reference image."""
        self.began = self.now = self.now + 10_000_000_000

    def send(self, scene, shift=REST, *, stamp=None, depth=None, depth_frame=FRAME, matches_frame=FRAME, info=True) -> int:
        """One frame of a scene moved by shift; its stamp."""
        self.now = self.now + 100_000_000 if stamp is None else stamp
        head = convert.header(self.now, depth_frame)
        if info:
            self.info(scene.lens)
        depth = self.packed(scene.depth(shift) if depth is None else depth, head)
        self.peer.publish(self.namespace + self.depth_topic, self.depth_kind, depth)
        pairs = scene.matches(self.now, shift, self.began, REST)
        self.peer.publish(f"{self.namespace}/matches", "dalf/msg/MatchArray", convert.match_array(pairs, matches_frame))
        return self.now

    def packed(self, depth: np.ndarray, head: dict) -> dict:
        return from_depth(depth, head)

    def info(self, lens: Lens) -> None:
        fields = convert.camera_info(lens.camera, convert.header(self.now, FRAME), lens.model, lens.coefficients or (0.0,) * 5)
        self.peer.publish(f"{self.namespace}/camera_info", "sensor_msgs/msg/CameraInfo", fields)

    def answer(self, stamp: int, timeout: float = 20.0):
        """The status message of a stamp."""
        def found() -> list:
            return [status for status in self.status if convert.stamp_ns(status.header) == stamp]

        assert self.peer.until(found, timeout), self.node.output
        return found()[-1]

    def vertices(self, stamp: int) -> np.ndarray:
        assert self.peer.until(lambda: any(convert.stamp_ns(m.header) == stamp for m in self.mesh)), self.node.output
        return convert.mesh_of([m for m in self.mesh if convert.stamp_ns(m.header) == stamp][-1])["vertices"].astype(float)

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
    return relief(Lens(CAMERA))


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def test_lens_distortion_is_undone(bench: Bench, scene, relief) -> None:
    bent = relief(Lens(CAMERA, PLUMB_BOB, BARREL))
    first, last = bench.follow(bent)
    assert rms(first[:, 2] - bent.height(first[:, 0], first[:, 1])) < 2e-4 and rms(last - first) < 6e-4
    assert "plumb_bob distortion, which is undone" in bench.node.output


def test_unknown_distortion_is_told_once(bench: Bench, scene) -> None:
    head = convert.header(bench.now, FRAME)
    for _ in range(3):
        bench.now += 100_000_000
        head = convert.header(bench.now, FRAME)
        bench.peer.publish("/camera_info", "sensor_msgs/msg/CameraInfo", convert.camera_info(CAMERA, head, "fancy", (0.1,)))
        bench.send(scene, stamp=bench.now, info=False)
        bench.peer.spin(0.3)
    told = [line for line in bench.node.lines if "'fancy' is not known" in line]
    assert len(told) == 1 and "ERROR" in told[0]
    bench.follow(scene)         # and it goes on when that is mended


def test_depth_of_another_resolution(bench: Bench, scene, relief) -> None:
    """Depth at half the resolution: its pixel u is the colour image's 2 u + 0.5."""
    half = relief(Lens(CAMERA.scaled(96, 72)))
    for number in range(3):
        bench.info(scene.lens)
        stamp = bench.send(scene, number * STEP, depth=half.depth(number * STEP), info=False)
        assert bench.answer(stamp).status == 1
        if number == 0:
            first = bench.vertices(stamp)
    assert rms(first[:, 2] - scene.height(first[:, 0], first[:, 1])) < 3.5e-4    # half a pixel off would be 1.5 mm, times the slope
    assert rms(bench.vertices(stamp) - 2 * STEP - first) < 6e-4


def test_depth_of_another_shape_is_refused(bench: Bench, scene) -> None:
    bench.send(scene, depth=np.full((108, 192), 0.6, np.float32))
    assert bench.peer.until(lambda: "depth is 192x108 but camera_info describes 192x144" in bench.node.output)
    bench.follow(scene, 1)


def test_depth_in_another_frame_is_refused(bench: Bench, scene) -> None:
    for _ in range(3):
        bench.send(scene, depth_frame="camera_depth_optical_frame")
        bench.peer.spin(0.2)
    told = [line for line in bench.node.lines if "depth is in frame camera_depth_optical_frame" in line]
    assert len(told) == 1 and "ERROR" in told[0] and "check_frames" in told[0]
    bench.follow(scene, 1, depth_frame="/" + FRAME)         # ROS 1 writes names with a slash


def test_a_change_of_resolution_begins_anew(bench: Bench, scene, relief) -> None:
    bench.follow(scene)
    count = len(bench.reference)
    other = relief(Lens(CAMERA.scaled(160, 120)))
    first, last = bench.follow(other)
    assert len(bench.reference) == count + 1 and bench.reference[-1].topology_id > bench.reference[-2].topology_id
    assert rms(first[:, 2] - other.height(first[:, 0], first[:, 1])) < 2e-4 and rms(last - first) < 6e-4
    assert "the camera has changed, tracking starts anew: depth of 160x120, no distortion" in bench.node.output


class PackedBench(Bench):
    """Depth as compressed_depth_image_transport sends 32FC1, colour as jpeg."""

    depth_topic, depth_kind = "/depth/compressedDepth", COMPRESSED

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
    bench.peer.spin(0.5)
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


def test_reset_leaves_nothing_to_save(bench: Bench, scene, tmp_path, load_ply) -> None:
    from dalf.srv import SaveSurface
    from std_srvs.srv import Trigger

    def save(name: str, **more):
        return bench.peer.call("/registration_node/save_surface", SaveSurface, SaveSurface.Request(path=str(tmp_path / name), **more))

    first, _ = bench.follow(scene, 2)
    saved = save("a.ply")
    assert saved.success and len(load_ply(tmp_path / "a.ply").vertices) == len(first)
    np.testing.assert_allclose(load_ply(tmp_path / "a.ply").vertices, bench.vertices(bench.now), atol=1e-6)
    assert save("a.obj").success and not save("a.ply").success and save("a.ply", overwrite=True).success
    for service in ("reset", "set_reference"):
        assert bench.peer.call(f"/registration_node/{service}", Trigger, Trigger.Request()).success
        answer = save("b.ply")
        assert not answer.success and answer.message == "there is no surface yet"
        assert bench.peer.diagnostics("/registration_node")["message"] in ("waiting for a reference surface", "no data")
        count = len(bench.reference)
        stamp = bench.send(scene, 5 * STEP)         # the next frame is the new reference, wherever the surface is
        assert bench.answer(stamp).status == 1 and bench.peer.until(lambda count=count: len(bench.reference) > count)
        moved = bench.vertices(stamp) - 5 * STEP
        assert rms(moved[:, 2] - scene.height(moved[:, 0], moved[:, 1])) < 2e-4
    assert save("b.ply").success


def test_stamps_that_repeat_and_jump(bench: Bench, scene) -> None:
    bench.follow(scene, 2)
    last, topology, answers = bench.now, bench.mesh[-1].topology_id, len(bench.status)
    for stamp, word in ((last, "repeated"), (last - 200_000_000, "late")):
        bench.send(scene, STEP, stamp=stamp)
        assert bench.peer.until(lambda word=word: f"matches with a {word} stamp are skipped" in bench.node.output), bench.node.output
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
        bench.peer.node.destroy_publisher(bench.peer._publishers.pop(topic))
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
