"""The cameras that the launch files know: the topics that each family's driver publishes by default, and the frame of its images."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Camera:
    """Topics of a driver started as its entry in CAMERAS says. depth: aligned to colour; empty where the camera measures none.

    frame: of the colour image and of the depth aligned to it; positions come out in it.
    """

    color: str
    depth: str
    camera_info: str
    frame: str


CAMERAS = {
    # realsense2_camera 4.55 and later. It aligns depth, and stamps both images alike, only when told to:
    #   ros2 launch realsense2_camera rs_launch.py align_depth.enable:=true enable_sync:=true
    "realsense": Camera(
        "/camera/camera/color/image_raw",
        "/camera/camera/aligned_depth_to_color/image_raw",
        "/camera/camera/color/camera_info",
        "camera_color_optical_frame",
    ),
    # orbbec_camera 2 (Gemini, Femto, Astra 2, DaBai). The depth topic keeps its name when depth is moved to the colour image:
    #   ros2 launch orbbec_camera gemini_330_series.launch.py depth_registration:=true
    "orbbec": Camera(
        "/camera/color/image_raw",
        "/camera/depth/image_raw",
        "/camera/color/camera_info",
        "camera_color_optical_frame",
    ),
    # azure_kinect_ros_driver, branch humble. Aligned depth is made for whoever subscribes; 1536P at 5 Hz is the default:
    #   ros2 launch azure_kinect_ros_driver driver.launch.py color_resolution:=720P depth_mode:=NFOV_UNBINNED fps:=30
    "azure_kinect": Camera(
        "/rgb/image_raw",
        "/depth_to_rgb/image_raw",
        "/rgb/camera_info",
        "rgb_camera_link",
    ),
    # zed_wrapper 5.1 and later. Depth is always that of the left image, rectified, which is also the colour image:
    #   ros2 launch zed_wrapper zed_camera.launch.py camera_model:=zed2i
    "zed": Camera(
        "/zed/zed_node/rgb/color/rect/image",
        "/zed/zed_node/depth/depth_registered",
        "/zed/zed_node/rgb/color/rect/camera_info",
        "zed_left_camera_frame_optical",
    ),
    # depthai_ros_driver 2.10. Depth is aligned to colour by default (stereo.i_align_depth), the colour image is rectified by default
    # (rectify_rgb); both are stamped alike with the option:
    #   ros2 launch depthai_ros_driver camera.launch.py pointcloud.enable:=true
    "oak": Camera(
        "/oak/rgb/image_rect",
        "/oak/stereo/image_raw",
        "/oak/rgb/camera_info",
        "oak_rgb_camera_optical_frame",
    ),
    # usb_cam 0.8: colour alone, so features and matches alone.
    #   ros2 launch usb_cam camera.launch.py
    "usb_cam": Camera("/camera1/image_raw", "", "/camera1/camera_info", "camera"),
}
