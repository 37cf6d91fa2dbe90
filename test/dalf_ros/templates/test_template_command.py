"""A frame of a bag or of a running camera as a template, and a recording registered to it."""
import json

import numpy as np
import pytest

from dalf_core import load_template
from dalf_core.commands.template import main as template_main
from dalf_ros.bags.bag_source import BagSource
from dalf_ros.bags.bag_writer import bag_topic
from dalf_ros.conversions import topics
from dalf_ros.conversions.messages import stamp_ns
from dalf_ros.register import main as register_main
from dalf_ros.templates.__main__ import read_bag, read_view

QUICK = ("--weights", "light", "--top-k", "300")


def test_a_bag_is_followed_from_the_template_of_a_later_frame(rgbd_bag, scene, tmp_path, command):
    file = tmp_path / "board.dalf"
    words = ["make", str(rgbd_bag), "--frame", "6", "--mask-topic", scene.mask, "--output", str(file), *QUICK]
    assert template_main(words, read_bag) == 0
    template = load_template(file)
    np.testing.assert_array_equal(template.image, scene.image(6))
    assert template.camera == scene.camera and template.mask[25:-25, 25:-25].all() and not template.mask[:18].any()
    code, out, err = command(register_main, rgbd_bag, "--template", file, "--output", tmp_path / "run", "--no-video", *QUICK)
    assert code == 0, err
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert [frame["status"] for frame in metrics["frames"]] == ["tracked"] * 12, out
    assert (tmp_path / "run/reference.ply").exists()
    with BagSource(tmp_path / "run/results") as source:
        stamps = {stamp_ns(message.reference_header) for _, message in source.readable([bag_topic(topics.MESH), bag_topic(topics.MATCHES)])}
    assert stamps == {metrics["frames"][0]["stamp_ns"] - 1}         # just before the first image, whose stamp is not the template's


def test_what_a_bag_does_not_hold(rgbd_bag, tmp_path, capsys):
    for words, why in (((str(rgbd_bag), "--frame", "99"), "no frame 99"), ((str(rgbd_bag), "--mask-topic", "/none"), "no such topic"),
                       ((str(tmp_path / "none.mcap"),), "does not exist")):
        assert template_main(["make", *words, "--output", str(tmp_path / "a.dalf"), *QUICK], read_bag) == 2
        assert why in capsys.readouterr().err


def test_a_running_camera(rgbd_bag, scene, tmp_path, own_graph, capsys):
    """A recording is played in another process: one of its frames, its depth, its mask, as of the bag."""
    pytest.importorskip("rclpy")
    own_graph.start("dalf_ros.play", rgbd_bag, "--loop")
    file = tmp_path / "board.dalf"
    words = ["make", "--topic", scene.color, "--mask-topic", scene.mask, "--wait", "60", "--output", str(file), *QUICK]
    assert template_main(words, read_view) == 0, capsys.readouterr().err
    assert f"{scene.color}, depth {scene.depth}, mask {scene.mask}" in capsys.readouterr().out
    template = load_template(file)
    assert sum((template.image == scene.image(number)).all() for number in range(12)) == 1
    assert template.camera == scene.camera and template.mask[25:-25, 25:-25].all() and not template.mask[:18].any()
    read = template.depth_m > 0
    np.testing.assert_allclose(template.depth_m[read], scene.distance_m, atol=1e-6)
    np.testing.assert_array_equal(read, np.nan_to_num(scene.depth_m()) > 0)
    assert template.features is not None and len(template.features) > 20

    for words, wait, why in ((("--topic", "/none"), 3, "--color-topic /none: the ROS graph has no such topic"),
                             (("--topic", scene.color, "--depth-topic", scene.info), 60, "it is a sensor_msgs/msg/CameraInfo"),
                             (("--topic", scene.color, "--intrinsics", "1,1,1,1"), 60, "a running camera tells its own on camera_info"),
                             ((), 3, "name a SOURCE; or with --topic the colour images of a running camera")):
        assert template_main(["make", *words, "--wait", str(wait), "--output", str(tmp_path / "a.dalf"), *QUICK], read_view) == 2
        assert why in capsys.readouterr().err


def test_a_running_camera_of_which_something_is_missing(rgbd_bag, scene, tmp_path, own_graph, own_peer, capsys):
    """Depth that nobody publishes, or no camera_info: what is waited for is told."""
    pytest.importorskip("rclpy")
    own_graph.start("dalf_ros.play", rgbd_bag, "--loop", "--topics", scene.color, scene.depth)
    assert own_peer.until(lambda: own_peer.node.count_publishers(scene.depth), 60)
    words = ["make", "--topic", scene.color, *QUICK]
    assert template_main([*words, "--wait", "12", "--output", str(tmp_path / "a.dalf")], read_view) == 2
    assert f"no frame to make a template of has come (--wait): no camera_info yet on {scene.info}" in capsys.readouterr().err
    assert template_main([*words, "--wait", "5", "--depth-topic", "/none", "--output", str(tmp_path / "a.dalf")], read_view) == 2
    assert "--depth-topic /none: the ROS graph has no such topic" in capsys.readouterr().err
