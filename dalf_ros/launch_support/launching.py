"""What the launch files share: their arguments, our nodes wired to a camera's topics, RViz, the Fast DDS profile. Needs `launch`."""
from __future__ import annotations

import atexit
import math
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from ..conversions import topics
from .cameras import CAMERAS, Camera

OTHER = "other"      # the camera whose topics are all given by hand
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")      # of Fast DDS 2; of 3, which warns about the first
RULES = ("none", "nearest", "largest_above_plane")      # of dalf_core.options.AUTO_SELECT, which would load numba
FAST_DDS_2 = ("humble", "iron", "jazzy")

# name: default, what it is. Topics that are not given are the camera's, or found in the recording.
TOPIC_ARGUMENTS = {
    "color": ("", "colour image topic"),
    "depth": ("", "depth image topic, aligned to the colour image or of a camera of its own"),
    "camera_info": ("", "calibration topic of the colour camera; where color is given, the camera_info beside it unless this is given too"),
}
TRANSPORT_ARGUMENTS = {
    "image_transport": ("", f"how colour images come: {', '.join(topics.IMAGE_TRANSPORTS)}; empty: as in the parameter files, else raw"),
    "depth_transport": ("", f"how depth comes: {', '.join(topics.DEPTH_TRANSPORTS)}; empty: as in the parameter files, else raw"),
}
MASK_ARGUMENT = {"mask": ("", "mask topic, nonzero = object, stamps and pixels as the colour image; empty: the whole image")}
NODE_ARGUMENTS = {
    "weights": ("", "network weights: empty for the default, official, light, or a file"),
    "device": ("", "what runs the network: auto, cpu, cuda or cuda:N; empty: as in the parameter files, else auto"),
    "params_file": ("", "your own parameter file; it is read after the camera's"),
    "auto_select": ("", f"the object that becomes the reference, without a mask: {', '.join(RULES)}; empty: as in the parameter files, "
                    "else none"),
    "namespace": ("", "namespace of the nodes and of the topics that they publish"),
    "use_sim_time": ("false", "take the time from /clock"),
    "separate": ("true", "run the feature and the registration node as two processes; false: as one, `tracker`"),
    "rviz": ("false", "start RViz too"),
    "log_level": ("info", "how much the nodes tell"),
}
END_ARGUMENT = {
    "exit_at_end": ("false", "end when the recording is over"),
}
PLAYER_ARGUMENTS = {
    "rate": ("1.0", "speed, 1 = as recorded"),
    "loop": ("false", "begin again at the end"),
}
SWITCHES = ("use_sim_time", "separate", "rviz", "loop", "exit_at_end")
CHOICES = {"log_level": ["debug", "info", "warn", "error", "fatal"], "image_transport": ["", *topics.IMAGE_TRANSPORTS],
           "depth_transport": ["", *topics.DEPTH_TRANSPORTS], "auto_select": ["", *RULES],
           **dict.fromkeys(SWITCHES, ["true", "false", "True", "False"])}


@dataclass(frozen=True)
class Source:
    """What the nodes listen to. Empty depth: features and matches only. Empty mask: none. frame: RViz shows it. parameters: YAML files.

    Empty camera_info: the one beside color. image_transport, depth_transport: the nodes' parameters; empty: as in the parameter files.
    """

    color: str
    depth: str
    camera_info: str
    frame: str
    mask: str = ""
    image_transport: str = ""
    depth_transport: str = ""
    parameters: tuple[str, ...] = ()


def declare(*tables: dict[str, tuple[str, str]], **defaults: str) -> list[DeclareLaunchArgument]:
    """Launch arguments from tables of (default, description); defaults given by name take the place of the table's.

    launch refuses values that are not among the CHOICES before it starts anything.
    """
    return [DeclareLaunchArgument(name, default_value=defaults.get(name, default), description=text, choices=CHOICES.get(name))
            for table in tables for name, (default, text) in table.items()]


def declare_camera() -> DeclareLaunchArgument:
    """The argument `camera`."""
    return DeclareLaunchArgument("camera", default_value="realsense", choices=[*CAMERAS, OTHER],
                                 description="whose default topics and parameter file to use; topics that are given win")


def text(context: LaunchContext, name: str) -> str:
    """A launch argument's value."""
    return LaunchConfiguration(name).perform(context).strip()


def flag(context: LaunchContext, name: str) -> bool:
    """One of the SWITCHES."""
    return text(context, name).lower() == "true"


def share(*parts: str) -> str:
    """A path in our installed share folder."""
    return os.path.join(get_package_share_directory("dalf"), *parts)


def camera_source(context: LaunchContext) -> Source:
    """The camera of the argument `camera`, topics that were given in place of its own. Raises ValueError without a colour topic."""
    name, color = text(context, "camera"), text(context, "color")
    camera = CAMERAS.get(name, Camera("", "", "", ""))
    source = Source(
        color or camera.color,
        text(context, "depth") or camera.depth,
        text(context, "camera_info") or ("" if color else camera.camera_info),
        camera.frame,
        text(context, "mask"),
        text(context, "image_transport"),
        text(context, "depth_transport"),
        parameters=(share("config", f"{name}.yaml"),) if name in CAMERAS else (),
    )
    if not source.color:
        raise ValueError(f"camera:={name} has no topics of its own: give color:=…, for a surface depth:=…, and camera_info:=… unless it "
                         "lies beside color")
    return source


