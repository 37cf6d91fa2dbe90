"""Real processes with real messages between them: play -> feature_node + registration_node -> this process."""
from __future__ import annotations

import os
import re
import signal
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from dalf_ros.bags.bag_writer import bag_topic
from dalf_ros.conversions import messages as convert
from dalf_ros.conversions import topics

rclpy = pytest.importorskip("rclpy")

from .conftest import Peer, reliably  # noqa: E402

REMAP = {"image": "/camera/color/image_raw", "depth": "/camera/aligned_depth_to_color/image_raw",
         "camera_info": "/camera/color/camera_info", "mask": "/camera/object_mask"}


def node_arguments(**parameters: object) -> list[str]:
    """Command line of a node: remapped to the recording's topics, small models."""
    words = ["--ros-args"]
    for name, target in REMAP.items():
        words += ["-r", f"{name}:={target}"]
    for name, value in parameters.items():
        words += ["-p", f"{name}:={value}"]
    return words


class Listener(Peer):
    """A peer that keeps every message of the given topics, by their short names."""

    def __init__(self, context: object, names: tuple[str, ...]) -> None:
        from dalf_ros.conversions.message_factory import ros_class
        from dalf_ros.nodes.inputs import LATCHED_QOS, RESULT_QOS

        super().__init__(context, "listener")
        self.got = defaultdict(list)
        for name in names:
            qos = LATCHED_QOS if name in topics.LATCHED else RESULT_QOS
            self.node.create_subscription(ros_class(topics.TYPES[name]), bag_topic(name), self.got[name].append, qos)
        self.node.create_subscription(ros_class("diagnostic_msgs/msg/DiagnosticArray"), "/diagnostics", self.got["diagnostics"].append, 10)

    def publishers(self, name: str) -> int:
        return self.node.count_publishers(bag_topic(name))


@pytest.fixture
def listen(ros_context: object):
    made = []

    def make(*names: str) -> Listener:
        made.append(Listener(ros_context, names))
        return made[-1]

    yield make
    for listener in made:
        listener.close()


def test_a_bag_through_three_processes(official_weights: Path, scene: type, rgbd_bag: Path, ros_process, listen, spin_until) -> None:
    """Every topic arrives with right types, the sensor's stamps and frames, and the motion that the bag holds."""
    features = ros_process("dalf_ros.feature_node", *node_arguments(top_k=300, match_to="both"))
    registration = ros_process("dalf_ros.registration_node", *node_arguments())
    listener = listen(*topics.FEATURE_TOPICS, *topics.SURFACE_TOPICS)
    assert spin_until(listener.executor, lambda: all(listener.publishers(n) for n in (topics.MATCHES, topics.STATUS)), 120), (
        features.output + registration.output)
    early = warm_up(listener, scene)
    player = ros_process("dalf_ros.play", rgbd_bag, "--rate", "0.1", "--wait", "20", "--clock", "--topics", *list(REMAP.values())[:3])
    assert spin_until(listener.executor, lambda: len(listener.got[topics.STATUS]) >= 4 and player.process.poll() is not None, 120), (
        player.output + features.output + registration.output)
    assert player.wait() == 0 and f"{scene.color}: 12 messages" in player.output
    spin_until(listener.executor, lambda: False, 1.5)

    def stamp_of(name: str, message: object) -> int:
        return convert.stamp_ns(message.markers[0].header if name == topics.POINT_MARKERS else message.header)

    for name in {*topics.FEATURE_TOPICS, *topics.SURFACE_TOPICS}:
        listener.got[name] = [message for message in listener.got[name] if stamp_of(name, message) != early]
    stamps = {scene.stamp(number): number for number in range(12)}
    unasked = {topics.TEMPLATE, topics.SELECTION, topics.SELECTED_IMAGE}
    assert not any(listener.got[name] for name in unasked)
    for name in {*topics.FEATURE_TOPICS, *topics.SURFACE_TOPICS} - unasked:
        assert listener.got[name], f"nothing on {name}: {features.output} {registration.output}"
        for message in listener.got[name]:
            header = message.markers[0].header if name == topics.POINT_MARKERS else message.header
            assert stamp_of(name, message) in stamps and header.frame_id == scene.frame_id, name
    check_matches(listener.got, scene, stamps)
    check_surface(listener.got, scene, stamps)
    names = {status.name for array in listener.got["diagnostics"] for status in array.status}
    assert {"/feature_node", "/registration_node"} <= names
    assert features.stop() == 0 and registration.stop() == 0
    assert "Traceback" not in features.output + registration.output
    keypoints = re.findall(r"reference image: (\d+) keypoints", features.output)
    assert len(keypoints) == 2 and 50 < int(keypoints[1]) <= 300        # the one of warm_up, and the recording's
    surface = listener.got[topics.REFERENCE][0]
    assert f"reference surface: {len(convert.mesh_of(surface)['vertices'])} vertices, {scene.distance_m:.2f} m away" in registration.output
    assert re.search(r"tracked, \d+\.\d+ surfaces a second, residual \d\.\d mm, \d+ matches", registration.output)


