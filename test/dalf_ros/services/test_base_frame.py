"""Results in a base frame: a camera that moves before a still surface, in a process of the node, and what is not published."""
from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dalf_core.lens import Lens
from dalf_core.tracking import SurfaceFrame
from dalf_ros.conversions import messages as convert
from dalf_ros.conversions import topics
from dalf_ros.conversions.message_factory import ros_class, ros_message
from dalf_ros.conversions.transforms import RigidTransform

pytest.importorskip("rclpy")

from dalf_ros.client.followed_surface import FRAME_TOPICS, followed_surface  # noqa: E402
from dalf_ros.nodes.inputs import LATCHED_QOS  # noqa: E402
from dalf_ros.services import base_frame  # noqa: E402
from dalf_ros.services.base_frame import BaseFrame  # noqa: E402
from dalf_ros.services.clicked_points import TF  # noqa: E402

from ..test_registration_node import CAMERA, FRAME, REST, STEP, Bench, rms  # noqa: E402

WORLD = RigidTransform(Rotation.from_euler("xyz", [2.0, 0.3, -1.1]).as_matrix(), np.array([0.5, -1.0, 1.2]))     # of the camera at rest
ON_FLANGE = RigidTransform(Rotation.from_euler("xyz", [0.4, -0.8, 0.2]).as_matrix(), np.array([0.05, 0.02, 0.1]))     # of the camera
HALF = 50_000_000       # ns
TURN = RigidTransform(Rotation.from_euler("y", 0.4).as_matrix(), np.array([-0.2, 0.01, 0.03]))      # of the whole robot, between frames


def link(parent: str, child: str, pose: RigidTransform, stamp: int) -> dict:
    q = Rotation.from_matrix(pose.rotation).as_quat()
    return {"header": convert.header(stamp, parent), "child_frame_id": child,
            "transform": {"translation": dict(zip("xyz", pose.translation.tolist())), "rotation": dict(zip("xyzw", q.tolist()))}}


class MovingBench(Bench):
    """The scene stands still and the camera moves: what it sees moved by `shift` is seen by a camera that went by -shift."""

    def __init__(self, graph, peer) -> None:
        folder = str(Path(__file__).parent)
        path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
        start = lambda _, *words: graph.start("registration_with_tf", *words, environment={"PYTHONPATH": path})    # noqa: E731
        super().__init__(SimpleNamespace(start=start), peer, "/based", base_frame="world", track_points="middle,96,70", publish_tf="false")
        self.heard = {name: peer.hear(f"/based/{name}", topics.TYPES[name]) for name in (*FRAME_TOPICS, topics.POINTS)}
        peer.be_known_to("/based/registration_node")

    def tell(self, topic: str, fields: dict) -> None:
        """A message of TF, as registration_with_tf hears it."""
        kind, fields = (TF, {"transforms": [fields]}) if find_spec("tf2_msgs") else ("geometry_msgs/msg/TransformStamped", fields)
        if topic == "/tf":
            self.peer.publish(topic, kind, fields)
            return
        self.kept = self.peer.node.create_publisher(ros_class(kind), topic, LATCHED_QOS)
        assert self.peer.until(lambda: self.kept.get_subscription_count() > 0)
        self.peer.be_known_to("/based/registration_node")
        self.kept.publish(ros_message(kind, fields))

    def camera(self, shift: np.ndarray) -> RigidTransform:
        return WORLD.after(RigidTransform(np.eye(3), -np.asarray(shift)))

    def frame(self, scene, shift=REST, **more) -> int:
        """One frame, with TF a little before its stamp and a little after, so that the place between counts."""
        stamp, way = self.now + 100_000_000, np.array([0.3, -0.1, 0.2])
        for offset, beside in ((-HALF, -way), (HALF, way)):
            self.tell("/tf", link("world", "flange", self.camera(shift + beside).after(ON_FLANGE.inverse()), stamp + offset))
        self.peer.spin(0.1)
        return self.send(scene, shift, **more)

    def message(self, name: str, stamp: int):
        def found() -> list:
            return [m for m in self.heard[name] if convert.stamp_ns(m.header) == stamp]

        assert self.peer.until(found), self.node.output
        return found()[-1]


