"""The tracker follows three boards at once, each of them by its template: real messages, motions that are known."""
from __future__ import annotations

import cv2
import numpy as np
import pytest

from dalf_core import Template, save_template
from dalf_ros.conversions import messages as convert
from dalf_ros.conversions import topics
from dalf_ros.images.image_conversion import from_color, from_depth

pytest.importorskip("rclpy")

IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
NAMES = ("cup", "red_shirt", "towel")
SIZE = (130, 96)            # of a board in the image, pixels
PLACES = np.array([[20, 20], [250, 12], [140, 200]])
MOVES = np.array([[1, 2], [-2, 1], [2, -1]])        # pixels a frame
CAMERA_SIZE = (400, 320)


def texture(number: int) -> np.ndarray:
    rng = np.random.default_rng(20 + number)
    layers = [cv2.resize(rng.random((12 * k, 16 * k, 3), np.float32), SIZE, interpolation=cv2.INTER_CUBIC) / k for k in (1, 2, 4)]
    return cv2.normalize(sum(layers), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def frame(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour and depth of the boards at 0.6 m, before a plain wall at 0.9 m."""
    image = np.full((CAMERA_SIZE[1], CAMERA_SIZE[0], 3), 90, np.uint8)
    depth = np.full(image.shape[:2], 0.9, np.float32)
    for number, (x, y) in enumerate(places):
        inside = np.s_[y:y + SIZE[1], x:x + SIZE[0]]
        image[inside], depth[inside] = texture(number), 0.6
    return image, depth


def camera():
    from dalf_core import PinholeCamera

    return PinholeCamera(300.0, 300.0, CAMERA_SIZE[0] / 2, CAMERA_SIZE[1] / 2, *CAMERA_SIZE)


def test_three_boards(ros_graph, peer, tmp_path) -> None:
    """Below /room, with a parameter file's reach, depth remapped: the objects' nodes hear what a registration_node there would."""
    image, depth = frame(PLACES)
    for name, (x, y) in zip(NAMES, PLACES):
        mask = np.zeros(depth.shape, np.uint8)
        mask[y:y + SIZE[1], x:x + SIZE[0]] = 255
        save_template(Template.of_frame(name, image, depth, camera(), mask), tmp_path / f"{name.replace('_', '-')}.dalf")
    node = ros_graph.start("dalf_ros.tracker", "--ros-args", "-r", "__ns:=/room", "-r", "depth:=/sensor/depth",
                           "-p", f"objects:={tmp_path}", "-p", "weights:=light", "-p", "top_k:=900", "-p", "max_vertices:=1500")
    heard = {name: {topic: peer.hear(f"/room/objects/{name}/{topic}", topics.TYPES[topic], topic in topics.LATCHED)
                    for topic in (topics.STATUS, topics.MESH, topics.REFERENCE, topics.MATCHES)} for name in NAMES}
    features = peer.hear("/room/features", topics.TYPES[topics.FEATURES])
    picture = peer.hear("/room/feature_node/debug_image", IMAGE)
    assert peer.until(lambda: all(peer.node.count_publishers(f"/room/objects/{name}/status") for name in NAMES), 120), node.output
    each = tuple(f"/room/objects/{name}/registration_node" for name in NAMES)
    for topic, kind, to in (("/room/image", IMAGE, ("/room/feature_node", *each)), ("/sensor/depth", IMAGE, each),
                            ("/room/camera_info", INFO, each)):
        peer.publisher(topic, kind, to)
    start = 1_700_000_000_000_000_000

    def tracked(name: str) -> list:
        return [message for message in heard[name][topics.STATUS] if message.status == 1]

    for number in range(400):
        image, depth = frame(PLACES + MOVES * (number % 8))
        head = convert.header(start + number * 100_000_000, "optical")
        peer.publish("/room/camera_info", INFO, convert.camera_info(camera(), head))
        peer.publish("/sensor/depth", IMAGE, from_depth(depth, head))
        peer.publish("/room/image", IMAGE, from_color(image, head))
        peer.spin(0.25)
        if all(len(tracked(name)) >= 4 for name in NAMES):
            break
    assert all(peer.until(lambda name=name: len(tracked(name)) >= 4) for name in NAMES), node.output
    for name, move in zip(NAMES, MOVES):
        stamp = convert.stamp_ns(tracked(name)[-1].header)
        steps = ((stamp - start) // 100_000_000) % 8
        assert peer.until(lambda name=name, stamp=stamp: [m for m in heard[name][topics.MESH] if convert.stamp_ns(m.header) == stamp])
        vertices = convert.mesh_of([m for m in heard[name][topics.MESH] if convert.stamp_ns(m.header) == stamp][-1])["vertices"]
        moved = np.median(vertices - convert.mesh_of(heard[name][topics.REFERENCE][-1])["vertices"], axis=0)
        np.testing.assert_allclose(moved, [*(move * steps * 0.6 / 300), 0], atol=1.5e-3)
        assert {convert.matches_of(message).template for message in heard[name][topics.MATCHES]} == {name}
        assert 300 < len(vertices) <= 1000, "the three share max_vertices; each template has twice as many"
    assert len(features) == len({convert.stamp_ns(message.header) for message in features}) > 0, "once an image, not once an object"
    assert picture and "3 objects: cup (" in node.output
    stats = peer.diagnostics("/room/feature_node")
    assert all(int(stats[f"inliers of {name}"]) > 10 for name in NAMES)

    from dalf.srv import LoadTemplate
    answer = peer.call("/room/feature_node/load_template", LoadTemplate, LoadTemplate.Request(path=str(tmp_path / "cup.dalf")))
    assert not answer.success and "each keeps its template" in answer.message
    from dalf.srv import SelectObject
    answer = peer.call("/room/objects/cup/registration_node/select_object", SelectObject, SelectObject.Request(x=60.0, y=60.0))
    assert not answer.success and "no feature_node hears /room/objects/cup/selection" in answer.message
    assert node.stop() == 0 and "Traceback" not in node.output


def test_an_object_that_is_no_file_ends_the_node(own_graph, tmp_path) -> None:
    node = own_graph.start("dalf_ros.tracker", "--ros-args", "-p", f"objects:={tmp_path / 'none.dalf'}", "-p", "weights:=light")
    assert node.wait() == 1 and "cannot be configured" in node.output and "none.dalf" in node.output
    node = own_graph.start("dalf_ros.tracker", "--ros-args", "-p", f"objects:={tmp_path}")
    assert node.wait() == 1 and "holds no template (.dalf): ./run template make" in node.output
