"""Follow a deforming surface with a live colour and depth camera.

    ros2 launch dalf live.launch.py
    ros2 launch dalf live.launch.py color:=/camera/color/image_raw depth:=/camera/depth/image_raw separate:=true
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.conditions import IfCondition, UnlessCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

ARGUMENTS = {
    "color": ("/camera/color/image_raw", "colour image topic"),
    "depth": ("/camera/aligned_depth_to_color/image_raw", "depth image topic, registered to the colour image"),
    "camera_info": ("/camera/color/camera_info", "calibration topic of the colour camera"),
    "use_mask": ("false", "keep to the object that the mask topic shows"),
    "mask": ("/camera/object_mask", "mask topic: nonzero = object; same stamps and pixels as the colour image"),
    "weights": ("", "network weights: empty for the default, official, or a file"),
    "device": ("auto", "what runs the network: auto, cpu or cuda"),
    "use_sim_time": ("false", "take the time from /clock"),
    "separate": ("false", "run the feature and the registration node as two processes instead of one"),
    "log_level": ("info", "debug, info, warn or error"),
}


def fast_dds_profile() -> list[SetEnvironmentVariable]:
    """Shared memory large enough for images, unless the user has chosen a profile."""
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    if any(name in os.environ for name in names):
        return []
    path = os.path.join(get_package_share_directory("dalf"), "config", "fastdds.xml")
    return [SetEnvironmentVariable(name, path) for name in names]


def node(executable: str, condition: IfCondition | UnlessCondition) -> Node:
    """One of our programs, wired to the camera topics of the launch arguments. The nodes in it keep their own names."""
    return Node(
        package="dalf",
        executable=executable,
        output="screen",
        condition=condition,
        parameters=[
            {
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
                "use_mask": ParameterValue(LaunchConfiguration("use_mask"), value_type=bool),
                "weights": ParameterValue(LaunchConfiguration("weights"), value_type=str),
            }
        ],
        remappings=[
            ("image", LaunchConfiguration("color")),
            ("depth", LaunchConfiguration("depth")),
            ("camera_info", LaunchConfiguration("camera_info")),
            ("mask", LaunchConfiguration("mask")),
        ],
        # the feature node alone has a network to run
        arguments=["--ros-args", "-p", ["feature_node:device:=", LaunchConfiguration("device")],
                   "--log-level", LaunchConfiguration("log_level")],
    )


def generate_launch_description() -> LaunchDescription:
    separate = LaunchConfiguration("separate")
    arguments = [DeclareLaunchArgument(name, default_value=value, description=text) for name, (value, text) in ARGUMENTS.items()]
    nodes = [
        node("tracker", UnlessCondition(separate)),
        node("feature_node", IfCondition(separate)),
        node("registration_node", IfCondition(separate)),
    ]
    return LaunchDescription(arguments + fast_dds_profile() + nodes)