def warm_up(listener: Listener, scene: type) -> int:
    """One image ahead of the recording, its stamp: the network is compiled for its size, which on a busy machine takes longer than the
    recording."""
    from std_srvs.srv import Trigger

    from dalf_ros.images.image_conversion import from_color

    stamp = scene.stamp(0) - 10**10
    listener.publisher(REMAP["image"], "sensor_msgs/msg/Image", to=("/feature_node", "/registration_node"))
    listener.publish(REMAP["image"], "sensor_msgs/msg/Image", from_color(scene.image(0), convert.header(stamp, scene.frame_id)))
    assert listener.until(lambda: listener.got[topics.MATCHES], 120)
    assert listener.call("/feature_node/reset", Trigger, Trigger.Request()).success
    listener.unpublish(REMAP["image"])
    return stamp


def check_matches(got: dict, scene: type, stamps: dict[int, int]) -> None:
    """Matches point where the board went; the first announces the reference."""
    first = convert.matches_of(got[topics.MATCHES][0])
    assert first.stamp_ns == first.reference_stamp_ns
    for message in got[topics.MATCHES][1:]:
        matches = convert.matches_of(message)
        moved = stamps[matches.stamp_ns] - stamps[matches.reference_stamp_ns]
        kept = matches.matches.inlier
        assert kept.sum() >= 20 and matches.image_size == (192, 144)
        np.testing.assert_allclose(np.median((matches.query_xy - matches.reference_xy)[kept], axis=0), [2.0 * moved, 0], atol=0.5)
    array = convert.features_of(got[topics.FEATURES][0])
    assert 20 <= len(array) <= 300 and array.descriptors.shape[1] == 128
    np.testing.assert_allclose(np.linalg.norm(array.descriptors, axis=1), 1, atol=1e-3)
    debug = got[topics.DEBUG_IMAGE][0]
    assert (debug.width, debug.height, debug.encoding) == (192, 144, "bgr8")


