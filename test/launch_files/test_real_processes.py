"""Each launch file with its default arguments and with others, real processes and all. Skipped where launch_ros is not installed."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not installed")
rclpy = pytest.importorskip("rclpy")
pytestmark = pytest.mark.slow
LOADED = "warmed up"


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a simulated recording of 12 frames."""
    pytest.importorskip("mujoco")
    pytest.importorskip("open3d")
    from dalf_ros.simulate import simulate

    return simulate(tmp_path_factory.mktemp("launch") / "demo", frames=12).parent


@pytest.fixture
def weights(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALF_WEIGHTS", str(data_folder / "dalf" / "model_ts-fl_final.pth"))


@pytest.fixture
def small(tmp_path: Path) -> str:
    """A parameter file that makes features quick."""
    path = tmp_path / "small.yaml"
    path.write_text("/**/feature_node:\n  ros__parameters:\n    top_k: 300\n    image_scale: 0.5\n")
    return str(path)


@pytest.fixture
def graph(ros_context: object) -> Iterator[Callable[[], set[str]]]:
    """The full names of the nodes in the test's domain."""
    node = rclpy.create_node("graph", context=ros_context)
    yield lambda: {f"{space.rstrip('/')}/{name}" for name, space in node.get_node_names_and_namespaces()} - {"/graph"}
    node.destroy_node()


@pytest.fixture
def statuses(ros_context: object, spin_until: Callable) -> Iterator[Callable[[str], list]]:
    """Waits for some RegistrationStatus messages on a topic."""
    from rclpy.executors import SingleThreadedExecutor

    from dalf_ros.conversions.message_factory import ros_class
    from dalf_ros.nodes.inputs import RESULT_QOS

    node = rclpy.create_node("listener", context=ros_context)
    executor = SingleThreadedExecutor(context=ros_context)
    executor.add_node(node)

    def wait(topic: str) -> list:
        got: list = []
        node.create_subscription(ros_class("dalf/msg/RegistrationStatus"), topic, got.append, RESULT_QOS)
        spin_until(executor, lambda: len(got) >= 2, 240)
        return got

    yield wait
    executor.shutdown()
    node.destroy_node()


def until(condition: Callable[[], bool], spin_until: Callable) -> bool:
    """Wait, without a node to spin."""
    return spin_until(SimpleNamespace(spin_once=lambda timeout_sec: time.sleep(timeout_sec)), condition, 120)


def test_live(weights: None, launch_file: Callable, graph: Callable, spin_until: Callable) -> None:
    live = launch_file("live", separate="false")
    live.wait_for_output(f"registration on the CPU, {LOADED}", 240)
    assert until(lambda: graph() >= {"/feature_node", "/registration_node"}, spin_until), live.output
    check_quiet_end(live)
    assert live.output.count("process started") == 1


def test_live_in_two_processes_and_a_namespace(weights: None, launch_file: Callable, graph: Callable, spin_until: Callable) -> None:
    live = launch_file("live", camera="other", color="/c", depth="/d", camera_info="/i", namespace="left")
    assert until(lambda: graph() >= {"/left/feature_node", "/left/registration_node"}, spin_until), live.output
    live.wait_for_output(f"registration on the CPU, {LOADED}", 240)
    check_quiet_end(live)
    assert live.output.count("process started") == 2


def test_a_node_that_cannot_start_ends_the_launch(launch_file: Callable) -> None:
    live = launch_file("live", weights="/nowhere/model.pth", camera="usb_cam")
    live.wait(240)
    assert "no such file" in live.output and "was required: shutting down" in live.output, live.output


def test_demo(weights: None, recording: Path, launch_file: Callable, statuses: Callable, tmp_path: Path, small: str) -> None:
    demo = launch_file("demo", environment={"ROS_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}, frames=12, rate=0.1, params_file=small)
    got = statuses("/status")
    assert len(got) >= 2, demo.output
    assert got[0].header.frame_id == "camera_color_optical_frame" and got[0].vertices > 100
    assert (tmp_path / "dalf_demo" / "bag" / "metadata.yaml").is_file()
    assert "simulating: 100%" in demo.output
    assert list(tmp_path.glob("dalf_launch_*"))
    check_quiet_end(demo)
    assert not list(tmp_path.glob("dalf_launch_*"))


def check_quiet_end(launched: Any) -> None:
    """Ctrl-C ends all programs, and none of them as if it had died."""
    assert launched.stop() == 0, launched.output
    assert "Traceback" not in launched.output and "has died" not in launched.output, launched.output


def test_ctrl_c_while_the_demo_simulates(launch_file: Callable, tmp_path: Path) -> None:
    demo = launch_file("demo", recording=tmp_path / "demo", frames=600)
    demo.wait_for_output("simulating:", 120)
    check_quiet_end(demo)
    assert "feature_node" not in demo.output and not (tmp_path / "demo").exists()


def test_the_launch_ends_when_one_half_is_shut_down(weights: None, launch_file: Callable, ros_context: object,
                                                    spin_until: Callable) -> None:
    """`ros2 lifecycle set /registration_node shutdown`"""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    live = launch_file("live")
    live.wait_for_output(f"registration on the CPU, {LOADED}", 240)
    node = rclpy.create_node("operator", context=ros_context)
    executor = rclpy.executors.SingleThreadedExecutor(context=ros_context)
    executor.add_node(node)

    def call(kind: type, name: str, request: object) -> Any:
        client = node.create_client(kind, f"/registration_node/{name}")
        assert spin_until(executor, client.service_is_ready, 60)
        future = client.call_async(request)
        assert spin_until(executor, future.done, 60), live.output
        return future.result()

    assert spin_until(executor, lambda: call(GetState, "get_state", GetState.Request()).current_state.label == "active", 60)
    shutdown = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVE_SHUTDOWN))
    assert call(ChangeState, "change_state", shutdown).success
    assert live.wait(60) == 0, live.output
    assert "shut down for good" in live.output and "process[registration_node-2] was required" in live.output
    assert "has died" not in live.output
    executor.shutdown()
    node.destroy_node()


def test_demo_again_in_a_namespace(weights: None, recording: Path, launch_file: Callable, statuses: Callable, small: str) -> None:
    demo = launch_file("demo", recording=recording, frames=12, rate=0.1, namespace="cloth", separate="false", params_file=small)
    assert len(statuses("/cloth/status")) >= 2, demo.output
    assert "simulating" not in demo.output
    check_quiet_end(demo)


@pytest.mark.parametrize("compressed", [False, True])
def test_bag(weights: None, recording: Path, launch_file: Callable, statuses: Callable, small: str, tmp_path: Path,
             compressed: bool) -> None:
    path = repacked(recording / "bag", tmp_path / "bag") if compressed else recording / "bag"
    bag = launch_file("bag", bag=path, rate=0.1, loop="true", params_file=small)
    assert len(statuses("/status")) >= 2, bag.output
    check_quiet_end(bag)


def repacked(source: Path, target: Path) -> Path:
    """A recording with its colour as jpeg and its depth as compressedDepth alone."""
    import cv2
    import numpy as np

    from dalf_ros.bags.bag_source import BagSource
    from dalf_ros.bags.bag_writer import BagWriter
    from dalf_ros.conversions.messages import header, stamp_ns
    from dalf_ros.images.image_conversion import from_color_compressed, to_color, to_depth
    from dalf_ros.simulation.recording import CAMERA_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC

    packed = "sensor_msgs/msg/CompressedImage"
    with BagSource(source) as before, BagWriter(target) as after:
        for raw in before.messages([COLOR_TOPIC, DEPTH_TOPIC, CAMERA_INFO_TOPIC]):
            message = before.deserialize(raw)
            head = header(stamp_ns(message.header), message.header.frame_id)
            if raw.topic == COLOR_TOPIC:
                after.write(f"{COLOR_TOPIC}/compressed", packed, raw.time_ns, from_color_compressed(to_color(message), head))
            elif raw.topic == DEPTH_TOPIC:
                png = cv2.imencode(".png", np.rint(1000 * np.nan_to_num(to_depth(message))).astype(np.uint16))[1].reshape(-1)
                fields = {"header": head, "format": "16UC1; compressedDepth png", "data": np.concatenate([np.zeros(12, np.uint8), png])}
                after.write(f"{DEPTH_TOPIC}/compressedDepth", packed, raw.time_ns, fields)
            else:
                after.write_raw(raw.topic, raw.type, raw.time_ns, before.cdr(raw))
    return target


def test_bag_ends_with_its_recording(weights: None, recording: Path, launch_file: Callable, small: str) -> None:
    bag = launch_file("bag", bag=recording / "bag", exit_at_end="true", mask="/camera/object_mask", params_file=small)
    assert bag.wait(240) == 0, bag.output
    assert "/camera/object_mask: 12 messages" in bag.output and "process[play-3] was required" in bag.output, bag.output


def test_rviz(rviz2: Path, launch_file: Callable) -> None:
    from ament_index_python.packages import get_package_share_directory

    rviz = launch_file("rviz", environment={"OVERRIDE_LAUNCH_PROCESS_OUTPUT": "screen"})
    line = rviz.wait_for_output("told:")
    assert f"-d {get_package_share_directory('dalf')}/config/dalf.rviz -f camera_color_optical_frame" in line
    assert rviz.stop() == 0 and "Traceback" not in rviz.output


def test_rviz_of_a_frame_in_a_namespace(rviz2: Path, launch_file: Callable) -> None:
    rviz = launch_file("rviz", environment={"OVERRIDE_LAUNCH_PROCESS_OUTPUT": "screen"}, frame="tool", namespace="left")
    line = rviz.wait_for_output("told:")
    assert "-f tool" in line and "/surface/points:=/left/surface/points" in line
    assert rviz.stop() == 0
