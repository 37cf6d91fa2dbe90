"""The files of config/ against what the nodes really have: parameters, topics, message types and fields. Without ROS."""
from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from dalf_ros.conversions import topics
from dalf_ros.launch_support.cameras import CAMERAS
from dalf_ros.nodes.parameters import TABLES

from .window_state import window_state

yaml = pytest.importorskip("ruamel.yaml")
CONFIG = Path(__file__).resolve().parents[2] / "config"
DIAGNOSTICS = {"/diagnostics": "diagnostic_msgs/msg/DiagnosticArray"}
RVIZ_TYPES = {"rviz_default_plugins/PointCloud2": "sensor_msgs/msg/PointCloud2", "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
              "rviz_default_plugins/Marker": "visualization_msgs/msg/Marker",
              "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray"}
PANEL_TYPES = {"Image": {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"},
               "3D": {"sensor_msgs/msg/PointCloud2", "visualization_msgs/msg/Marker", "visualization_msgs/msg/MarkerArray"},
               "Plot": {"dalf/msg/RegistrationStatus"}, "DiagnosticSummary": set(DIAGNOSTICS.values())}


def load(path: Path) -> dict:
    return yaml.YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def published() -> dict[str, str]:
    """Absolute name: type, of every topic of ours without a namespace."""
    names = {}
    for name, kind in topics.TYPES.items():
        node = "feature_node" if name in topics.FEATURE_TOPICS else "registration_node"
        names["/" + name.replace("~", node)] = kind
    return names | DIAGNOSTICS


def parameter_problems(document: dict) -> list[str]:
    """What the nodes would not understand, or not accept, in a parameter file."""
    problems = []
    for key, section in document.items():
        node = key.removeprefix("/**/")
        if node not in TABLES or set(section) != {"ros__parameters"}:
            problems.append(f"{key}: not /**/NODE: ros__parameters: of {', '.join(TABLES)}")
            continue
        table = {parameter.name: parameter for parameter in TABLES[node]}
        for name, value in section["ros__parameters"].items():
            if name not in table:
                problems.append(f"{key} has no parameter {name}")
            elif type(tuple(value) if isinstance(value, list) else value) is not type(table[name].default) or table[name].problem(value):
                problems.append(f"{key}: {name} cannot be {value!r}")
    return problems


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.name)
def test_parameter_files(path: Path) -> None:
    assert parameter_problems(load(path)) == []


@pytest.mark.parametrize("document", [
    {"/**/feature_node": {"ros__parameters": {"topk": 100}}},
    {"/**/feature_node": {"ros__parameter": {"top_k": 100}}},
    {"/**/features_node": {"ros__parameters": {"top_k": 100}}},
    {"feature_node": {"ros__parameters": {"image_scale": 1}}},
    {"/**/feature_node": {"ros__parameters": {"image_scale": 80.0}}},
    {"/**/feature_node": {"ros__parameters": {"region": [0, 0, 100]}}},
])
def test_mistakes_in_parameter_files_are_found(document: dict) -> None:
    assert len(parameter_problems(document)) == 1


def test_one_file_per_camera_with_what_differs() -> None:
    assert {path.stem for path in CONFIG.glob("*.yaml")} == {*CAMERAS, "dalf"}
    for camera in CAMERAS:
        for key, section in load(CONFIG / f"{camera}.yaml").items():
            defaults = {parameter.name: parameter.default for parameter in TABLES[key.removeprefix("/**/")]}
            assert all(value != defaults[name] for name, value in section["ros__parameters"].items())


def test_camera_topics_are_absolute_and_depth_is_the_colour_cameras() -> None:
    for name, camera in CAMERAS.items():
        for topic in (camera.color, camera.depth, camera.camera_info):
            assert re.fullmatch(r"(/[a-z][a-z0-9_]*)+", topic) or topic == camera.depth == "", (name, topic)
        assert camera.camera_info.rpartition("/")[0] in camera.color and camera.frame


