"""The launch files: which programs they start and what these are told. Skipped where launch_ros is not installed."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dalf_core.options import AUTO_SELECT
from dalf_ros.launch_support.cameras import CAMERAS

launch = pytest.importorskip("launch", reason="launch is not installed")
pytest.importorskip("launch_ros", reason="launch_ros is not installed")


def test_live_in_one_process_with_the_realsense_by_default(would_start: Callable) -> None:
    (tracker,) = would_start("live", separate="false")
    camera = CAMERAS["realsense"]
    assert tracker.words[0].endswith("lib/dalf/tracker")
    assert tracker.remappings.items() >= {"image": camera.color, "depth": camera.depth, "camera_info": camera.camera_info}.items()
    assert tracker.parameters == {"/**": {"use_sim_time": False}, "/**/registration_node": {"stamp_tolerance": 0.034}}
    assert "mask" not in tracker.remappings


@pytest.mark.parametrize("name", CAMERAS)
def test_each_camera_gives_its_topics_and_parameters(would_start: Callable, name: str) -> None:
    (started,) = would_start("live", camera=name, separate="false")
    camera = CAMERAS[name]
    assert started.program == ("tracker" if camera.depth else "feature_node")
    assert started.remappings["image"] == camera.color and started.remappings.get("depth", "") == camera.depth
    assert any(Path(word).name == f"{name}.yaml" for word in started.words)


def test_live_in_two_processes_with_topics_given_one_by_one(would_start: Callable) -> None:
    started = would_start("live", camera="oak", color="/my/color", mask="/my/mask", namespace="left", device="cuda:1",
                          weights="official")      # separate is the default
    assert {process.program for process in started} == {"feature_node", "registration_node"}
    for process in started:
        # the camera_info is another's than oak's: the node takes the one beside /my/color
        assert process.remappings == {"image": "/my/color", "depth": CAMERAS["oak"].depth, "mask": "/my/mask", "__ns": "/left"}
        assert process.parameters["/**"] == {"use_sim_time": False, "use_mask": True}
        assert process.parameters["/**/feature_node"] == {"image_scale": 0.5, "device": "cuda:1", "weights": "official"}


def test_another_camera_must_be_described(would_start: Callable) -> None:
    with pytest.raises(ValueError, match="give color:="):
        would_start("live", camera="other")
    (feature_node,) = would_start("live", camera="other", color="/c")
    assert feature_node.program == "feature_node"
    (tracker,) = would_start("live", camera="other", color="/c", depth="/d", separate="false")
    assert "camera_info" not in tracker.remappings          # it is found beside /c
    (tracker,) = would_start("live", camera="other", color="/c", depth="/d", camera_info="/i", separate="false")
    assert tracker.remappings["camera_info"] == "/i"


def test_each_camera_may_come_by_another_transport(would_start: Callable) -> None:
    for process in would_start("live", camera="oak", image_transport="zstd", depth_transport="points", depth="/oak/points"):
        assert process.parameters["/**"]["image_transport"] == "zstd" and process.remappings["depth"] == "/oak/points"
        assert process.parameters["/**/registration_node"]["depth_transport"] == "points"
    with pytest.raises(RuntimeError, match="image_transport.*theora.*raw.*compressed.*zstd"):
        would_start("live", image_transport="theora")


def test_the_object_may_be_found_by_a_rule(would_start: Callable) -> None:
    from dalf_ros.launch_support import launching

    assert launching.RULES == AUTO_SELECT.choices
    for process in would_start("live", camera="oak", auto_select="nearest"):
        assert process.parameters["/**"]["auto_select"] == "nearest"
    with pytest.raises(ValueError, match="auto_select finds objects in depth"):
        would_start("live", camera="usb_cam", auto_select="nearest")


@pytest.mark.parametrize(("name", "argument", "value", "allowed"), [
    ("live", "auto_select", "biggest", "nearest"),
    ("live", "separate", "perhaps", "true"), ("bag", "exit_at_end", "yes", "false"), ("demo", "loop", "1", "true"),
    ("rviz", "use_sim_time", "no", "true"), ("live", "log_level", "loud", "debug.*info.*warn.*error")])
def test_a_bad_word_is_told_with_what_is_allowed(would_start: Callable, name: str, argument: str, value: str, allowed: str) -> None:
    with pytest.raises(RuntimeError, match=f"{argument}.*{value}.*{allowed}"):
        would_start(name, **{argument: value}, bag="/nowhere")


@pytest.mark.parametrize("rate", ["quick", "0", "inf"])
def test_demo_checks_its_arguments_before_it_simulates(would_start: Callable, rate: str) -> None:
    with pytest.raises(ValueError, match=f"rate:={rate} must be a number"):
        would_start("demo", rate=rate)
    with pytest.raises(ValueError, match="missing.yaml does not exist"):
        would_start("demo", params_file="/missing.yaml")


@pytest.mark.parametrize("name", ["live", "demo", "rviz"])
def test_rviz_that_is_not_installed_is_told_at_once(would_start: Callable, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from dalf_ros.launch_support import launching

    def none(package: str) -> str:
        raise launching.PackageNotFoundError(package)

    monkeypatch.setattr(launching, "get_package_prefix", none)
    with pytest.raises(ValueError, match="rviz2 is not installed .*apt install"):
        would_start(name, rviz="true")


def test_own_parameters_come_after_the_cameras(would_start: Callable, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("/**/feature_node:\n  ros__parameters:\n    image_scale: 2.0\n")
    (tracker,) = would_start("live", camera="zed", params_file=str(own), separate="false")
    assert tracker.parameters["/**/feature_node"] == {"image_scale": 2.0}
    with pytest.raises(ValueError, match="does not exist"):
        would_start("live", params_file=str(tmp_path / "missing.yaml"))


def test_rviz_has_the_frame_and_the_topics_of_the_namespace(would_start: Callable, rviz2: Path) -> None:
    (rviz,) = would_start("rviz", camera="zed", namespace="left")
    assert rviz.words[rviz.words.index("-f") + 1] == CAMERAS["zed"].frame
    assert Path(rviz.words[rviz.words.index("-d") + 1]).is_file()
    assert rviz.remappings["/surface/points"] == "/left/surface/points"
    assert rviz.remappings["/clicked_point"] == "/left/clicked_point"
    assert rviz.remappings["/feature_node/debug_image"] == "/left/feature_node/debug_image"


def test_bag_topics_are_found(would_start: Callable, rviz2: Path, tmp_path: Path) -> None:
    from dalf_ros.simulation.recording import COLOR_TOPIC, DEPTH_TOPIC, FRAME_ID, MASK_TOPIC

    bag = small_bag(tmp_path / "bag", compressed=False)
    tracker, player = would_start("bag", bag=str(bag), mask=MASK_TOPIC, rate="0.5", separate="false", namespace="/left")
    assert tracker.remappings.items() >= {"image": COLOR_TOPIC, "depth": DEPTH_TOPIC, "mask": MASK_TOPIC}.items()
    assert tracker.parameters == {"/**": {"use_sim_time": True, "use_mask": True, "image_transport": "raw"},
                                  "/**/registration_node": {"depth_transport": "raw"}}
    assert player.program == "play" and "--clock" in player.words and "--loop" not in player.words
    assert player.words[player.words.index("--rate") + 1] == "0.5"
    waits = player.words.index("--wait-for")
    assert player.words[waits + 1:waits + 4] == ["/left/feature_node", "/left/registration_node", "--topics"]
    *_, rviz, player = would_start("bag", bag=str(bag), rviz="true", loop="true")
    assert rviz.words[rviz.words.index("-f") + 1] == FRAME_ID and "--loop" in player.words and MASK_TOPIC not in player.words


def test_compressed_images_in_a_bag_are_taken_as_such(would_start: Callable, tmp_path: Path) -> None:
    from dalf_ros.simulation.recording import COLOR_TOPIC, DEPTH_TOPIC

    bag = small_bag(tmp_path / "bag", compressed=True)
    feature, registration, player = would_start("bag", bag=str(bag))
    for node in (feature, registration):
        assert node.remappings.items() >= {"image": COLOR_TOPIC, "depth": DEPTH_TOPIC}.items()
        assert node.parameters["/**"]["image_transport"] == "compressed"
        assert node.parameters["/**/registration_node"] == {"depth_transport": "compressedDepth"}
    assert {f"{COLOR_TOPIC}/compressed", f"{DEPTH_TOPIC}/compressedDepth"} < set(player.words)


def test_a_bag_that_cannot_be_read_is_told(would_start: Callable, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="does not exist"):
        would_start("bag", bag=str(tmp_path / "missing"))
    with pytest.raises(RuntimeError, match="no such topic"):
        would_start("bag", bag=str(small_bag(tmp_path / "bag", compressed=False)), depth="/nowhere")


def test_demo_topics_are_those_of_the_simulation(would_start: Callable) -> None:
    from dalf_ros.simulation import recording

    (simulation,) = would_start("demo", recording="/somewhere/else", frames="60")
    assert simulation.program == "simulate"
    assert simulation.words[1:5] == ["--output", "/somewhere/else", "--frames", "60"]
    source = load("demo").SOURCE
    assert (source.color, source.depth, source.camera_info, source.mask, source.frame) == (
        recording.COLOR_TOPIC, recording.DEPTH_TOPIC, recording.CAMERA_INFO_TOPIC, recording.MASK_TOPIC, recording.FRAME_ID)


def load(name: str):
    """A launch file as a module."""
    import importlib.util

    path = Path(__file__).resolve().parents[2] / "launch" / f"{name}.launch.py"
    spec = importlib.util.spec_from_file_location(f"{name}_launch", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("distribution", "chosen", "expected"), [
    (None, {}, "FASTRTPS"), ("jazzy", {}, "FASTRTPS"), ("kilted", {}, "FASTDDS"), ("lyrical", {}, "FASTDDS"),
    ("jazzy", {"FASTRTPS": "/mine.xml"}, None), ("kilted", {"FASTRTPS": "/mine.xml"}, None), ("lyrical", {"FASTDDS": "/mine.xml"}, None)])
def test_fast_dds_profile_is_set_unless_chosen(monkeypatch: pytest.MonkeyPatch, distribution: str | None, chosen: dict[str, str],
                                               expected: str | None) -> None:
    """By the variable that the distribution's Fast DDS reads without a warning."""
    from dalf_ros.launch_support import launching

    for name in (*launching.PROFILES, "ROS_DISTRO"):
        monkeypatch.delenv(name, raising=False)
    for name, path in chosen.items():
        monkeypatch.setenv(f"{name}_DEFAULT_PROFILES_FILE", path)
    if distribution:
        monkeypatch.setenv("ROS_DISTRO", distribution)
    wanted = chosen or {expected: launching.share("config", "fastdds.xml")}
    for name in ("live", "bag", "demo", "rviz"):
        context = launch.LaunchContext()
        for entity in load(name).generate_launch_description().entities:
            if isinstance(entity, launch.actions.SetEnvironmentVariable):
                entity.visit(context)
        got = {variable: context.environment.get(variable) for variable in launching.PROFILES}
        for variable in launching.PROFILES if not chosen else ():
            monkeypatch.delenv(variable, raising=False)
        assert got == {f"{key}_DEFAULT_PROFILES_FILE": wanted.get(key) for key in ("FASTRTPS", "FASTDDS")}, name


