"""What bag.launch.py is told of a recording."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dalf_ros.launch_support import describe_bag


def test_topics_and_frame_are_found(rgbd_bag: Path, scene: type, command: Callable) -> None:
    code, out, _ = command(describe_bag.main, rgbd_bag)
    assert code == 0 and json.loads(out) == {
        "color": scene.color, "depth": scene.depth, "camera_info": scene.info, "mask": "", "image_transport": "raw",
        "depth_transport": "raw", "frame": scene.frame_id, "played": f"{scene.color} {scene.depth} {scene.info}"}
    code, out, _ = command(describe_bag.main, rgbd_bag, "--mask-topic", scene.mask)
    assert code == 0 and json.loads(out)["mask"] == scene.mask and json.loads(out)["played"].endswith(" " + scene.mask)


def test_compressed_colour_without_depth(scene: type, tmp_path: Path, command: Callable) -> None:
    bag = scene.write_bag2(tmp_path / "bag", scene.messages(1, (scene.color + "/compressed", scene.info)))
    code, out, _ = command(describe_bag.main, bag)
    found = json.loads(out)
    assert (code, found["color"], found["image_transport"], found["depth"]) == (0, scene.color, "compressed", "")
    assert found["played"].split()[0] == scene.color + "/compressed" and found["frame"] == scene.frame_id


@pytest.mark.parametrize("recorded", [("compressed",), ("compressedDepth",), ("compressed", "compressedDepth")])
def test_compressed_colour_and_depth(scene: type, tmp_path: Path, command: Callable, recorded: tuple[str, ...]) -> None:
    """Of both transports of depth that which is made for it; camera_info beside the compressed colour is found too."""
    color, depth = f"{scene.color}/compressed", [f"{scene.depth}/{transport}" for transport in recorded]
    bag = scene.write_bag2(tmp_path / "bag", scene.messages(1, (color, *depth, scene.info)))
    code, out, _ = command(describe_bag.main, bag)
    assert code == 0 and json.loads(out) == {
        "color": scene.color, "depth": scene.depth, "camera_info": scene.info, "mask": "", "image_transport": "compressed",
        "depth_transport": recorded[-1], "frame": scene.frame_id, "played": f"{color} {depth[-1]} {scene.info}"}


def test_zstd_before_compressed_and_a_cloud_that_is_named(scene: type, tmp_path: Path, command: Callable) -> None:
    packed = [f"{name}/{transport}" for name in (scene.color, scene.depth) for transport in ("compressed", "zstd")]
    bag = scene.write_bag2(tmp_path / "bag", scene.messages(1, (*packed, scene.points, scene.info)))
    code, out, _ = command(describe_bag.main, bag)
    assert code == 0 and json.loads(out) == {
        "color": scene.color, "depth": scene.depth, "camera_info": scene.info, "mask": "", "image_transport": "zstd",
        "depth_transport": "zstd", "frame": scene.frame_id, "played": f"{packed[1]} {packed[3]} {scene.info}"}
    code, out, _ = command(describe_bag.main, bag, "--depth-topic", scene.points)
    found = json.loads(out)
    assert (code, found["depth"], found["depth_transport"], found["frame"]) == (0, scene.points, "points", scene.frame_id)
    code, _, err = command(describe_bag.main, bag, "--mask-topic", scene.points)
    assert code == 2 and "expected sensor_msgs/msg/Image" in err


def test_raw_depth_before_compressed(scene: type, tmp_path: Path, command: Callable) -> None:
    packed = (f"{scene.depth}/compressed", f"{scene.depth}/compressedDepth")
    bag = scene.write_bag2(tmp_path / "bag", scene.messages(1, (scene.color, scene.depth, *packed, scene.info)))
    code, out, _ = command(describe_bag.main, bag)
    found = json.loads(out)
    assert (code, found["depth"], found["depth_transport"], found["played"].split()[1]) == (0, scene.depth, "raw", scene.depth)


def test_what_the_nodes_cannot_read_is_told(rgbd_bag: Path, scene: type, command: Callable, tmp_path: Path) -> None:
    bag = scene.write_bag2(tmp_path / "bag", scene.messages(1, (scene.color, scene.depth, scene.color + "/compressed", scene.info)))
    code, _, err = command(describe_bag.main, bag, "--mask-topic", scene.color + "/compressed")
    assert code == 2 and "./run register" in err and "an Image" in err
    code, _, err = command(describe_bag.main, rgbd_bag, "--color-topic", "/nowhere")
    assert code == 2 and "no such topic" in err and scene.color in err
    assert command(describe_bag.main, tmp_path / "missing")[0] == 2
