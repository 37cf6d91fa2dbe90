"""Play a recording with /clock into the nodes; its camera topics are found by type and name (docs/launch.md).

    ros2 launch dalf bag.launch.py bag:=/path/to/bag rviz:=true
    ros2 launch dalf bag.launch.py bag:=/path/to/bag rate:=0.5 loop:=true mask:=/camera/object_mask
"""

import json
import os
import subprocess

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction

from dalf_ros.launch_support import launching


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    bag = os.path.abspath(os.path.expanduser(launching.text(context, "bag")))
    found = describe(context, bag)
    played = found.pop("played").split()
    end = launching.flag(context, "exit_at_end")
    source = launching.Source(**found)
    return [*launching.nodes(context, source), launching.player(context, source, bag, played, end=end)]


def describe(context: LaunchContext, bag: str) -> dict[str, str]:
    """The recording's topics and frame. Raises RuntimeError with what is wrong with it."""
    given = {option: launching.text(context, option) for option in ("color", "depth", "camera_info", "mask")}
    options = [word for name, topic in given.items() if topic for word in (f"--{name.replace('_', '-')}-topic", topic)]
    done = subprocess.run(["python3", "-m", "dalf_ros.launch_support.describe_bag", bag, *options], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().removeprefix("error: "))
    return json.loads(done.stdout)


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        DeclareLaunchArgument("bag", description="rosbag2 folder, .mcap, .db3 (also .zstd) or ROS 1 .bag"),
        *launching.declare(launching.END_ARGUMENT, launching.PLAYER_ARGUMENTS, launching.TOPIC_ARGUMENTS, launching.MASK_ARGUMENT,
                           launching.NODE_ARGUMENTS, use_sim_time="true"),
        *launching.fast_dds_profile(),
        OpaqueFunction(function=start),
    ])