def small_bag(path: Path, compressed: bool) -> Path:
    """One frame of a colour and depth camera on the simulation's topics; compressed: colour as jpeg, depth as compressedDepth."""
    import cv2
    import numpy as np

    from dalf_core.camera import PinholeCamera
    from dalf_ros.bags.bag_writer import BagWriter
    from dalf_ros.conversions.messages import camera_info, header
    from dalf_ros.images.image_conversion import from_color, from_color_compressed, from_depth, from_mask
    from dalf_ros.simulation.recording import CAMERA_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC, FRAME_ID, MASK_TOPIC

    head, image = header(10**18, FRAME_ID), np.zeros((12, 16, 3), np.uint8)
    if compressed:
        png = np.concatenate([np.zeros(12, np.uint8), cv2.imencode(".png", np.full((12, 16), 1000, np.uint16))[1].reshape(-1)])
        images = ((f"{COLOR_TOPIC}/compressed", "CompressedImage", from_color_compressed(image, head)),
                  (f"{DEPTH_TOPIC}/compressedDepth", "CompressedImage", {"header": head, "format": "16UC1; compressedDepth", "data": png}))
    else:
        images = ((COLOR_TOPIC, "Image", from_color(image, head)),
                  (DEPTH_TOPIC, "Image", from_depth(np.ones((12, 16), np.float32), head)))
    with BagWriter(path) as bag:
        for topic, kind, fields in (*images, (MASK_TOPIC, "Image", from_mask(np.ones((12, 16)), head)),
                                    (CAMERA_INFO_TOPIC, "CameraInfo", camera_info(PinholeCamera(9, 9, 8, 6, 16, 12), head))):
            bag.write(topic, f"sensor_msgs/msg/{kind}", 10**18, fields)
    return path
