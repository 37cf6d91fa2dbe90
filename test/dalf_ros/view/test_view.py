"""`view` as a process between a page and nodes: here a node of this process says what feature_node and registration_node say."""
from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("websockets")

import rclpy  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

from dalf_ros.conversions import messages as convert  # noqa: E402
from dalf_ros.conversions import topics  # noqa: E402
from dalf_ros.conversions.message_factory import ros_class, ros_message  # noqa: E402
from dalf_ros.nodes.inputs import LATCHED_QOS, RESULT_QOS  # noqa: E402
from dalf_ros.view.viewer import IMAGE  # noqa: E402

REST = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1]], np.float32)
TRIANGLES = np.array([[0, 2, 1]], np.uint32)
COLORS = np.arange(9, dtype=np.uint8).reshape(3, 3)


class Nodes:
    """What the real nodes publish and serve, as far as a page shows it; answers run on a thread of their own."""

    def __init__(self, context: object) -> None:
        from rclpy.executors import SingleThreadedExecutor
        from std_srvs.srv import Trigger

        self.node = rclpy.create_node("feature_node", context=context)
        self.called: list[str] = []
        self.kinds = {IMAGE: topics.TYPES[topics.DEBUG_COMPRESSED], **{name: topics.TYPES[name] for name in
                      (topics.MESH, topics.REFERENCE, topics.STATUS)}}
        self._publishers: dict[str, object] = {}
        for name in ("reset", "set_reference"):
            self.node.create_service(Trigger, f"~/{name}", lambda _, answer, name=name: self._answer(name, answer))
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _answer(self, name: str, answer: object) -> object:
        self.called.append(name)
        answer.success, answer.message = name == "reset", f"told of {name}"
        return answer

    def advertise(self, *names: str) -> None:
        for name in names:
            self._publishers[name] = self.node.create_publisher(
                ros_class(self.kinds[name]), name, LATCHED_QOS if name in topics.LATCHED else RESULT_QOS)

    def wanted(self, name: str) -> bool:
        return self._publishers[name].get_subscription_count() > 0

    def publish(self, name: str, **fields: object) -> None:
        self._publishers[name].publish(ros_message(self.kinds[name], fields))

    def mesh(self, name: str, topology: int, vertices: np.ndarray, **others: np.ndarray) -> None:
        head = convert.header(7, "camera")
        self.publish(name, **convert.surface_mesh(head, head, topology, vertices, **others))

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(5)
        self.node.destroy_node()


@pytest.fixture
def nodes(ros_context) -> Iterator[Nodes]:
    made = Nodes(ros_context)
    yield made
    made.close()


class Page:
    def __init__(self, port: int) -> None:
        self.socket = connect(f"ws://localhost:{port}/stream", max_size=None)
        self.texts: dict[str, str] = {}
        self.data: dict[bytes, bytes] = {}

    def wait(self, what: Callable[[], bool], meanwhile: Callable[[], None] = lambda: None) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if what():
                return
            meanwhile()
            try:
                data = self.socket.recv(0.1)
            except TimeoutError:
                continue
            if isinstance(data, str):
                self.texts |= json.loads(data)
            else:
                self.data[data[:1]] = data[4:]
        pytest.fail(f"{self.texts} {self.data.keys()}")

    def surface(self) -> list[float]:
        data = self.data.get(b"S", b"\0\0\0\0")
        return np.frombuffer(data, "<f4", 3 * int.from_bytes(data[:4], "little"), 4).tolist()


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def test_from_topics_to_the_page_and_from_buttons_to_services(ros_process, nodes, port):
    view = ros_process("dalf_ros.view", "--port", port)
    view.wait_for_output(f"open http://localhost:{port}")
    page = Page(port)
    page.wait(lambda: "no feature_node: nobody publishes /feature_node/debug_image/compressed" in page.texts.get("text", ""))
    nodes.advertise(IMAGE)
    page.wait(lambda: "no image for" in page.texts["text"])

    def images() -> None:
        """From here on always: however long the test takes, they do not stop coming."""
        nodes.publish(IMAGE, header=convert.header(7, "camera"), format="jpeg", data=np.frombuffer(b"picture", np.uint8))

    page.wait(lambda: "no registration_node" in page.texts["text"], images)
    assert page.data[b"I"] == b"picture"

    nodes.advertise(topics.REFERENCE, topics.MESH, topics.STATUS)
    nodes.mesh(topics.REFERENCE, 4, REST, triangles=TRIANGLES, colors=COLORS)
    page.wait(lambda: b"T" in page.data and page.surface() == REST.reshape(-1).tolist(), images)
    assert page.data[b"T"][8:] == TRIANGLES.tobytes() + COLORS.tobytes()
    moved = REST + np.float32(0.25)
    page.wait(lambda: page.surface() == moved.reshape(-1).tolist(),
              lambda: (images(), nodes.mesh(topics.MESH, 4, moved, visible=np.array([1, 0, 1], np.uint8))))
    assert page.data[b"S"][-3:] == b"\1\0\1"
    for _ in range(5):
        nodes.mesh(topics.MESH, 5, REST)        # of a reference that is not known here
    status = {"status": 1, "residual_m": 0.00123, "matches": 40, "inliers": 37, "visible_fraction": 0.5}
    page.wait(lambda: page.texts["text"].startswith("tracked"), lambda: (images(), nodes.publish(topics.STATUS, **status)))
    assert "1.2 mm, 37 of 40 matches, 50% of the surface seen" in page.texts["text"] and page.texts["state"] == "tracked"
    assert page.surface() == moved.reshape(-1).tolist()

    page.wait(lambda: "no status for" in page.texts["text"], images)        # one that is told for ever would be taken for news
    page.socket.send("reset")
    page.wait(lambda: page.texts["note"] == "reset: told of reset", images)
    page.socket.send("set reference")
    page.wait(lambda: page.texts["note"] == "set_reference failed: told of set_reference", images)
    assert nodes.called == ["reset", "set_reference"]
    assert view.stop() == 0 and "Traceback" not in view.output
    assert view.output.count("no image for") == 1       # told once, not every second


def test_what_nobody_looks_at_is_not_asked_for(ros_process, nodes, port, spin_until):
    nodes.advertise(IMAGE, topics.MESH)
    view = ros_process("dalf_ros.view", "--port", port)
    view.wait_for_output("open http")
    page = Page(port)
    page.wait(lambda: nodes.wanted(IMAGE) and nodes.wanted(topics.MESH))
    page.socket.close()
    for name in (IMAGE, topics.MESH):
        for _ in range(600):
            if not nodes.wanted(name):
                break
            threading.Event().wait(0.1)
        assert not nodes.wanted(name)


def test_a_port_in_use_is_told(ros_process, port):
    with socket.socket() as other:
        other.bind(("localhost", port))
        other.listen()
        view = ros_process("dalf_ros.view", "--host", "127.0.0.1", "--port", port)
        assert view.wait() == 2
    assert f"error: port {port} is in use" in view.output