def check_surface(got: dict, scene: type, stamps: dict[int, int]) -> None:
    """The reference came once, latched; the mesh moves with the board."""
    assert len(got[topics.REFERENCE]) == 1
    reference = convert.mesh_of(got[topics.REFERENCE][0])
    assert len(reference["triangles"]) > 500 and reference["colors"] is not None
    np.testing.assert_allclose(reference["vertices"][:, 2], scene.distance_m, atol=0.002)
    start = stamps[convert.stamp_ns(got[topics.REFERENCE][0].header)]
    statuses = got[topics.STATUS]
    while "no camera_info yet" in statuses[0].reason:       # best effort: what is played first may be missed
        statuses = statuses[1:]
    assert {status.status for status in statuses} == {1} and len(statuses) >= 4, [status.reason for status in statuses]
    assert all(status.residual_m < 0.002 and status.inliers >= 15 for status in statuses)
    for message in got[topics.MESH]:
        mesh = convert.mesh_of(message)
        moved = stamps[convert.stamp_ns(message.header)] - start
        assert message.topology_id == got[topics.REFERENCE][0].topology_id and mesh["triangles"] is None
        assert convert.stamp_ns(message.reference_header) == convert.stamp_ns(got[topics.REFERENCE][0].header)
        shift = np.median(mesh["vertices"] - reference["vertices"], axis=0)
        np.testing.assert_allclose(shift, [scene.shift_m * moved, 0, 0], atol=0.0025)
    cloud = got[topics.POINTS][0]
    assert cloud.width == len(reference["vertices"]) and [field.name for field in cloud.fields] == ["x", "y", "z", "rgb"]
    assert got[topics.MARKER][0].type == 11 and 0 < len(got[topics.MARKER][0].points) <= 3000
    field = convert.deformation_of(got[topics.DEFORMATION][0])
    assert len(field["radius"]) >= 4 and (field["radius"] > 0).all()


def test_tracker_with_masks_and_services(official_weights: Path, scene: type, rgbd_bag: Path, ros_process, listen, spin_until,
                                         tmp_path: Path, load_ply) -> None:
    """Both nodes in one process; the bag loops; a new reference on demand, and after each jump back; the surface is saved."""
    from dalf.srv import SaveSurface
    from std_srvs.srv import Trigger

    tracker = ros_process("dalf_ros.tracker", *node_arguments(top_k=300, use_mask="true", save_folder=tmp_path))
    listener = listen(topics.STATUS, topics.REFERENCE)
    assert spin_until(listener.executor, lambda: listener.publishers(topics.STATUS) > 0, 120), tracker.output
    empty = listener.call("/registration_node/save_surface", SaveSurface, SaveSurface.Request(path=str(tmp_path / "a.ply")))
    assert not empty.success and "no surface" in empty.message
    ros_process("dalf_ros.play", rgbd_bag, "--rate", "0.5", "--loop", "--wait", "20")
    assert spin_until(listener.executor, lambda: len(listener.got[topics.REFERENCE]) >= 2, 120), tracker.output
    first, second = (convert.mesh_of(message)["vertices"] for message in listener.got[topics.REFERENCE][:2])
    assert max(len(first), len(second)) < 0.75 * 192 * 144 and np.abs(first[:, 0]).max() < 0.25      # only the mask's part
    assert "stamps jumped back" in tracker.output
    count = len(listener.got[topics.REFERENCE])
    assert listener.call("/registration_node/set_reference", Trigger, Trigger.Request()).success
    assert spin_until(listener.executor, lambda: len(listener.got[topics.REFERENCE]) > count, 60), tracker.output
    target = tmp_path / "surface.ply"
    request = SaveSurface.Request(path=str(target))
    for _ in range(50):         # just after a jump back there is none
        saved = listener.call("/registration_node/save_surface", SaveSurface, request)
        if saved.success:
            break
        spin_until(listener.executor, lambda: False, 0.1)
    assert saved.success and saved.path == str(target), saved.message
    assert len(load_ply(target).vertices) > 100
    spin_until(listener.executor, lambda: False, 0.3)
    refused = [listener.call("/registration_node/save_surface", SaveSurface, request) for _ in range(3)]
    assert not any(answer.success for answer in refused)
    assert any("exists" in answer.message for answer in refused) or all("no surface" in answer.message for answer in refused)
    assert tracker.stop() == 0 and "Traceback" not in tracker.output


