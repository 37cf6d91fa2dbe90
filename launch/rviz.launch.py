"""RViz with the surface, its landmarks and the picture of the matches; no TF is needed (docs/launch.md).

    ros2 launch dalf rviz.launch.py camera:=zed
    ros2 launch dalf rviz.launch.py frame:=my_camera_optical_frame
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction

from dalf_ros.launch_support import launching
from dalf_ros.launch_support.cameras import CAMERAS


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    camera = CAMERAS.get(launching.text(context, "camera"))
    return [launching.rviz(context, launching.text(context, "frame") or (camera.frame if camera else ""))]


def generate_launch_description() -> LaunchDescription:
    shared = {name: launching.NODE_ARGUMENTS[name] for name in ("namespace", "use_sim_time")}
    return LaunchDescription([
        launching.declare_camera(),
        DeclareLaunchArgument("frame", default_value="", description="fixed frame: that of the depth images; empty: the camera's"),
        *launching.declare(shared),
        *launching.fast_dds_profile(),
        OpaqueFunction(function=start),
    ])
