"""Play the simulated cloth of `./run demo` into the nodes; the first call simulates it, which takes a minute (docs/launch.md).

    ros2 launch dalf demo.launch.py rviz:=true
"""

import os

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction, RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch_ros.actions import Node

from dalf_ros import simulate
from dalf_ros.launch_support import launching

# the topics and the frame of dalf_ros/simulation/recording.py, which would load the simulator
SOURCE = launching.Source("/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw", "/camera/color/camera_info",
                          "camera_color_optical_frame", "/camera/object_mask")


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    folder = os.path.abspath(os.path.expanduser(launching.text(context, "recording")))
    bag, played = os.path.join(folder, "bag"), (SOURCE.color, SOURCE.depth, SOURCE.camera_info, SOURCE.mask)
    # made before the minute of simulating: what is wrong with an argument is told at once
    then = [*launching.nodes(context, SOURCE), launching.player(context, SOURCE, bag, played)]
    simulation = Node(package="dalf", executable="simulate", output="screen",
                      arguments=["--output", folder, "--frames", launching.text(context, "frames")])

    def when_made(event: ProcessExited, _: LaunchContext) -> list[LaunchDescriptionEntity]:
        if event.returncode or not os.path.isdir(bag):
            return [Shutdown(reason="the recording could not be simulated")]
        return then

    return [RegisterEventHandler(OnProcessExit(target_action=simulation, on_exit=when_made)), simulation]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        DeclareLaunchArgument("recording", default_value=str(simulate.default_folder()), description="folder of the simulated recording"),
        DeclareLaunchArgument("frames", default_value="180", description="frames of its six seconds"),
        *launching.declare(launching.PLAYER_ARGUMENTS, launching.NODE_ARGUMENTS, rate="0.5", loop="true", use_sim_time="true"),
        *launching.fast_dds_profile(),
        OpaqueFunction(function=start),
    ])
