"""The order of arrivals, requests and work in a node, with its worker held back by hand; real messages from another node."""
from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from dalf_ros.conversions.messages import header, stamp_ns
from dalf_ros.images.image_conversion import from_mask

rclpy = pytest.importorskip("rclpy")

from dalf_ros.nodes.worker_node import WorkerNode  # noqa: E402

IMAGE = "sensor_msgs/msg/Image"
SECOND = 1_000_000_000


class HeldNode(WorkerNode):
    """Works on an image only when it is let; notes what it does, in order: stamps in seconds, and "forget"."""

    def __init__(self) -> None:
        super().__init__("feature_node", (), primary="image")
        self.did: list[object] = []
        self.may_work = threading.Semaphore(0)
        self.working = threading.Event()
        self.broken = False

    def load(self) -> None:
        pass

    unload = load

    def listen(self) -> None:
        self.inputs.add_image("image", "image", lambda message: self.arrived("image", message))
        if self.values["use_mask"]:
            self.inputs.add("mask", "mask", IMAGE, lambda message: self.arrived("mask", message))

    def process(self, item: dict) -> None:
        self.working.set()
        assert self.may_work.acquire(timeout=120)
        if self.is_in_order(stamp_ns(item["image"].header)):
            self.did.append(stamp_ns(item["image"].header) / SECOND)

    def forget(self) -> None:
        self.did.append("forget")
        if self.broken:
            raise KeyError("nothing to forget")


@pytest.fixture
def node(ros_domain: int, own_peer, request: pytest.FixtureRequest) -> Iterator[HeldNode]:
    rclpy.init(args=["--ros-args", *(word for name in getattr(request, "param", []) for word in ("-p", name))], domain_id=ros_domain)
    made = HeldNode()
    own_peer.executor.add_node(made)
    made.trigger_configure()
    made.trigger_activate()
    yield made
    made.may_work.release(1000)
    made.stop()
    own_peer.executor.remove_node(made)
    made.destroy_node()
    rclpy.try_shutdown()


def send(peer, seconds: float, topic: str = "/image") -> None:
    peer.publish(topic, IMAGE, from_mask(np.zeros((4, 4)), header(int(seconds * SECOND), "cam")))


def request(peer, service: str) -> None:
    from std_srvs.srv import Trigger

    assert peer.call(f"/feature_node/{service}", Trigger, Trigger.Request()).success


@pytest.mark.parametrize("service", ["reset", "set_reference"])
def test_only_what_arrives_after_the_request_is_used(node: HeldNode, own_peer, service: str) -> None:
    """One image is in work and one waits when the request comes: neither is worked on after it."""
    send(own_peer, 1)
    assert own_peer.until(node.working.is_set)
    send(own_peer, 2)
    assert own_peer.until(lambda: node.mailbox.received == 2)
    request(own_peer, service)
    node.may_work.release(10)
    assert own_peer.until(lambda: "forget" in node.did)
    send(own_peer, 3)
    assert own_peer.until(lambda: node.did[-1] == 3)
    assert node.did == [1, "forget", 3]


def test_an_image_that_is_taken_while_the_request_comes(node: HeldNode, own_peer) -> None:
    """The worker has taken the image, but not begun: the request comes in between."""
    asked, taken, go = threading.Event(), threading.Event(), threading.Event()
    take = node.mailbox.take

    def slow(timeout: float | None = None) -> object:
        asked.set()
        item = take(timeout)
        if item is not None and not taken.is_set():
            taken.set()
            assert go.wait(120)
        return item

    node.mailbox.take = slow
    assert own_peer.until(asked.is_set)         # the worker's take() from before is over
    node.may_work.release(10)
    send(own_peer, 1)
    assert own_peer.until(taken.is_set)
    request(own_peer, "reset")
    go.set()
    assert own_peer.until(lambda: "forget" in node.did)
    send(own_peer, 2)
    assert own_peer.until(lambda: node.did[-1] == 2) and node.did == ["forget", 2]


def test_a_job_that_fails_is_told_and_the_worker_lives(node: HeldNode, own_peer) -> None:
    node.may_work.release(10)
    node.broken = True
    request(own_peer, "reset")
    assert own_peer.until(lambda: node.did == ["forget"])
    node.broken = False
    send(own_peer, 1)
    assert own_peer.until(lambda: node.did[-1] == 1)
    told = own_peer.diagnostics("/feature_node")
    assert told["refused"] == "1" and "KeyError" in told["last_refusal"]


