"""The tracker begins with a template, or with a library that it is recognised from; it is followed, and no image becomes the reference."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core import Template, save_template
from dalf_ros.conversions import messages as convert
from dalf_ros.conversions import topics
from dalf_ros.images.image_conversion import from_color, from_depth

pytest.importorskip("rclpy")

IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"


@pytest.mark.parametrize("parameter", ["template", "library"])
def test_a_node_that_begins_with_a_template(ros_graph, peer, scene, tmp_path, parameter) -> None:
    """Carried matches, too: DALF looks in the background. The board has moved 5 steps since the template was made."""
    noise = np.random.default_rng(0).integers(0, 255, (144, 192, 3), np.uint8)
    save_template(Template.of_frame("another", noise), tmp_path / "another.dalf")
    template = Template.of_frame("board", scene.image(0), scene.depth_m(), scene.camera)
    save_template(template, tmp_path / "board.dalf")
    space = f"/by_{parameter}"
    path = tmp_path / "board.dalf" if parameter == "template" else tmp_path
    node = ros_graph.start("dalf_ros.tracker", "--ros-args", "-r", f"__ns:={space}", "-p", f"{parameter}:={path}", "-p", "weights:=light",
                           "-p", "top_k:=300", "-p", "max_vertices:=2000")
    status, mesh, matches = (peer.hear(f"{space}/{name}", topics.TYPES[name]) for name in (topics.STATUS, topics.MESH, topics.MATCHES))
    reference = peer.hear(f"{space}/surface/reference", topics.TYPES[topics.REFERENCE], True)
    assert peer.until(lambda: peer.node.count_publishers(f"{space}/status"), 120), node.output
    peer.publisher(f"{space}/image", IMAGE, to=(f"{space}/feature_node", f"{space}/registration_node"))
    for topic, kind in (("depth", IMAGE), ("camera_info", INFO)):
        peer.publisher(f"{space}/{topic}", kind)
    for number in range(5, 400):
        head = convert.header(scene.stamp(number), scene.frame_id)
        peer.publish(f"{space}/camera_info", INFO, convert.camera_info(scene.camera, head))
        peer.publish(f"{space}/depth", IMAGE, from_depth(scene.depth_m(), head))
        peer.publish(f"{space}/image", IMAGE, from_color(scene.image(5 + number % 2), head))
        peer.spin(0.3)
        if sum(message.status == 1 for message in status) >= 3:
            break
    assert peer.until(lambda: sum(message.status == 1 for message in status) >= 3 and mesh), node.output
    pairs = [convert.matches_of(message) for message in matches]
    assert {pair.template for pair in pairs} == {"board"}, "no image became the reference"
    tracked = [message for message in status if message.status == 1][-1]
    stamp = convert.stamp_ns(tracked.header)
    shown = 5 + ((stamp - scene.stamp(0)) // scene.period_ns) % 2
    assert peer.until(lambda: any(convert.stamp_ns(message.header) == stamp for message in mesh)), node.output
    vertices = convert.mesh_of([message for message in mesh if convert.stamp_ns(message.header) == stamp][-1])["vertices"]
    assert peer.until(lambda: reference)
    moved = vertices - convert.mesh_of(reference[-1])["vertices"]
    np.testing.assert_allclose(np.median(moved, axis=0), [shown * scene.shift_m, 0, 0], atol=1e-3)
    assert "reference: template board" in node.output and ("recognised: template board" in node.output) == (parameter == "library")
    assert node.stop() == 0 and "Traceback" not in node.output