@pytest.fixture(scope="module")
def bench(ros_graph, peer) -> Iterator[MovingBench]:
    made = MovingBench(ros_graph, peer)
    yield made
    assert made.node.stop() == 0 and "Traceback" not in made.node.output, made.node.output


@pytest.fixture
def scene(bench: MovingBench, relief):
    bench.begin()
    return relief(Lens(CAMERA))


def test_without_a_transform_no_image_becomes_the_reference(bench: MovingBench, scene) -> None:
    status = bench.answer(bench.send(scene))
    assert status.status == 0 and f"no transform from {FRAME} to world: nothing has come of {FRAME} and world" in status.reason
    bench.node.wait_for_output("does not become the reference")
    assert not bench.reference and not bench.mesh


def test_a_still_surface_stays_still_before_a_moving_camera(bench: MovingBench, scene) -> None:
    bench.tell("/tf_static", link("flange", FRAME, ON_FLANGE, 0))
    for number in range(4):
        stamp = bench.frame(scene, number * STEP)
        status = bench.answer(stamp)
        assert (status.status, status.reason) == (1, "")
        if number == 0:
            first = bench.vertices(stamp)
    last = bench.vertices(stamp)
    assert rms(last - first) < 6e-4
    local = (first - WORLD.translation) @ WORLD.rotation        # in the camera at rest
    assert rms(local[:, 2] - scene.height(local[:, 0], local[:, 1])) < 2e-4
    found = {name: bench.message(name, stamp) for name in FRAME_TOPICS}
    assert bench.peer.until(lambda: bench.reference)
    surface = followed_surface(bench.reference[-1], found)
    assert {m.header.frame_id for m in (*bench.mesh, *bench.reference, found[topics.DEFORMATION])} == {"world"}
    np.testing.assert_allclose(surface.reference_vertices, first, atol=2e-3)
    assert rms(surface.warp(surface.reference_vertices) - surface.vertices) < 3e-4
    truth = WORLD.rotation @ scene.points(np.array([[96.0, 70.0]]), REST)[0] + WORLD.translation
    assert np.linalg.norm(surface.points["middle"].position - truth) < 1.5e-3
    cloud = np.frombuffer(bench.message(topics.POINTS, stamp).data, "<f4").reshape(-1, 4)[:, :3]
    np.testing.assert_array_equal(cloud, bench.vertices(stamp).astype(np.float32))


def test_a_frame_without_a_transform_is_followed_but_not_published(bench: MovingBench, scene) -> None:
    first = bench.frame(scene)
    assert bench.answer(first).status == 1
    gone = bench.send(scene, STEP)      # TF ends halfway
    status = bench.answer(gone)
    assert status.status == 1
    assert f"no transform from {FRAME} to world at {gone / 1e9:.3f} s: of flange in world the newest on /tf" in status.reason
    assert status.reason.endswith("the results of this frame are not published")
    stamp = bench.frame(scene, 2 * STEP)
    assert bench.answer(stamp).reason == "" and rms(bench.vertices(stamp) - bench.vertices(first)) < 6e-4
    for heard in (bench.mesh, bench.heard[topics.DEFORMATION], bench.heard[topics.NAMED_POINTS], bench.heard[topics.POINTS]):
        assert gone not in [convert.stamp_ns(message.header) for message in heard]
    bench.node.wait_for_output(f"no transform from {FRAME} to world at")


def test_a_lost_surface_stays_where_it_was_seen(bench: MovingBench, scene) -> None:
    seen = bench.frame(scene)
    assert bench.answer(seen).status == 1
    lost = bench.frame(scene, 20 * STEP, depth=np.zeros((144, 192), np.float32))
    assert bench.answer(lost).status == 3
    np.testing.assert_allclose(bench.vertices(lost), bench.vertices(seen), atol=1e-5)


# ---------------------------------------------------------------- the rules, without a process

