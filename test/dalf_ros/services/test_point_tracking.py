"""Named points of a registration_node process: service, topics, TF, parameter; places compared with the truth."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dalf_core.lens import PLUMB_BOB, Lens
from dalf_core.tracking import FrameMatches
from dalf_core.types import Matches
from dalf_ros.conversions import messages as convert
from dalf_ros.conversions import topics
from dalf_ros.conversions.point_messages import points_of

pytest.importorskip("rclpy")

from ..test_registration_node import BARREL, CAMERA, REST, STEP, Bench  # noqa: E402

NODE, WANTED = "/points/registration_node", (60.0, 50.0)
TURN = np.array([0.01, 0.004, -0.006])


class PointBench(Bench):
    """The node with one point of the parameter, and its point topics."""

    def __init__(self, graph, peer) -> None:
        super().__init__(graph, peer, "/points", track_points=f"'from_start,{WANTED[0]:g},{WANTED[1]:g} nowhere,3000,20'")
        self.heard = {name: peer.hear(f"/points/{name}", topics.TYPES[name]) for name in topics.POINT_TOPICS}
        peer.be_known_to(NODE)

    def ask(self, action: str, name: str = "", xy=None, position=None):
        from dalf.srv import TrackPoint
        from geometry_msgs.msg import Point

        request = TrackPoint.Request(action=getattr(TrackPoint.Request, action), name=name)
        if xy is not None:
            request.use_pixel, request.x, request.y = True, float(xy[0]), float(xy[1])
        if position is not None:
            request.position = Point(**dict(zip("xyz", map(float, position))))
        return self.peer.call(f"{NODE}/track_point", TrackPoint, request)

    def message(self, topic: str, stamp: int):
        def found() -> list:
            return [m for m in self.heard[topic] if convert.stamp_ns(m.header) == stamp]

        assert self.peer.until(found), self.node.output
        return found()[-1]

    def points(self, stamp: int) -> dict:
        return {point.name: point for point in points_of(self.message(topics.NAMED_POINTS, stamp))}


@pytest.fixture(scope="module")
def bench(ros_graph, peer) -> Iterator[PointBench]:
    made = PointBench(ros_graph, peer)
    yield made
    assert made.node.stop() == 0 and "Traceback" not in made.node.output, made.node.output


@pytest.fixture
def scene(bench: PointBench, relief):
    bench.begin()
    made = relief(Lens(CAMERA))
    bench.show(made)
    bench.begin()
    assert bench.answer(bench.send(made)).status == 1
    return made


def test_nothing_is_named_before_there_is_a_surface(bench: PointBench, relief) -> None:
    answer = bench.ask("ADD", "early", (50, 50))
    assert not answer.success and "no reference surface yet" in answer.message and list(answer.names) == []
    assert not bench.ask("LIST").success


def test_points_by_pixel_and_position_move_with_the_surface(bench: PointBench, scene) -> None:
    stamp = bench.send(scene, STEP)
    assert bench.answer(stamp).status == 1
    pixel = np.array([[100.0, 80.0]])
    truth = {"pixel": scene.points(pixel, STEP)[0] - STEP, "from_start": scene.points(np.array([WANTED]), REST)[0]}
    truth["arm/position"] = scene.points(np.array([[130.0, 90.0]]), STEP)[0] - STEP
    assert bench.ask("ADD", "pixel", pixel[0]).message == "pixel is followed"
    assert bench.ask("ADD", "arm/position", position=truth["arm/position"] + STEP + [0, 0, 0.002]).success
    stamp = bench.send(scene, 3 * STEP)
    found = bench.points(stamp)
    assert list(found) == ["from_start", "pixel", "arm/position"]
    for name, place in truth.items():
        point = found[name]
        assert np.linalg.norm(point.position - place - 3 * STEP) < 2.5e-3 and point.visible and point.confidence > 0.9
        x, y = place[:2]
        normal = np.array([0.4 * np.cos(20 * x + 0.4) * np.cos(17 * y) + 0.05, -0.34 * np.sin(20 * x + 0.4) * np.sin(17 * y), -1])
        assert point.normal @ normal / np.linalg.norm(normal) > np.cos(np.radians(4))
        np.testing.assert_allclose(point.rotation[:, 2], point.normal, atol=1e-5)
        assert point.rotation[0, 0] > 0.9 and 1e-8 < np.trace(point.covariance) < 1e-4
    answer = bench.ask("LIST")
    assert list(answer.names) == list(found)
    np.testing.assert_allclose([(p.x, p.y, p.z) for p in answer.positions], [p.position for p in found.values()], atol=1e-9)


def test_poses_and_markers_are_of_the_same_points(bench: PointBench, scene) -> None:
    assert bench.ask("ADD", "a", (100, 80)).success
    depth = scene.depth(STEP)
    depth[40:60, 45:75] = 0.35          # something before the point of the parameter
    stamp = bench.send(scene, STEP, depth=depth)
    found = bench.points(stamp)
    assert found["a"].visible and not found["from_start"].visible
    poses = bench.message(topics.POINT_POSES, stamp)
    np.testing.assert_allclose([[getattr(p.position, axis) for axis in "xyz"] for p in poses.poses], [p.position for p in found.values()])
    heard = bench.heard[topics.POINT_MARKERS]
    assert bench.peer.until(lambda: heard and convert.stamp_ns(heard[-1].markers[0].header) == stamp)
    clear, *others = heard[-1].markers
    assert clear.action == clear.DELETEALL and [m.text for m in others if m.type == m.TEXT_VIEW_FACING] == list(found)
    grey = {m.text: m.color.g == m.color.r for m in others if m.text}
    assert grey == {"from_start": True, "a": False} and len(others) == 4


def test_a_new_reference_drops_them_and_says_so_once(bench: PointBench, scene) -> None:
    assert bench.ask("ADD", "gone_soon", (100, 80)).success
    bench.begin()
    stamp = bench.send(scene, TURN)
    assert bench.answer(stamp).status == 1
    found = bench.points(stamp)
    assert list(found) == ["from_start"] and np.isnan(found["from_start"].covariance).all()
    assert np.linalg.norm(found["from_start"].position - scene.points(np.array([WANTED]), TURN)[0]) < 1e-3
    bench.answer(bench.send(scene, TURN))
    bench.node.wait_for_output("gone_soon are dropped")
    told = [line for line in bench.node.lines if "gone_soon are dropped with the reference surface" in line]
    assert len(told) == 1 and "WARN" in told[0] and not any("from_start" in line and "dropped" in line for line in bench.node.lines)
    assert any("track_points: nowhere at (3000, 20) is not followed" in line for line in bench.node.lines)


def test_what_cannot_be_named_is_refused_with_the_reason(bench: PointBench, scene) -> None:
    depth = scene.depth(STEP)
    depth[70:90, 90:110] = np.nan
    depth[20:50, 100:150] = 0.3
    assert bench.answer(bench.send(scene, STEP, depth=depth)).status == 1
    for xy, words in (((100, 80), "no depth reading at pixel (100, 80)"), ((125, 35), "something else than the followed surface"),
                      ((-40, 1e9), "no depth reading"), ((float("nan"), 4), "calibration covers")):
        answer = bench.ask("ADD", "a", xy)
        assert not answer.success and words in answer.message, answer.message
    for position, words in (((0, 0, 0.3), "mm off the surface"), ((0, float("inf"), 0), "not finite")):
        answer = bench.ask("ADD", "a", position=position)
        assert not answer.success and words in answer.message, answer.message
    assert "already: remove it first" in bench.ask("ADD", "from_start", (40, 100)).message
    assert "cannot be named 'two words'" in bench.ask("ADD", "two words", (40, 100)).message
    assert "cannot be named ''" in bench.ask("ADD", "", (40, 100)).message
    answer = bench.ask("REMOVE", "unknown")
    assert not answer.success and "no point is named 'unknown' (named points: from_start)" in answer.message
    assert list(answer.names) == ["from_start"]
    answer = bench.ask("REMOVE", "from_start")
    assert answer.success and list(answer.names) == []
    stamp = bench.send(scene, STEP)
    assert bench.points(stamp) == {} and bench.message(topics.POINT_POSES, stamp).poses == []


def test_while_the_surface_is_lost(bench: PointBench, scene) -> None:
    stamp = bench.send(scene, depth=np.zeros((144, 192), np.float32))
    assert bench.answer(stamp).status == 3
    point = bench.points(stamp)["from_start"]
    assert not point.visible and point.confidence == 0 and np.isnan(point.covariance).all()
    answer = bench.ask("ADD", "a", (100, 80))
    assert not answer.success and "the surface is lost" in answer.message


def test_pixels_are_those_of_a_lens_with_distortion(bench: PointBench, scene, relief) -> None:
    bent = relief(Lens(CAMERA, PLUMB_BOB, BARREL))
    bench.change_camera(bent)
    for number in range(2):
        stamp = bench.send(bent, number * STEP)
        assert bench.answer(stamp).status == 1
    pixel = np.array([[25.0, 25.0]])
    assert bench.ask("ADD", "edge", pixel[0]).success
    found = bench.points(bench.send(bent, STEP))
    assert np.linalg.norm(found["edge"].position - bent.points(pixel, STEP)[0]) < 1.5e-3
    assert np.linalg.norm(found["from_start"].position - bent.points(np.array([WANTED]), REST)[0] - STEP) < 1.5e-3


def test_tf_frames_or_why_there_are_none(bench: PointBench, scene) -> None:
    try:
        import tf2_msgs  # noqa: F401
    except ImportError:
        told = [line for line in bench.node.lines if "named points are no TF frames: tf2_msgs is not installed" in line]
        assert len(told) == 1 and "WARN" in told[0]
        return
    heard = bench.peer.hear("/tf", "tf2_msgs/msg/TFMessage")
    bench.peer.be_known_to(NODE)
    stamp = bench.send(scene, STEP)
    assert bench.peer.until(lambda: any(convert.stamp_ns(m.transforms[0].header) == stamp for m in heard))
    assert heard[-1].transforms[0].child_frame_id == "from_start"


class FakeNode:
    """Of a node, what PointTracking takes for TF; what it publishes."""

    def __init__(self) -> None:
        self.values, self.sent = {"track_points": "", "publish_tf": True}, []

    def create_service(self, *_: object) -> None:
        pass

    def create_publisher(self, kind: object, topic: str, _qos: object) -> FakeNode:
        assert (kind, topic) == ("TFMessage", "/tf")
        return self

    def publish(self, message: object) -> None:
        self.sent.append(message)

    def get_logger(self) -> FakeNode:
        return self

    def warning(self, text: str, once: bool = False) -> None:
        raise AssertionError(text)


def test_tf_is_sent_while_the_surface_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """tf2_msgs is in no wheel: the message's class is left out here."""
    from dalf_core.camera import PinholeCamera
    from dalf_core.tracking import SurfaceTracker
    from dalf_ros.services import point_tracking

    monkeypatch.setattr(point_tracking, "ros_class", lambda kind: kind.rpartition("/")[2])
    monkeypatch.setattr(point_tracking, "ros_message", lambda _, fields: fields["transforms"])
    node, tracker = FakeNode(), SurfaceTracker()
    tracking = point_tracking.PointTracking(node)
    tracking.configure(tracker)
    camera = PinholeCamera(60.0, 60.0, 31.5, 23.5, 64, 48)
    xy = np.stack(np.meshgrid(np.arange(4.0, 60, 6), np.arange(4.0, 44, 6)), axis=-1).reshape(-1, 2).astype(np.float32)

    def followed(depth_m: float, count: int):
        index = np.arange(len(xy))[:count]
        pairs = Matches(index, index, np.zeros(count, np.float32), np.ones(count, bool))
        return tracker.process(FrameMatches(1 + count, 1, (64, 48), (64, 48), pairs, xy[:count], xy[:count]),
                               np.full((48, 64), depth_m, np.float32), camera)

    frame = followed(0.7, len(xy))
    tracking.publish_frames(frame, "/optical")      # nothing is named yet
    tracker.points.add("grasp", np.array([0.1, 0.05, 0.7]), tracker.surface, 0.02)
    tracking.publish_frames(frame, "/optical")
    node.values["publish_tf"] = False
    tracking.publish_frames(frame, "/optical")
    node.values["publish_tf"] = True
    tracking.publish_frames(followed(0.0, 0), "/optical")       # lost
    (link,), = node.sent
    assert (link["header"]["frame_id"], link["child_frame_id"]) == ("optical", "grasp")
    np.testing.assert_allclose(list(link["transform"]["translation"].values()), [0.1, 0.05, 0.7], atol=1e-3)
