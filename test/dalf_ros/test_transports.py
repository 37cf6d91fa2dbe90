"""Two trackers in processes of their own: what comes as zstd and as a cloud gives the surface that plain images give."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_ros.conversions import messages as convert
from dalf_ros.conversions import topics
from dalf_ros.images.image_conversion import from_color, from_depth

pytest.importorskip("rclpy")

from .conftest import reliably  # noqa: E402

IMAGE, PACKED, CLOUD, INFO = (f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "PointCloud2", "CameraInfo"))


def test_packed_topics_give_the_surface_of_plain_ones(scene: type, ros_process, own_peer) -> None:
    """The packed side names neither camera_info (it lies beside the image) nor the transport in its topics."""
    words = ("-p", "top_k:=200", "-p", "carry:=false")
    words += (*reliably("/plain/image", "/plain/depth", "/plain/camera_info", "/camera/color/image_raw/zstd",
                        "/camera/depth_registered/points", "/camera/color/camera_info"),)
    plain = ros_process("dalf_ros.tracker", "--ros-args", "-r", "__ns:=/plain", *words)
    packed = ros_process("dalf_ros.tracker", "--ros-args", "-r", "__ns:=/packed", *words, "-p", "image_transport:=zstd", "-p",
                         "depth_transport:=points", "-r", "image:=/camera/color/image_raw", "-r", "depth:=/camera/depth_registered/points")
    meshes = [own_peer.hear(f"{side}/{topics.MESH}", topics.TYPES[topics.MESH]) for side in ("/plain", "/packed")]
    references = [own_peer.hear(f"{side}/{topics.REFERENCE}", topics.TYPES[topics.REFERENCE], True) for side in ("/plain", "/packed")]
    assert own_peer.until(lambda: all(own_peer.node.count_publishers(f"{side}/matches") for side in ("/plain", "/packed")), 180)
    for side, topic, kind in (("/plain", "/plain/image", IMAGE), ("/packed", "/camera/color/image_raw/zstd", PACKED)):
        own_peer.publisher(topic, kind, to=(f"{side}/feature_node", f"{side}/registration_node"))
    for number in range(3):
        head = convert.header(scene.stamp(number), scene.frame_id)
        info, color = convert.camera_info(scene.camera, head), from_color(scene.image(number), head)
        for topic, kind, fields in (
                ("/plain/camera_info", INFO, info), ("/plain/depth", IMAGE, from_depth(scene.depth_m(), head)),
                ("/plain/image", IMAGE, color),
                ("/camera/color/camera_info", INFO, info),
                ("/camera/depth_registered/points", CLOUD, scene.organised_cloud(scene.depth_m(), head)),
                ("/camera/color/image_raw/zstd", PACKED, scene.zstd_image(color))):
            own_peer.publish(topic, kind, fields)
        assert own_peer.until(lambda number=number: all(len(got) == number + 1 for got in meshes), 60), plain.output + packed.output
    colors = [convert.mesh_of(got[0])["colors"] for got in references]
    np.testing.assert_array_equal(*colors)
    assert colors[0].std() > 10
    for number, (one, other) in enumerate(zip(*meshes, strict=True)):
        vertices = [convert.mesh_of(message)["vertices"] for message in (one, other)]
        assert one.header == other.header and one.header.frame_id == scene.frame_id and len(vertices[0]) > 500
        np.testing.assert_allclose(*vertices, atol=1e-6)
        moved = np.median(vertices[0] - convert.mesh_of(meshes[0][0])["vertices"], axis=0)
        np.testing.assert_allclose(moved, [number * scene.shift_m, 0, 0], atol=0.0025)
    assert plain.stop() == 0 and packed.stop() == 0 and "camera_info from /camera/color/camera_info, beside" in packed.output