def fast_dds_profile() -> list[SetEnvironmentVariable]:
    """Shared memory large enough for images, unless the user has chosen a profile. Without ROS_DISTRO it is Jazzy's, as of ./run."""
    old = os.environ.get("ROS_DISTRO", "jazzy") in FAST_DDS_2
    if any(os.environ.get(name) for name in (PROFILES[:1] if old else PROFILES)):
        return []
    return [SetEnvironmentVariable(PROFILES[0 if old else 1], share("config", "fastdds.xml"))]


def nodes(context: LaunchContext, source: Source) -> list[Node]:
    """Our nodes, wired to the source; RViz too when asked. When one of ours ends, the launch ends."""
    if not source.depth:
        if text(context, "auto_select") not in ("", "none"):
            raise ValueError("auto_select finds objects in depth, and there is none: give depth:=…, or leave auto_select out")
        executables = ["feature_node"]
    else:
        executables = ["feature_node", "registration_node"] if flag(context, "separate") else ["tracker"]
    made = [_node(context, source, executable) for executable in executables]
    return [*made, rviz(context, source.frame)] if flag(context, "rviz") else made


def _node(context: LaunchContext, source: Source, executable: str) -> Node:
    """One of our programs. The nodes in it keep their own names."""
    inputs = {"image": source.color, "depth": source.depth, "camera_info": source.camera_info, "mask": source.mask}
    return Node(
        package="dalf",
        executable=executable,
        namespace=text(context, "namespace") or None,
        output="screen",
        parameters=[*source.parameters, *_given(text(context, "params_file")), _arguments_file(context, source)],
        remappings=[(name, topic) for name, topic in inputs.items() if topic],
        arguments=["--ros-args", "--log-level", text(context, "log_level")],
        on_exit=Shutdown(reason=f"{executable} has ended"),
    )


def _given(path: str) -> list[str]:
    """A parameter file that was named, as an absolute path. Raises ValueError when it is not there."""
    path = os.path.abspath(os.path.expanduser(path)) if path else ""
    if path and not os.path.isfile(path):
        raise ValueError(f"params_file:={path} does not exist")
    return [path] if path else []


def _arguments_file(context: LaunchContext, source: Source) -> str:
    """A parameter file of the launch arguments; what one node alone has goes to that node, whatever its namespace."""
    both = {"use_sim_time": flag(context, "use_sim_time")} | ({"use_mask": True} if source.mask else {})
    both |= {"auto_select": rule} if (rule := text(context, "auto_select")) else {}
    both |= {"image_transport": source.image_transport} if source.image_transport else {}
    feature = {name: value for name in ("weights", "device") if (value := text(context, name))}
    registration = {"depth_transport": source.depth_transport} if source.depth_transport else {}
    sections = {"/**": both, "/**/feature_node": feature, "/**/registration_node": registration}
    with tempfile.NamedTemporaryFile("w", prefix="dalf_launch_", suffix=".yaml", delete=False) as file:
        yaml.safe_dump({name: {"ros__parameters": values} for name, values in sections.items() if values}, file)
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return file.name


def player(context: LaunchContext, source: Source, bag: str, played: Iterable[str], *, wait_s: float = 120.0, end: bool = False) -> Node:
    """`play` with /clock; it waits for the nodes to listen, which they do when their models are loaded. end: the launch ends with it."""
    rate = _rate(context)
    loop = ["--loop"] if flag(context, "loop") else []
    return Node(
        package="dalf",
        executable="play",
        output="screen",
        arguments=[bag, "--clock", "--rate", str(rate), "--wait", str(wait_s), "--wait-for", *listeners(context, source), *loop,
                   "--topics", *played],
        on_exit=Shutdown(reason="the recording is over") if end else None,
    )


def _rate(context: LaunchContext) -> float:
    """The argument `rate`. Raises ValueError where it is no positive number."""
    try:
        rate = float(text(context, "rate"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < math.inf:
        raise ValueError(f"rate:={text(context, 'rate')} must be a number greater than 0")
    return rate


def listeners(context: LaunchContext, source: Source) -> list[str]:
    """Our nodes by their full names."""
    namespace = text(context, "namespace").strip("/")
    names = ["feature_node", "registration_node"] if source.depth else ["feature_node"]
    return [f"/{namespace}/{name}" if namespace else f"/{name}" for name in names]


def rviz(context: LaunchContext, frame: str) -> Node:
    """RViz with our configuration, its topics moved into the namespace of the nodes. frame: the fixed frame.

    Raises ValueError where it is not installed.
    """
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError as error:
        distribution = os.environ.get("ROS_DISTRO", "jazzy")
        raise ValueError(f"RViz is asked for, but rviz2 is not installed (sudo apt install ros-{distribution}-rviz2): "
                         "leave rviz:=true out, or look at the topics with Foxglove") from error
    namespace = text(context, "namespace").strip("/")
    shown = [resolved(name) for name in (topics.DEBUG_IMAGE, topics.REGISTERED_IMAGE, topics.POINTS, topics.MARKER, topics.LANDMARKS)]
    shown.append(f"/{topics.CLICKED_POINT}")
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz",
        output="log",
        parameters=[{"use_sim_time": flag(context, "use_sim_time")}],
        remappings=[(topic, f"/{namespace}{topic}") for topic in shown] if namespace else [],
        arguments=["-d", share("config", "dalf.rviz"), *(["-f", frame] if frame else [])],
    )


def resolved(name: str) -> str:
    """A topic of ours, absolute, as it is called without a namespace."""
    owner = "feature_node" if name in topics.FEATURE_TOPICS else "registration_node"
    return "/" + name.replace("~", owner)
