"""Clicked points, taken to the camera's frame: by a transform of /tf that comes late, or refused with the frames named."""
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from dalf_core.templates.selection import SelectionError  # noqa: E402
from dalf_ros.services import clicked_points  # noqa: E402
from dalf_ros.services.clicked_points import ClickedPoints  # noqa: E402


class Node:
    """What the points come from, and what is logged of them."""

    def __init__(self, has_tf: bool = True) -> None:
        self.warnings: list[str] = []
        self.callbacks: dict = {}
        self.inputs = SimpleNamespace(add=self._add)
        self.timers = 0
        self._has_tf = has_tf

    def _add(self, role, topic, kind, callback, qos, optional) -> None:
        if kind.startswith("tf2") and not self._has_tf:
            raise ModuleNotFoundError("tf2_msgs")
        assert optional
        self.callbacks[topic] = callback

    def get_logger(self) -> SimpleNamespace:
        return SimpleNamespace(warning=self.warnings.append)

    def create_timer(self, *_, **__) -> object:
        self.timers += 1
        return object()

    def destroy_timer(self, _) -> None:
        self.timers -= 1


def point(x, y, z, frame) -> SimpleNamespace:
    return SimpleNamespace(header=SimpleNamespace(frame_id=frame), point=SimpleNamespace(x=x, y=y, z=z))


def transform(parent, child, translation, quaternion) -> SimpleNamespace:
    t, q = (SimpleNamespace(**dict(zip(names, values))) for names, values in (("xyz", translation), ("xyzw", quaternion)))
    return SimpleNamespace(transforms=[SimpleNamespace(header=SimpleNamespace(frame_id=parent), child_frame_id=child,
                                                       transform=SimpleNamespace(translation=t, rotation=q))])


def made(node, frame="camera", problem=""):
    """ClickedPoints of a node whose images are in a frame, and the list of points that it gives."""
    got: list = []

    def newest() -> dict:
        if problem:
            raise SelectionError(problem)
        return {"image": SimpleNamespace(header=SimpleNamespace(frame_id=frame))}

    clicks = ClickedPoints(node, newest, lambda place, _: got.append(place.tolist()))
    clicks.listen()
    return clicks, got


def test_a_point_in_the_optical_frame_is_taken_as_it_is() -> None:
    node = Node()
    _, got = made(node)
    node.callbacks["clicked_point"](point(0.1, 0.2, 0.5, "/camera"))
    assert got == [[0.1, 0.2, 0.5]] and "/tf" not in node.callbacks and not node.warnings


def test_another_frame_waits_for_its_transform() -> None:
    """The camera is 1 m along x of the map, turned by 90 degrees about z: what lies along the map's y is along the camera's x."""
    node = Node()
    clicks, got = made(node)
    node.callbacks["clicked_point"](point(1.0, 0.5, 2.0, "map"))
    assert not got and node.timers == 1
    clicks._retry()
    assert not got and not node.warnings and node.timers == 1
    node.callbacks["/tf"](transform("map", "base", (1, 0, 0), (0, 0, 0, 1)))
    node.callbacks["/tf_static"](transform("base", "camera", (0, 0, 0), (0, 0, np.sqrt(0.5), np.sqrt(0.5))))
    clicks._retry()
    np.testing.assert_allclose(got, [[0.5, 0.0, 2.0]], atol=1e-12)
    assert node.timers == 0
    node.callbacks["clicked_point"](point(1.0, 0.0, 3.0, "map"))
    np.testing.assert_allclose(got[1], [0.0, 0.0, 3.0], atol=1e-12)


def test_a_frame_that_nothing_connects_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(clicked_points, "PATIENCE_S", 0.0)
    node = Node()
    clicks, got = made(node)
    node.callbacks["clicked_point"](point(0, 0, 1, "map"))
    assert not got and node.timers == 0 and "in frame map, the camera's optical frame is camera, and no transform" in node.warnings[0]
    bare = Node(has_tf=False)
    _, got = made(bare)
    bare.callbacks["clicked_point"](point(0, 0, 1, "map"))
    assert not got and "in frame map, the camera's optical frame is camera, and without tf2_msgs" in bare.warnings[0]


@pytest.mark.parametrize(("clicked", "frame", "problem", "why"), [
    (point(0, 0, float("nan"), "camera"), "camera", "", "no number"), (point(0, 0, 1, ""), "camera", "", "point names no frame_id"),
    (point(0, 0, 1, "camera"), "", "", "image names no frame_id"), (point(0, 0, 1, "camera"), "camera", "no image yet", "no image yet")])
def test_what_is_no_point(clicked, frame, problem, why) -> None:
    node = Node()
    _, got = made(node, frame, problem)
    for _ in range(2):
        node.callbacks["clicked_point"](clicked)
    assert not got and len(node.warnings) == 2 and all(why in text for text in node.warnings), "each click is answered"