@pytest.mark.parametrize(("module", "parameters", "words"), [
    ("feature_node", {"weights": "/nowhere/model.pth"}, "no such file"),
    ("feature_node", {"device": "cuda:9"}, "cuda:9"),
    ("registration_node", {"device": "cuda:9"}, "cuda:9"),
    ("feature_node", {"image_scale": 100.0}, "image_scale"),
    ("feature_node", {"image_transport": "theora"}, "raw, compressed"),
    ("registration_node", {"max_vertices": "many"}, "max_vertices"),
    ("registration_node", {"min_depth": 0.5, "max_depth": 0.4}, "min_depth 0.5 must be less than max_depth 0.4"),
    ("registration_node", {"depth_to_color": "[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]"}, "a quaternion x, y, z, w that is not zero"),
])
def test_what_cannot_work_is_an_error(ros_process, module: str, parameters: dict, words: str) -> None:
    node = ros_process(f"dalf_ros.{module}", *node_arguments(**parameters))
    assert node.wait(60) == 1, node.output
    assert words in node.output and "Traceback" not in node.output


def test_silence_is_explained(ros_process, own_peer) -> None:
    """No data: one warning with the resolved topic, its publishers, and the QoS that does not match; nothing of what is optional."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    from dalf_ros.conversions.message_factory import ros_class
    from dalf_ros.images.image_conversion import from_depth

    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)
    own_peer.node.create_publisher(ros_class("dalf/msg/MatchArray"), "/matches", best_effort)
    for _ in range(2):
        own_peer.node.create_publisher(ros_class("sensor_msgs/msg/CameraInfo"), REMAP["camera_info"], 10)
    node = ros_process("dalf_ros.registration_node", *node_arguments(silence_warning=2.0, autostart="false"))
    own_peer.be_known_to("/registration_node", 120)         # before it begins to wait
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        change = ChangeState.Request(transition=Transition(id=transition))
        assert own_peer.call("/registration_node/change_state", ChangeState, change, 120).success, node.output
    line = node.wait_for_output("no data for")
    assert "waiting for matches and depth and camera_info" in line and "image" not in line.replace("image_raw", "")
    assert "/camera/aligned_depth_to_color/image_raw has 0 publishers, 0 messages came" in line
    assert "/matches has 1 publisher, 0 messages came; QoS of peer does not match" in line
    assert f"{REMAP['camera_info']} has 2 publishers, 0 messages came; peer, peer publish it at once, so stamps mix" in line
    for number in range(12):            # depth comes: then it is not what is waited for; and once was enough
        own_peer.publish(REMAP["depth"], "sensor_msgs/msg/Image", from_depth(np.ones((9, 9)), convert.header(number + 1, "cam")))
        own_peer.spin(0.25)
    assert node.output.count("no data for") == 1
    node.stop()


def test_a_paused_clock_is_no_silence(ros_process, own_peer) -> None:
    """Simulated time that stands still is told as such; when it goes on without data, that is told too."""
    from dalf_ros.images.image_conversion import from_depth

    node = ros_process("dalf_ros.registration_node", "--ros-args", "-p", "use_sim_time:=true", "-p", "silence_warning:=2.0")

    def tick(number: int) -> None:
        own_peer.publish("/clock", "rosgraph_msgs/msg/Clock", {"clock": {"sec": 100 + number // 10, "nanosec": number % 10 * 100_000_000}})

    empty = {"reference_header": {}, "width": 9, "height": 9, "reference_width": 9, "reference_height": 9}
    assert own_peer.until(lambda: own_peer.node.count_subscribers("/matches"), 120)
    for number in range(8):
        tick(number)
        head = convert.header((100 * 10 + number) * 100_000_000, "cam")
        own_peer.publish("/depth", "sensor_msgs/msg/Image", from_depth(np.ones((9, 9)), head))
        own_peer.publish("/matches", "dalf/msg/MatchArray", {"header": head, **empty})
        own_peer.spin(0.1)
    node.wait_for_output("no camera_info yet on /camera_info (publishers: 0)")
    before = len([line for line in node.lines if "waiting for" in line])        # while the first message was on its way
    node.wait_for_output("/clock stands still, playback is paused or over")

    def warnings() -> list[str]:
        return [line for line in node.lines if "waiting for" in line][before:]

    assert not warnings()

    def told() -> bool:
        tick(told.number)
        told.number += 1
        own_peer.spin(0.05)
        return bool(warnings())

    told.number = 9
    assert own_peer.until(told), node.output
    line = warnings()[0]
    assert "waiting for matches and depth and camera_info" in line
    assert re.search(r"/depth has 1 publisher, [1-8] messages? came, the last", line)         # best effort: not always all 8
    node.stop()


@pytest.mark.parametrize("module", ["feature_node", "registration_node", "tracker"])
def test_ctrl_c_during_the_imports(ros_process, tmp_path: Path, module: str) -> None:
    (tmp_path / "numpy.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    node = ros_process(f"dalf_ros.{module}", environment={"PYTHONPATH": path})
    node.wait_for_output("importing")
    assert node.stop() == 0 and node.output == "importing"


def test_two_trackers_in_two_namespaces(official_weights: Path, scene: type, ros_process, own_peer, tmp_path: Path) -> None:
    """At the same stamps the right one's board moves three times as far; neither hears the other, nor does its death matter."""
    from dalf.srv import SaveSurface

    from dalf_ros.images.image_conversion import from_color, from_depth

    steps = {"/left": 1, "/right": 3}
    trackers = {side: ros_process("dalf_ros.tracker", "--ros-args", "-r", f"__ns:={side}", "-p", "top_k:=200", "-p",
                                  f"save_folder:={tmp_path}", *reliably(f"{side}/image", f"{side}/depth", f"{side}/camera_info"))
                for side in steps}
    got = {(side, name): own_peer.hear(f"{side}/{name}", topics.TYPES[name]) for side in steps for name in (topics.MATCHES, topics.MESH)}
    assert own_peer.until(lambda: all(own_peer.node.count_publishers(f"{side}/matches") for side in steps), 180), trackers["/left"].output
    for side in steps:
        own_peer.publisher(f"{side}/image", "sensor_msgs/msg/Image", to=(f"{side}/feature_node", f"{side}/registration_node"))

    def send(number: int, sides: tuple[str, ...]) -> dict[str, np.ndarray]:
        """One frame to each side; how far the mesh has moved since the reference, metres."""
        head = convert.header(scene.stamp(number), f"{number}_optical_frame")
        for side in sides:
            own_peer.publish(f"{side}/camera_info", "sensor_msgs/msg/CameraInfo", convert.camera_info(scene.camera, head))
            own_peer.publish(f"{side}/depth", "sensor_msgs/msg/Image", from_depth(scene.depth_m(), head))
            own_peer.publish(f"{side}/image", "sensor_msgs/msg/Image", from_color(scene.image(number * steps[side]), head))
        moved = {}
        for side in sides:
            mesh = got[side, topics.MESH]
            stamp = scene.stamp(number)
            came = own_peer.until(lambda mesh=mesh, stamp=stamp: mesh and convert.stamp_ns(mesh[-1].header) == stamp, 60)
            assert came, trackers[side].output
            vertices = [convert.mesh_of(message)["vertices"] for message in (mesh[0], mesh[-1])]
            moved[side] = np.median(vertices[1] - vertices[0], axis=0)
        return moved

    for number in range(4):
        moved = send(number, ("/left", "/right"))
    for side, step in steps.items():
        matches = convert.matches_of(got[side, topics.MATCHES][-1])
        pixels = np.median((matches.query_xy - matches.reference_xy)[matches.matches.inlier], axis=0)
        np.testing.assert_allclose(pixels, [2 * 3 * step, 0], atol=0.5)
        np.testing.assert_allclose(moved[side], [3 * step * scene.shift_m, 0, 0], atol=0.0025)
        assert len(got[side, topics.MATCHES]) == 4
    trackers["/left"].stop(signal.SIGKILL)
    np.testing.assert_allclose(send(4, ("/right",))["/right"], [12 * scene.shift_m, 0, 0], atol=0.0025)
    request = SaveSurface.Request(path=str(tmp_path / "right.obj"))
    assert own_peer.call("/right/registration_node/save_surface", SaveSurface, request).success
    assert (tmp_path / "right.obj").is_file() and len(got["/left", topics.MATCHES]) == 4
    assert trackers["/right"].stop() == 0


