"""Follow a deforming surface with a live colour and depth camera; its driver is started apart (docs/launch.md).

    ros2 launch dalf live.launch.py camera:=realsense rviz:=true
    ros2 launch dalf live.launch.py camera:=other color:=/my/image depth:=/my/depth/image camera_info:=/my/camera_info
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import OpaqueFunction

from dalf_ros.launch_support import launching


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    return launching.nodes(context, launching.camera_source(context))


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        launching.declare_camera(),
        *launching.declare(launching.TOPIC_ARGUMENTS, launching.TRANSPORT_ARGUMENTS, launching.MASK_ARGUMENT, launching.NODE_ARGUMENTS),
        *launching.fast_dds_profile(),
        OpaqueFunction(function=start),
    ])
