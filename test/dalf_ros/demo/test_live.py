"""What a live run is made of: processor time, the nodes' command lines, the recording's timetable, a listener."""
from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dalf_ros.bags.bag_source import BagError
from dalf_ros.demo.cpu_time import CpuTime, cpu_seconds
from dalf_ros.demo.listener import CLOCK, Listener
from dalf_ros.demo.live import MESH, LiveSetup, _play_words
from dalf_ros.demo.played_recording import PlayedRecording

FOUND = {"color": "/c", "depth": "/d", "camera_info": "/i", "mask": "/m", "image_transport": "raw", "depth_transport": "compressedDepth",
         "frame": "f", "played": "/c /d/compressedDepth /i /m"}
RECORDING = PlayedRecording(Path("bag"), FOUND, np.array([0, 1]), np.array([0, 10**9]))


def test_processor_time_is_that_of_the_process() -> None:
    before, began = CpuTime({"me": os.getpid()}), time.process_time()
    while time.process_time() - began < 0.4:
        pass
    after = CpuTime({"me": os.getpid()})
    used = after.shares_since(before)["me"] * (after.time_s - before.time_s)
    assert used == pytest.approx(time.process_time() - began, abs=0.05)


def test_a_process_that_has_ended_has_no_share() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    before = CpuTime({"gone": process.pid})
    process.communicate(b"\n")
    assert cpu_seconds(process.pid) is None and np.isnan(CpuTime({"gone": process.pid}).shares_since(before)["gone"])


def test_the_nodes_get_topics_and_parameters() -> None:
    setup = LiveSetup(RECORDING, separate=False, parameters={"top_k": "500", "use_mask": "false"})
    (name, words), = setup.commands().items()
    assert name == "tracker" and words[0] == "--ros-args"
    pairs = set(zip(words[1::2], words[2::2]))
    assert {("-r", "image:=/c"), ("-r", "depth:=/d"), ("-r", "camera_info:=/i"), ("-r", "mask:=/m"), ("-p", "top_k:=500"),
            ("-p", "use_mask:=false"), ("-p", "depth_transport:=compressedDepth")} <= pairs
    assert ("-p", "use_mask:=true") not in pairs
    assert list(LiveSetup(RECORDING).commands()) == ["feature_node", "registration_node"]


def test_the_player_waits_for_both_nodes() -> None:
    words = _play_words(LiveSetup(RECORDING))
    first = words.index("--wait-for") + 1
    assert words[first:first + 3] == ["/feature_node", "/registration_node", "--topics"]


@pytest.mark.parametrize(("wrong", "said"), [({"rate": 0.0}, "rate"), ({"loops": 0}, "loops"), ({"parameters": {"topk": "1"}}, "topk")])
def test_a_wrong_setup_is_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LiveSetup(RECORDING, **wrong)


def test_the_timetable_of_a_recording(rgbd_bag: Path, scene: type) -> None:
    played = PlayedRecording.read(rgbd_bag, scene.mask)
    assert played.played[0] == scene.color and set(played.played) == {scene.color, scene.depth, scene.info, scene.mask}
    assert played.stamps_ns.tolist() == [scene.stamp(number) for number in range(12)] and len(played.due_ns) == 12
    assert played.period_s == pytest.approx(scene.period_ns * 1e-9)


def test_a_recording_without_depth_is_refused(scene: type, tmp_path: Path) -> None:
    bag = scene.write_bag2(tmp_path / "color", scene.messages(3, (scene.color, scene.info)))
    with pytest.raises(BagError, match="no depth"):
        PlayedRecording.read(bag)


def test_a_listener_keeps_the_bytes_it_is_told_to(own_graph: object, spin_until: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    rclpy = pytest.importorskip("rclpy")
    from dalf_ros.conversions.message_factory import ros_message
    from dalf_ros.conversions.messages import header, surface_mesh

    rclpy.init(args=[])
    try:
        listener = Listener({MESH: "dalf/msg/SurfaceMesh"}, [MESH])
        node = rclpy.create_node("sender")
        clock = node.create_publisher(type(ros_message("rosgraph_msgs/msg/Clock", {})), CLOCK, 10)
        mesh = node.create_publisher(type(ros_message("dalf/msg/SurfaceMesh", {})), MESH, 10)
        assert listener.spin(20, lambda: clock.get_subscription_count() > 0 and mesh.get_subscription_count() > 0)
        listener.spin(0.4, lambda: False)
        clock.publish(ros_message("rosgraph_msgs/msg/Clock", {"clock": {"sec": 3, "nanosec": 4}}))
        mesh.publish(ros_message("dalf/msg/SurfaceMesh", surface_mesh(header(5, "f"), header(2, "f"), 1, np.ones((2, 3)))))
        assert listener.spin(20, lambda: bool(listener.arrivals[CLOCK] and listener.arrivals[MESH]))
        arrivals = listener.take()
        assert arrivals[CLOCK][0].stamp_ns == 3_000_000_004 and arrivals[CLOCK][0].data == b""
        assert arrivals[MESH][0].stamp_ns == 5 and len(arrivals[MESH][0].data) > 24
        assert listener.arrivals[MESH] == [] and listener.hears(MESH) and not listener.hears("/other")
        node.destroy_node()
        listener.close()
    finally:
        rclpy.try_shutdown()