def test_lifecycle_by_hand(official_weights: Path, ros_process, listen) -> None:
    """autostart false: configure, activate, deactivate, cleanup through the services."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    node = ros_process("dalf_ros.registration_node", *node_arguments(autostart="false"))
    listener = listen()
    steps = ((Transition.TRANSITION_CONFIGURE, "inactive"), (Transition.TRANSITION_ACTIVATE, "active"),
             (Transition.TRANSITION_DEACTIVATE, "inactive"), (Transition.TRANSITION_ACTIVATE, "active"),
             (Transition.TRANSITION_DEACTIVATE, "inactive"), (Transition.TRANSITION_CLEANUP, "unconfigured"))
    for transition, label in steps:
        change = ChangeState.Request(transition=Transition(id=transition))
        answer = listener.call("/registration_node/change_state", ChangeState, change, 120)     # where kernels are not compiled yet
        assert answer.success, node.output
        state = listener.call("/registration_node/get_state", GetState, GetState.Request())
        assert state.current_state.label == label
    assert node.stop() == 0 and "Traceback" not in node.output


def test_record_writes_what_play_sends(rgbd_bag: Path, scene: type, ros_process, tmp_path: Path) -> None:
    """play -> record through ROS: the same bytes on the same topics."""
    from dalf_ros.bags.bag_source import BagSource

    recorder = ros_process("dalf_ros.record", scene.color, scene.depth, scene.info, "/nobody", "--output", tmp_path / "copy")
    player = ros_process("dalf_ros.play", rgbd_bag, "--wait", "60", "--topics", scene.color, scene.depth, scene.info)
    assert player.wait(60) == 0, player.output
    assert recorder.stop() == 0, recorder.output
    assert "/nobody: nobody published it" in recorder.output
    with BagSource(rgbd_bag) as before, BagSource(tmp_path / "copy") as after:
        for topic in (scene.color, scene.depth, scene.info):
            sent, got = ([bytes(raw.data) for raw in source.messages([topic])] for source in (before, after))
            assert len(got) == len(sent) == 12, topic
            assert all(b[:len(a)] == a and len(b) - len(a) < 4 for a, b in zip(sent, got, strict=True)), topic   # DDS pads to words


def test_a_recorder_that_is_behind_writes_what_came_before_it_was_told_to_end(rgbd_bag: Path, scene: type, ros_process,
                                                                              tmp_path: Path) -> None:
    slow = ("import sys, time\nfrom dalf_ros import record\nwrite = record.Recorder._write\n"
            "record.Recorder._write = lambda *words: (time.sleep(0.1), write(*words))\nsys.exit(record.main())")
    recorder = ros_process(sys.executable, "-c", slow, scene.color, scene.depth, "--output", tmp_path / "copy")
    player = ros_process("dalf_ros.play", rgbd_bag, "--wait", "60", "--topics", scene.color, scene.depth)
    assert player.wait() == 0, player.output            # after 1.1 s; it needs 2.4 s
    assert recorder.stop() == 0, recorder.output
    assert all(f"{topic}: 12 messages" in recorder.output for topic in (scene.color, scene.depth)), recorder.output


def test_play_waits_for_each_node_that_it_is_told_of(rgbd_bag: Path, scene: type, ros_process, listen, spin_until) -> None:
    """registration_node listens to the images seconds before feature_node does, so any subscriber is not enough."""
    from rclpy.qos import QoSProfile

    from dalf_ros.conversions.message_factory import ros_class
    from dalf_ros.nodes.inputs import RESULT_QOS

    listener, got = listen(), []
    listener.node.create_subscription(ros_class("sensor_msgs/msg/Image"), scene.color, lambda _: None, RESULT_QOS)
    words = [rgbd_bag, "--rate", "4", "--topics", scene.color, "--wait"]
    player = ros_process("dalf_ros.play", *words, "120", "--wait-for", "/listener", "/left/late")
    assert spin_until(listener.executor, lambda: listener.node.count_publishers(scene.color) > 0, 60)
    assert not spin_until(listener.executor, lambda: player.process.poll() is not None, 3)
    late = rclpy.create_node("late", namespace="left", context=listener.node.context)
    listener.executor.add_node(late)
    keep_all = QoSProfile(depth=100, reliability=RESULT_QOS.reliability)      # this process may be slower than the recording
    late.create_subscription(ros_class("sensor_msgs/msg/Image"), scene.color, got.append, keep_all)
    assert spin_until(listener.executor, lambda: player.process.poll() is not None and len(got) >= 12, 60), player.output
    late.destroy_node()
    assert len(got) == 12 and "listens to nothing" not in player.output
    player = ros_process("dalf_ros.play", *words, "1", "--wait-for", "/nobody")
    assert spin_until(listener.executor, lambda: player.process.poll() is not None, 60)
    assert "/nobody listens to nothing; playing all the same" in player.output and player.wait() == 0


def test_a_message_that_cannot_be_read_ends_nothing(ros_process, own_peer) -> None:
    from dalf_ros.conversions.message_factory import ros_class
    from dalf_ros.nodes.inputs import RESULT_QOS

    node = ros_process("dalf_ros.registration_node", *node_arguments())
    broken = own_peer.node.create_publisher(ros_class("sensor_msgs/msg/Image"), REMAP["depth"], RESULT_QOS)
    assert own_peer.until(lambda: broken.get_subscription_count() > 0, 120)
    said = f"a message on {REMAP['depth']} cannot be read"
    for _ in range(50):                 # the other side learns of the match later, and takes what comes at best effort
        broken.publish(b"\x00\x01\x00\x00" + b"\xff" * 40)
        own_peer.spin(0.2)
        if said in node.output:
            break
    node.wait_for_output(said, 5)
    assert node.stop() == 0 and "Traceback" not in node.output


def test_play_answers_its_services(rgbd_bag: Path, ros_process, listen) -> None:
    """`ros2 param list` asks every node it sees; one that never answers makes it hang."""
    from rcl_interfaces.srv import ListParameters

    player = ros_process("dalf_ros.play", rgbd_bag, "--loop")
    answer = listen().call("/dalf_play/list_parameters", ListParameters, ListParameters.Request())
    assert "use_sim_time" in answer.result.names
    assert player.stop() == 130 and "Traceback" not in player.output


@pytest.mark.parametrize("arguments", [(), ("--ros-args",)])
def test_play_of_a_launch_ends_well_when_it_is_interrupted(rgbd_bag: Path, scene: type, ros_process, own_peer,
                                                           arguments: tuple[str, ...]) -> None:
    """launch ends every word list with --ros-args, and calls every status but 0 a death."""
    player = ros_process("dalf_ros.play", rgbd_bag, "--loop", "--wait", "300", *arguments)
    assert own_peer.until(lambda: own_peer.node.count_publishers(scene.color) > 0), player.output
    player.process.send_signal(signal.SIGINT)
    assert player.wait() == (0 if arguments else 130) and "Traceback" not in player.output


@pytest.mark.parametrize("name", ["feature_node", "registration_node"])
def test_services_answer_while_the_model_loads(official_weights: Path, ros_process, listen, name: str) -> None:
    """Parameters can be listed, and a request for a new reference is refused with its reason; a second Ctrl-C makes no traceback."""
    from rcl_interfaces.srv import ListParameters
    from std_srvs.srv import Trigger

    made = name.title().replace("_", "")
    slow = (f"import sys, time\nfrom dalf_ros.{name} import {made}, main\n{made}.load = lambda self: time.sleep(60)\nsys.exit(main())")
    node = ros_process(sys.executable, "-c", slow)
    listener = listen()
    answer = listener.call(f"/{name}/list_parameters", ListParameters, ListParameters.Request())
    assert "device" in answer.result.names
    refused = listener.call(f"/{name}/reset", Trigger, Trigger.Request())
    assert not refused.success and "loading" in refused.message
    node.process.send_signal(signal.SIGINT)
    node.process.send_signal(signal.SIGINT)
    assert node.wait() == 0 and "Traceback" not in node.output, node.output


@pytest.mark.parametrize("executor", ["rclpy's events", "rclpy's usual"])
def test_a_configure_by_service_holds_up_nothing(ros_process, own_peer, tmp_path: Path, executor: str) -> None:
    """Without autostart: while the model loads, parameters answer; then the transition succeeds, and one that cannot be is refused."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState, GetState
    from rcl_interfaces.srv import ListParameters

    without = "sys.modules['rclpy.experimental'] = None\n" if "usual" in executor else ""         # as in an older rclpy
    slow = (f"import os, sys, time\n{without}from dalf_ros.feature_node import FeatureNode, main\n"
            "def load(self):\n    print('loading', flush=True)\n"
            f"    while not os.path.exists({str(tmp_path / 'go')!r}):\n        time.sleep(0.02)\n"
            "FeatureNode.load, FeatureNode.listen = load, lambda self: None\nsys.exit(main())")
    node = ros_process(sys.executable, "-c", slow, "--ros-args", "-p", "autostart:=false")

    client = own_peer.client("/feature_node/change_state", ChangeState)

    def request(transition: int) -> object:
        return client.call_async(ChangeState.Request(transition=Transition(id=transition)))

    configuring = request(Transition.TRANSITION_CONFIGURE)
    assert own_peer.until(lambda: "loading" in node.output, 30), node.output
    again = request(Transition.TRANSITION_CONFIGURE)
    answer = own_peer.call("/feature_node/list_parameters", ListParameters, ListParameters.Request())
    assert "device" in answer.result.names and not configuring.done()
    assert own_peer.call("/feature_node/get_state", GetState, GetState.Request()).current_state.label == "unconfigured"
    assert not configuring.done()
    (tmp_path / "go").touch()
    assert own_peer.until(lambda: configuring.done() and again.done()), node.output
    assert {configuring.result().success, again.result().success} == {True, False} and node.output.count("loading") == 1
    assert own_peer.until(lambda: "no such transition now" in node.output, 10), node.output       # the answer may be here before the line
    assert own_peer.call("/feature_node/get_state", GetState, GetState.Request()).current_state.label == "inactive"
    activating = request(Transition.TRANSITION_ACTIVATE)
    assert own_peer.until(activating.done, 30) and activating.result().success
    assert node.stop() == 0 and "Traceback" not in node.output, node.output


@pytest.mark.parametrize("name", ["feature_node", "registration_node", "tracker"])
def test_help_starts_no_node(ros_process, name: str) -> None:
    node = ros_process(f"dalf_ros.{name}", "--help")
    assert node.wait(60) == 0 and node.output.startswith(f"usage: {name} --ros-args") and "docs/feature_node.md" in node.output


def test_play_tells_what_is_wrong(rgbd_bag: Path, tmp_path: Path, ros_process) -> None:
    for arguments, words in (((tmp_path / "missing",), "does not exist"), ((rgbd_bag, "--topics", "/nowhere"), "no topic /nowhere"),
                             ((rgbd_bag, "--rate", "0"), "greater than 0")):
        player = ros_process("dalf_ros.play", *arguments)
        assert player.wait() == 2 and words in player.output and "Traceback" not in player.output


@pytest.mark.parametrize(("name", "codes"), [("play", ("0", "2", "130")), ("record", ("0", "2", "3", "130"))])
def test_help_tells_the_exit_status(name: str, codes: tuple[str, ...]) -> None:
    from importlib import import_module

    words = import_module(f"dalf_ros.{name}").parser().format_help()
    status = words[words.index("exit status:"):]
    assert all(re.search(rf"\b{code}\b", status) for code in codes)