def test_rviz_shows_what_is_published() -> None:
    manager = load(CONFIG / "dalf.rviz")["Visualization Manager"]
    shown = {display["Topic"]["Value"]: RVIZ_TYPES[display["Class"]] for display in manager["Displays"] if "Topic" in display}
    assert shown.items() <= published().items()
    assert {"/feature_node/debug_image", "/feature_node/registered_image", "/surface/points", "/surface/marker",
            "/surface/landmarks", "/points/markers"} == set(shown)
    assert all(display["Topic"]["Reliability Policy"] == "Reliable" for display in manager["Displays"] if "Topic" in display)
    assert manager["Global Options"]["Fixed Frame"] in {camera.frame for camera in CAMERAS.values()}


def test_rviz_looks_along_the_camera_with_the_picture_upright() -> None:
    """Orbit: the eye is at focal point + distance (cos yaw cos pitch, sin yaw cos pitch, sin pitch); up is the frame's z."""
    view = load(CONFIG / "dalf.rviz")["Visualization Manager"]["Views"]["Current"]
    yaw, pitch = view["Yaw"], view["Pitch"]
    look = -np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)])
    up = np.array([0, 0, 1]) - look[2] * look
    right = np.cross(look, up / np.linalg.norm(up))
    assert look[2] > 0.9 and up[1] < 0 and right[0] > 0.999        # an optical frame's z, -y, x


def test_rviz_gives_the_3d_view_most_of_its_window() -> None:
    """Without a saved state RViz would give the panels 940 of 1400 pixels."""
    window = load(CONFIG / "dalf.rviz")["Window Geometry"]
    state = window_state(window["QMainWindow State"])
    shown = {dock.name: dock for dock in state.docks.values() if dock.shown}
    assert set(shown) == {"Displays", "Matches", "Time"}
    (width, height), area = state.center, window["Width"] * window["Height"]
    assert width * height > 0.6 * area and width > 2 * shown["Matches"].size[0] and height > 2 * shown["Matches"].size[1]
    assert sum(across * high for across, high in (dock.size for dock in shown.values())) < width * height / 2
    left = [dock for dock in shown.values() if dock.side == "left"]
    assert {dock.size[0] for dock in left} == {380} and 0 <= window["Width"] - 380 - width < 10      # a separator between them
    assert 0 <= height - sum(dock.size[1] for dock in left) < 10


def test_rviz_has_a_dock_for_each_panel_and_image() -> None:
    layout = load(CONFIG / "dalf.rviz")
    images = [display["Name"] for display in layout["Visualization Manager"]["Displays"] if display["Class"].endswith("/Image")]
    panels = [panel["Name"] for panel in layout["Panels"]]
    assert set(window_state(layout["Window Geometry"]["QMainWindow State"]).docks) == {*images, *panels}
    assert {*images, *panels} <= set(layout["Window Geometry"])


def test_rviz_shows_an_image_where_its_dock_is_shown() -> None:
    """The dock of an Image display switches the display on: a hidden one is not computed."""
    layout = load(CONFIG / "dalf.rviz")
    docks = window_state(layout["Window Geometry"]["QMainWindow State"]).docks
    enabled = {display["Name"]: display["Enabled"] for display in layout["Visualization Manager"]["Displays"]
               if display["Class"].endswith("/Image")}
    assert enabled == {"Matches": True, "Registered image": False}
    assert {name: docks[name].shown for name in enabled} == enabled


@pytest.mark.parametrize("distance", [0.5, 0.7, 1.0, 1.5])
@pytest.mark.parametrize(("across", "down"), [(69.0, 42.0), (57.0, 45.0)])      # degrees: RealSense D435, Azure Kinect and Kinect
def test_rviz_shows_all_that_a_camera_sees_and_little_more(across: float, down: float, distance: float) -> None:
    """A surface that fills the camera's image is not cut off and fills at least half of the 3D view, across or down."""
    layout = load(CONFIG / "dalf.rviz")
    view = layout["Visualization Manager"]["Views"]["Current"]
    width, height = window_state(layout["Window Geometry"]["QMainWindow State"]).center
    eye_z = view["Focal Point"]["Z"] - view["Distance"] * abs(math.sin(view["Pitch"]))
    half = math.tan(math.radians(45 / 2)) * (distance - eye_z)          # of the view at that distance, down; metres
    share = [distance * math.tan(math.radians(angle / 2)) / half for angle in (across, down)]
    share[0] *= height / width
    assert max(share) <= 1 and max(share) > 0.5
    (axes,) = [display for display in layout["Visualization Manager"]["Displays"] if display["Class"].endswith("/Axes")]
    surface = 2 * distance * math.tan(math.radians(across / 2)) / (distance - eye_z)        # as seen: metres across a metre away
    assert axes["Length"] / -eye_z < surface / 10


