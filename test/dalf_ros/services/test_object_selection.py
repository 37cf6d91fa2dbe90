"""A feature_node and a registration_node process: what a rule, a pixel and a clicked point select is followed; bad clicks are refused.

And a registration_node that waits for Open3D."""
from __future__ import annotations

import os
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from dalf_ros.conversions import messages as convert
from dalf_ros.conversions import topics
from dalf_ros.images.image_conversion import from_color, from_depth, to_color

from ...dalf_core.table_scene import CAMERA, middle, scene

pytest.importorskip("rclpy")
pytest.importorskip("open3d")

from ..conftest import reliably  # noqa: E402

IMAGE, INFO, POINT = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo", "geometry_msgs/msg/PointStamped"
SPACE, FRAME = "/selecting", "camera_color_optical_frame"
NODE = f"{SPACE}/registration_node"
DEPTH, PICTURE, MASKS = scene()
BALL = MASKS["ball"]


class Bench:
    """Both nodes, waiting for the nearest object, and what they are fed: the table, with or without what stands on it."""

    def __init__(self, graph, peer) -> None:
        self.peer, self.number = peer, 0
        words = ["--ros-args", "-r", f"__ns:={SPACE}", "-p", "auto_select:=nearest"]
        self.features = graph.start("dalf_ros.feature_node", *words, "-p", "weights:=light", "-p", "top_k:=500",
                                    "-p", "image_scale:=2.0")
        self.registration = graph.start("dalf_ros.registration_node", *words)
        self.matches, self.status = (self.hear(name) for name in (topics.MATCHES, topics.STATUS))
        self.reference, self.shown = self.hear(topics.REFERENCE), self.hear(topics.SELECTED_IMAGE.replace("~", "registration_node"))
        assert peer.until(lambda: all(peer.node.count_publishers(f"{SPACE}/{name}") for name in (topics.MATCHES, topics.STATUS)), 120)
        texture = np.random.default_rng(1).integers(0, 255, (80, 107, 3), np.uint8)
        texture = cv2.resize(texture, (320, 240), interpolation=cv2.INTER_CUBIC)
        self.image = np.where((MASKS["mound"] | BALL)[..., None], texture // 2 + PICTURE // 2, PICTURE)

    def hear(self, name: str) -> list:
        kind = topics.TYPES[name.replace("registration_node", "~")]
        return self.peer.hear(f"{SPACE}/{name}", kind, name.replace("registration_node", "~") in topics.LATCHED)

    def connect(self) -> None:
        self.peer.publisher(f"{SPACE}/image", IMAGE, to=(f"{SPACE}/feature_node", NODE))
        for topic, kind in (("depth", IMAGE), ("camera_info", INFO)):
            self.peer.publisher(f"{SPACE}/{topic}", kind)

    def send(self, bare: bool = False) -> None:
        """One frame, stamped as a camera of 10 Hz."""
        depth = np.where(MASKS["mound"] | BALL, np.nan, DEPTH) if bare else DEPTH
        head = convert.header(1_700_000_000_000_000_000 + self.number * 100_000_000, FRAME)
        self.number += 1
        self.peer.publish(f"{SPACE}/camera_info", INFO, convert.camera_info(CAMERA, head))
        self.peer.publish(f"{SPACE}/depth", IMAGE, from_depth(depth.astype(np.float32), head))
        self.peer.publish(f"{SPACE}/image", IMAGE, from_color(self.image, head))
        self.peer.spin(0.2)

    def until(self, condition, frames: int = 1000) -> bool:
        for _ in range(frames):
            if condition():
                return True
            self.send()
        return False

    def follows(self, name: str) -> None:
        """The next reference surface that comes is that thing alone, and it is tracked by matches to what was selected."""
        count = len(self.reference)
        assert self.until(lambda: len(self.reference) > count), self.output
        vertices = convert.mesh_of(self.reference[-1])["vertices"]
        pixels = np.rint(CAMERA.project(vertices)).astype(int)
        grown = cv2.dilate(MASKS[name].astype(np.uint8), np.ones((3, 3), np.uint8))
        assert grown[pixels[:, 1], pixels[:, 0]].all() and len(pixels) > 0.6 * MASKS[name].sum()
        begun = len(self.status)
        assert self.until(lambda: sum(message.status == 1 for message in self.status[begun:]) >= 2), self.output
        assert convert.matches_of(self.matches[-1]).template == "selection"
        picture = to_color(self.shown[-1])
        x, y = (int(place) for place in middle(MASKS[name]))
        assert (picture[y, x] == self.image[y, x]).all() and (picture[230, 300] == self.image[230, 300] // 3).all()

    def ask(self, x: float = 0.0, y: float = 0.0, rule: str = ""):
        from dalf.srv import SelectObject

        return self.peer.call(f"{NODE}/select_object", SelectObject, SelectObject.Request(rule=rule, x=float(x), y=float(y)))

    def click(self, point: np.ndarray, frame: str = FRAME) -> None:
        x, y, z = map(float, point)
        self.peer.publish(f"{SPACE}/clicked_point", POINT, {"header": convert.header(0, frame), "point": {"x": x, "y": y, "z": z}})

    @property
    def output(self) -> str:
        return self.features.output + self.registration.output


@pytest.fixture(scope="module")
def bench(ros_graph, peer) -> Iterator[Bench]:
    made = Bench(ros_graph, peer)
    yield made
    for node in (made.features, made.registration):
        assert node.stop() == 0 and "Traceback" not in node.output, node.output


def test_where_a_click_is_in_the_view() -> None:
    """A pixel through a lens; a point, unless something else is seen in its direction."""
    from dalf_core.lens import PLUMB_BOB, Lens
    from dalf_core.templates.selection import SelectionError
    from dalf_ros.services.object_selection import _pinhole, _seen

    barrel = Lens(CAMERA, PLUMB_BOB, (-0.30, 0.10, 0.001, -0.0007, -0.01))
    twice = CAMERA.scaled(640, 480)
    place = barrel.scaled(640, 480).distort(np.array([[400.0, 150.0]]))[0]
    ray = twice.lift(np.array([[400.0, 150.0]]), np.ones(1))
    np.testing.assert_allclose(_pinhole(place, barrel, (640, 480), CAMERA), CAMERA.project(ray)[0], atol=0.1)
    with pytest.raises(SelectionError, match="without its lens distortion"):
        _pinhole((0.0, 0.0), barrel, (320, 240), CAMERA)
    pixel = np.array([[100.0, 80.0]])
    depth = np.full((240, 320), 0.8, np.float32)
    np.testing.assert_allclose(_seen(CAMERA.lift(pixel, np.array([0.83]))[0], CAMERA, depth, "it"), pixel[0])
    for away, why in ((1.0, "0.20 m behind"), (0.6, "0.20 m before")):
        with pytest.raises(SelectionError, match=why):
            _seen(CAMERA.lift(pixel, np.array([away]))[0], CAMERA, depth, "it")
    for point in ([2.0, 0, 1], [0, 0, -1]):
        with pytest.raises(SelectionError, match="not in the camera's view"):
            _seen(np.array(point, float), CAMERA, depth, "it")


def test_a_rule_a_pixel_and_a_point(bench) -> None:
    answer = bench.ask(10, 10)
    assert not answer.success and "no image on /selecting/image" in answer.message, "before any image came"
    bench.connect()
    for _ in range(8):
        bench.send(bare=True)
    said = "nothing is selected yet: nothing large enough is seen above the plane"
    assert bench.peer.until(lambda: said in bench.registration.output), bench.output
    assert not bench.matches and not bench.shown and "no image is matched until" in bench.features.output

    bench.follows("mound")      # the nearest
    assert bench.registration.output.count("selected: an object of") == 1 and bench.registration.output.count(said) == 1

    for x, y, why in ((300, 230, "on the plane"), (-5, 10, "x is 0 to 319, y 0 to 239"), (float("nan"), 3, "not in the image"),
                      (320, 10, "not in the image")):
        answer = bench.ask(x, y)
        assert not answer.success and why in answer.message
    answer = bench.ask(rule="largest")
    assert not answer.success and "nearest or largest_above_plane" in answer.message
    bench.click(CAMERA.lift(np.array([[300.0, 230.0]]), DEPTH[230:231, 300])[0])
    assert bench.peer.until(lambda: "clicked_point: point (" in bench.registration.output), bench.output
    bench.click(np.array([0.0, 0.0, 1.0]), "map")
    bench.registration.wait_for_output(f"the point is in frame map, the camera's optical frame is {FRAME}")
    assert len(bench.reference) == len(bench.shown) == 1, "nothing of that has changed the reference"

    answer = bench.ask(*middle(BALL))
    assert answer.success and abs(answer.pixels / BALL.sum() - 1) < 0.05, answer.message
    bench.follows("ball")
    x, y = np.rint(middle(MASKS["mound"])).astype(int)
    bench.click(CAMERA.lift(np.array([[float(x), float(y)]]), DEPTH[y:y + 1, x])[0])
    bench.follows("mound")


SLOW_OPEN3D = """import os, time
print("loading", flush=True)
while not os.path.exists({go!r}):
    time.sleep(0.02)
raise {error}
"""


@pytest.mark.parametrize("error, told", [('ModuleNotFoundError("not installed after all", name="open3d")', "Open3D is needed"),
                                         ('RuntimeError("it broke")', "RuntimeError: it broke")])
def test_the_node_hears_on_while_open3d_loads(own_graph, own_peer, tmp_path, error: str, told: str) -> None:
    """A stand-in that loads until the test says so: meanwhile another service is answered, and after it, whatever it raised."""
    from dalf.srv import SelectObject, TrackPoint

    (tmp_path / "open3d.py").write_text(SLOW_OPEN3D.format(go=str(tmp_path / "go"), error=error), encoding="utf-8")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    node = own_graph.start("dalf_ros.registration_node", "--ros-args", *reliably("/image", "/depth", "/camera_info"),
                           environment={"PYTHONPATH": path})
    assert own_peer.until(lambda: own_peer.node.count_publishers("/status"), 60)
    service = own_peer.client("/registration_node/select_object", SelectObject)
    head = convert.header(1_700_000_000_000_000_000, FRAME)
    own_peer.publish("/camera_info", INFO, convert.camera_info(CAMERA, head))
    own_peer.publish("/depth", IMAGE, from_depth(DEPTH.astype(np.float32), head))
    own_peer.publish("/image", IMAGE, from_color(PICTURE, head))
    own_peer.spin(1.0)
    request = SelectObject.Request(x=160.0, y=120.0)
    unheard = service.call_async(request)
    assert own_peer.until(unheard.done) and "no feature_node hears /selection" in unheard.result().message
    own_peer.hear("/selection", topics.TYPES[topics.SELECTION], True)
    own_peer.be_known_to("/registration_node")
    answer = service.call_async(request)
    node.wait_for_output("loading")
    points = own_peer.call("/registration_node/track_point", TrackPoint, TrackPoint.Request(action=TrackPoint.Request.LIST))
    assert "no reference surface yet" in points.message and not answer.done()
    (tmp_path / "go").touch()
    assert own_peer.until(answer.done) and not answer.result().success and told in answer.result().message
    assert own_peer.call("/registration_node/track_point", TrackPoint, TrackPoint.Request(action=TrackPoint.Request.LIST)).message
    assert node.stop() == 0 and ("Traceback" in node.output) == ("RuntimeError" in error), node.output