@pytest.mark.parametrize("node", [["use_mask:=true"]], indirect=True)
def test_no_image_without_its_mask(node: HeldNode, own_peer) -> None:
    """A mask for every second image: the others are left out, counted and explained; a mask that is late is waited for."""
    node.may_work.release(100)
    for number in range(4):
        send(own_peer, 10 + 0.2 * number)
        send(own_peer, 10.1 + 0.2 * number)
        send(own_peer, 10 + 0.2 * number, "/mask")
        assert own_peer.until(lambda number=number: node.did and node.did[-1] == 10 + 0.2 * number)
    for number in range(40):
        send(own_peer, 12 + 0.03 * number)
        own_peer.spin(0.01)
    send(own_peer, 12, "/mask")
    assert own_peer.until(lambda: node.did[-1] == 12)
    assert node.did == pytest.approx([10, 10.2, 10.4, 10.6, 12])
    told = own_peer.diagnostics("/feature_node")
    assert told["no_mask"] == "4" and told["level"] == "1"
    assert told["message"] == "no_mask: image left out, the nearest mask is 0.100 s earlier (stamp_tolerance 0.02 s)"


def test_images_without_stamps(node: HeldNode, own_peer) -> None:
    """The time of arrival stands in; otherwise the second would be a repetition of the first."""
    import time

    node.may_work.release(10)
    for count in (1, 2, 3):
        send(own_peer, 0)
        assert own_peer.until(lambda count=count: len(node.did) == count), node.did
    assert all(abs(seconds - time.time()) < 60 for seconds in node.did) and node.did == sorted(node.did)


@pytest.mark.parametrize("node", [["use_mask:=true", "buffer_megabytes:=1"]], indirect=True)
def test_what_waits_is_bounded_and_forgotten_on_deactivation(node: HeldNode, own_peer) -> None:
    large = from_mask(np.zeros((500, 500)), {})
    for number in range(8):
        own_peer.publish("/image", IMAGE, {**large, "header": header(SECOND + number * 30_000_000, "cam")})
        own_peer.spin(0.05)
    assert own_peer.until(lambda: node.synchronizer.skipped == 5), node.synchronizer.skipped
    assert 700_000 < node.synchronizer.bytes <= 1_000_000
    node.trigger_deactivate()
    assert node.synchronizer.bytes == 0
    node.trigger_activate()


def test_a_request_to_an_inactive_node_is_refused_with_the_reason(node: HeldNode, own_peer) -> None:
    from std_srvs.srv import Trigger

    node.trigger_deactivate()
    for service in ("reset", "set_reference"):
        answer = own_peer.call(f"/feature_node/{service}", Trigger, Trigger.Request())
        assert not answer.success and "/feature_node is configured, but not active" in answer.message
    node.trigger_cleanup()
    assert "not configured" in own_peer.call("/feature_node/reset", Trigger, Trigger.Request()).message
    assert node.did == []
    node.trigger_configure()
    node.trigger_activate()
    request(own_peer, "reset")


def test_diagnostics_name_the_camera(node: HeldNode, own_peer) -> None:
    own_peer.diagnostics("/feature_node")
    statuses = [status for array in own_peer.got["/diagnostics"] for status in array.status]
    assert {status.hardware_id for status in statuses} == {"/image"}


@pytest.mark.parametrize("fails", [False, True])
def test_a_model_that_was_loaded_ahead_is_not_loaded_again(ros_domain: int, fails: bool) -> None:
    from rclpy.lifecycle import TransitionCallbackReturn

    rclpy.init(domain_id=ros_domain)
    node = HeldNode()
    loaded = []

    def load() -> None:
        loaded.append(threading.current_thread())
        if fails:
            raise ValueError("no such model")

    node.load = load
    node.load_ahead().exception()
    node.load_ahead().exception()
    expected = TransitionCallbackReturn.FAILURE if fails else TransitionCallbackReturn.SUCCESS
    assert node.trigger_configure() == expected
    assert len(loaded) == 1 and loaded[0] is not threading.main_thread() and not node.is_loading
    node.destroy_node()
    rclpy.try_shutdown()