def panel_topics(panel: str, settings: dict) -> set[str]:
    """The topics that a panel of a Foxglove layout names."""
    found = {settings[key] for key in ("topicToRender",) if key in settings}
    found |= {settings["imageMode"][key] for key in ("imageTopic",) if key in settings.get("imageMode", {})}
    found |= set(settings.get("topics", {}))
    return found | {path["value"].split(".")[0] for path in settings.get("paths", [])}


def test_foxglove_layout_shows_what_is_published() -> None:
    layout = json.loads((CONFIG / "dalf_foxglove.json").read_text(encoding="utf-8"))
    seen = set()
    for panel, settings in layout["configById"].items():
        names = panel_topics(panel, settings)
        assert names and names <= set(published()), panel
        assert {published()[name] for name in names} <= PANEL_TYPES[panel.split("!")[0]], panel
        seen |= names
    assert {"/feature_node/debug_image/compressed", "/surface/points", "/surface/marker", "/status", "/diagnostics"} <= seen
    assert set(re.findall(r'"([A-Za-z0-9]+![a-z]+)"', json.dumps(layout["layout"]))) == set(layout["configById"])


def test_foxglove_plots_name_fields_of_the_message() -> None:
    layout = json.loads((CONFIG / "dalf_foxglove.json").read_text(encoding="utf-8"))
    paths = [path["value"].split(".") for settings in layout["configById"].values() for path in settings.get("paths", [])]
    definition = (CONFIG.parent / "msg" / "RegistrationStatus.msg").read_text(encoding="utf-8")
    fields = set(re.findall(r"^\w+ (\w+)\b(?! *=)", definition, re.MULTILINE))
    assert paths and all(topic == "/status" and field in fields for topic, field in paths)


def test_the_page_names_each_cameras_topics() -> None:
    rows = [line for line in (CONFIG.parent / "docs" / "launch.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    for name, camera in CAMERAS.items():
        (row,) = [line for line in rows if line.startswith(f"| `{name}` |")]
        for topic in (camera.color, camera.depth, camera.camera_info, camera.frame):
            assert not topic or f"`{topic}`" in row, (name, topic)


def test_the_page_names_every_topic_and_display() -> None:
    page = (CONFIG.parent / "docs" / "launch.md").read_text(encoding="utf-8")
    displays = load(CONFIG / "dalf.rviz")["Visualization Manager"]["Displays"]
    rows = [f"| {display['Name']} | {'`' + display['Topic']['Value'] + '`' if 'Topic' in display else ''} |" for display in displays]
    assert [row.replace("|  |", "| |") for row in rows if row.replace("|  |", "| |") not in page] == []
    assert [name for name in published() if name not in DIAGNOSTICS and f"`{name}`" not in page] == []


def test_the_page_names_every_launch_argument() -> None:
    page = (CONFIG.parent / "docs" / "launch.md").read_text(encoding="utf-8")
    source = (CONFIG.parent / "dalf_ros" / "launch_support" / "launching.py").read_text(encoding="utf-8")
    names = re.findall(r'^    "(\w+)": \("', source, re.MULTILINE)
    for file in (CONFIG.parent / "launch").glob("*.launch.py"):
        names += re.findall(r'DeclareLaunchArgument\(\s*"(\w+)"', file.read_text(encoding="utf-8"))
    assert len(names) > 12
    assert [name for name in names if f"`{name}`" not in page] == []