class Node:
    """Of a node, what BaseFrame takes."""

    def __init__(self, name: str = "base") -> None:
        self.values = {"base_frame": name, "stamp_tolerance": 0.02, "buffer_seconds": 5.0}
        self.refused: list[str] = []
        self.callbacks: dict = {}
        self.inputs = SimpleNamespace(add=self._add)

    def _add(self, _role, topic, _kind, callback, _qos, optional) -> None:
        assert optional
        self.callbacks[topic] = callback

    def refuse(self, reason: str) -> None:
        self.refused.append(reason)


def based(node: Node, monkeypatch) -> BaseFrame:
    monkeypatch.setattr(base_frame, "ros_class", lambda kind: kind)
    made = BaseFrame(node)
    made.configure()
    made.listen()
    return made


def tf(node: Node, seconds: float, pose: RigidTransform) -> None:
    def spaced(fields):
        return SimpleNamespace(**{key: spaced(value) for key, value in fields.items()}) if isinstance(fields, dict) else fields

    node.callbacks["/tf"](SimpleNamespace(transforms=[spaced(link("base", "camera", pose, int(seconds * 1e9)))]))


def frame(seconds: float, status: str = "tracked", reference: int = 1, is_reference: bool = False) -> SurfaceFrame:
    reason = "" if status == "tracked" else "too few matches"
    return SurfaceFrame(int(seconds * 1e9), reference, object(), status, reason, is_reference, 1, 20, 20)     # type: ignore[arg-type]


def test_a_template_begins_where_it_is_seen_first(monkeypatch) -> None:
    """Lost until then, it is nowhere; the reference is given as if the camera had been where it saw it first."""
    node = Node()
    made = based(node, monkeypatch)
    for number, pose in enumerate((WORLD, ON_FLANGE, TURN)):
        tf(node, 1.0 + number, pose)
    told, place = made.placed(frame(1.0, "lost"), "camera")
    assert place is None and told.reason == "too few matches" and not node.refused
    for seconds, pose in ((2.0, ON_FLANGE), (3.0, TURN)):
        _, place = made.placed(frame(seconds), "/camera")
        np.testing.assert_allclose(place.surface.translation, pose.translation)
        np.testing.assert_allclose(place.reference.translation, ON_FLANGE.translation)
    _, place = made.placed(frame(1.0, reference=2), "camera")       # another one
    np.testing.assert_allclose(place.reference.rotation, WORLD.rotation, atol=1e-12)


def test_lost_after_a_frame_whose_place_is_not_known(monkeypatch) -> None:
    node = Node()
    made = based(node, monkeypatch)
    tf(node, 1.0, WORLD)
    assert made.placed(frame(1.0, is_reference=True), "camera")[1] is not None
    assert made.placed(frame(9.0), "camera")[1] is None
    tf(node, 10.0, ON_FLANGE)
    told, place = made.placed(frame(10.0, "lost"), "camera")
    assert place is None and told.status == "lost"
    assert told.reason.startswith("too few matches; no transform from camera to base was known when the surface was seen last; ")
    assert len(node.refused) == 2
    told, _ = made.placed(frame(10.0), "")
    assert told.reason.startswith("no transform to base: the images name no frame_id")


def test_without_a_base_frame_nothing_is_asked_or_changed(monkeypatch) -> None:
    node = Node("")
    made = based(node, monkeypatch)
    made.require("", 5)
    some = frame(1.0)
    told, place = made.placed(some, "/camera")
    points = np.ones((2, 3), np.float32)
    assert told is some and place.frame_id == "/camera" and not node.callbacks
    assert base_frame.optical("x").surface is place.surface and points.dtype == np.float32


def test_the_node_does_not_start_without_tf(monkeypatch) -> None:
    def missing(_: str) -> None:
        raise ModuleNotFoundError("tf2_msgs")

    monkeypatch.setattr(base_frame, "ros_class", missing)
    with pytest.raises(ValueError, match="base_frame base is reached by TF, and tf2_msgs is not installed"):
        BaseFrame(Node()).configure()
    BaseFrame(Node("")).configure()
