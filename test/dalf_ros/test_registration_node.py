"""One registration_node process that many tests talk to: exact matches and depth in, vertices compared with the truth."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_core.lens import PLUMB_BOB, Lens
from dalf_ros import messages as convert
from dalf_ros import topics
from dalf_ros.image_conversion import from_depth

pytest.importorskip("rclpy")

CAMERA = PinholeCamera(200.0, 201.0, 95.5, 70.2, 192, 144)
BARREL = (-0.30, 0.10, 0.001, -0.0007, -0.01)
FRAME = "camera_color_optical_frame"
STEP = np.array([0.004, -0.002, 0.001])         # metres a frame
REST = np.zeros(3)


class Bench:
    """The node and what it is fed. Every test begins at a later stamp with a new reference image."""

    def __init__(self, graph, peer) -> None:
        self.peer = peer
        self.node = graph.start("dalf_ros.registration_node", "--ros-args", "-p", "silence_warning:=3600.0", "-p", "max_vertices:=2000")
        self.status = peer.hear("/status", topics.TYPES[topics.STATUS])
        self.mesh = peer.hear("/surface/mesh", topics.TYPES[topics.MESH])
        self.reference = peer.hear("/surface/reference", topics.TYPES[topics.REFERENCE], latched=True)
        self.began = self.now = 1_700_000_000_000_000_000
        assert peer.until(lambda: all(peer.node.count_publishers(t) for t in ("/status", "/surface/mesh", "/surface/reference")), 120)
        for topic, kind in (("/depth", "sensor_msgs/msg/Image"), ("/camera_info", "sensor_msgs/msg/CameraInfo"),
                            ("/matches", "dalf/msg/MatchArray")):
            peer.publisher(topic, kind)
        peer.spin(0.5)

    def begin(self) -> None:
        """From here on another reference image."""
        self.began = self.now = self.now + 10_000_000_000

    def send(self, scene, shift=REST, *, stamp=None, depth=None, depth_frame=FRAME, matches_frame=FRAME, info=True) -> int:
        """One frame of a scene moved by shift; its stamp."""
        self.now = self.now + 100_000_000 if stamp is None else stamp
        head = convert.header(self.now, depth_frame)
        if info:
            self.info(scene.lens)
        self.peer.publish("/depth", "sensor_msgs/msg/Image", from_depth(scene.depth(shift) if depth is None else depth, head))
        pairs = scene.matches(self.now, shift, self.began, REST)
        self.peer.publish("/matches", "dalf/msg/MatchArray", convert.match_array(pairs, matches_frame))
        return self.now

    def info(self, lens: Lens) -> None:
        fields = convert.camera_info(lens.camera, convert.header(self.now, FRAME), lens.model, lens.coefficients or (0.0,) * 5)
        self.peer.publish("/camera_info", "sensor_msgs/msg/CameraInfo", fields)

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
