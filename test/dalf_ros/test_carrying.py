"""feature_node while DALF works in the background: every image gets matches, and the surface's prediction is heeded."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core.tracking import FrameMatches
from dalf_ros.conversions import messages as convert
from dalf_ros.conversions import topics
from dalf_ros.images.image_conversion import from_color

pytest.importorskip("rclpy")

from .conftest import reliably  # noqa: E402

IMAGE = "sensor_msgs/msg/Image"
PERIOD_NS = 100_000_000


class Bench:
    """The node, what it is fed and what came out, by stamp."""

    def __init__(self, graph, peer, scene) -> None:
        self.peer, self.scene, self.now = peer, scene, scene.stamp(0)
        self.node = graph.start("dalf_ros.feature_node", "--ros-args", "-r", "__ns:=/carried", "-p", "top_k:=400", "-p",
                                "silence_warning:=3600.0", *reliably("/carried/image"))
        self.heard = {name: peer.hear(f"/carried/{name}", topics.TYPES[name]) for name in (topics.MATCHES, topics.FEATURES)}
        assert peer.until(lambda: peer.node.count_publishers("/carried/matches"), 120), self.node.output
        peer.publisher("/carried/image", IMAGE)
        peer.publisher("/carried/surface/prediction", topics.TYPES[topics.PREDICTION])

    def send(self, image: np.ndarray) -> int:
        self.now += PERIOD_NS
        self.peer.publish("/carried/image", IMAGE, from_color(image, convert.header(self.now, self.scene.frame_id)))
        return self.now

    def answer(self, name: str, stamp: int, timeout: float = 60.0):
        def there() -> list:
            return [message for message in self.heard[name] if convert.stamp_ns(message.header) == stamp]

        assert self.peer.until(there, timeout), self.node.output
        return there()[-1]


@pytest.fixture(scope="module")
def bench(ros_graph, peer, scene):
    made = Bench(ros_graph, peer, scene)
    yield made
    assert made.node.stop() == 0 and "Traceback" not in made.node.output, made.node.output


@pytest.fixture(scope="module")
def reference(bench: Bench) -> FrameMatches:
    """The first image alone: what DALF has found comes out without another image."""
    stamp = bench.send(bench.scene.image(0))
    matches = convert.matches_of(bench.answer(topics.MATCHES, stamp))
    assert matches.reference_stamp_ns == stamp and len(convert.features_of(bench.answer(topics.FEATURES, stamp))) == len(matches.matches)
    return matches


def test_every_image_gets_matches_that_say_how_they_were_found(bench: Bench, reference: FrameMatches) -> None:
    for number in range(1, 13):
        message = bench.answer(topics.MATCHES, bench.send(bench.scene.image(number)))
        matches = convert.matches_of(message)
        moved = matches.query_xy - matches.reference_xy
        assert matches.reference_stamp_ns == reference.stamp_ns and len(moved) > 100
        assert np.abs(np.median(moved, axis=0) - (2.0 * number, 0)).max() < 0.1
        assert np.mean(np.abs(moved - (2.0 * number, 0)).max(axis=1) < 0.5) > 0.98
        assert set(message.found) == {message.CARRIED} and set(message.query_index) == {message.NO_INDEX}
        assert (matches.matches.query_index == -1).all() and matches.matches.inlier.all() and (matches.age_s > 0).all()
        rows = matches.matches.reference_index
        assert np.array_equal(matches.reference_xy, reference.query_xy[rows])


def test_dalf_renews_what_is_carried(bench: Bench, reference: FrameMatches) -> None:
    """Its later looks come out as features, and matches grow younger by them."""
    def looked() -> set[int]:
        return {convert.stamp_ns(message.header) for message in bench.heard[topics.FEATURES]} - {reference.stamp_ns}

    for _ in range(1000):
        age = convert.matches_of(bench.answer(topics.MATCHES, bench.send(bench.scene.image(3)))).age_s
        if looked() and np.median(age) < (bench.now - reference.stamp_ns) / 1e9 - 1.0:
            return
        bench.peer.spin(0.05)
    pytest.fail(f"DALF looked at {len(looked())} images more; median age {np.median(age):.1f} s\n{bench.node.output}")


def test_what_was_covered_is_found_where_the_surface_expects_it(bench: Bench, reference: FrameMatches) -> None:
    """Matches come at once where the prediction says, long before DALF has looked again."""
    cover = np.full_like(bench.scene.image(0), 90)
    gone = [len(convert.matches_of(bench.answer(topics.MATCHES, bench.send(cover))).matches) for _ in range(3)]
    assert gone[-1] == 0
    count = len(reference.matches)
    told = {"header": convert.header(bench.now, ""), "reference_header": convert.header(reference.stamp_ns, ""),
            "view": np.zeros(count, np.uint32), "index": np.arange(count, dtype=np.uint32),
            "xy": (reference.query_xy + np.float32([11.0, 1.0])).reshape(-1), "visible": np.ones(count, np.uint8)}
    bench.peer.publish("/carried/surface/prediction", topics.TYPES[topics.PREDICTION], told)
    bench.peer.spin(0.3)
    matches = convert.matches_of(bench.answer(topics.MATCHES, bench.send(bench.scene.image(6))))
    moved = matches.query_xy - matches.reference_xy
    assert len(moved) > 100 and np.abs(np.median(moved, axis=0) - (12.0, 0)).max() < 0.1


def test_a_prediction_that_does_not_fit_is_refused(bench: Bench, reference: FrameMatches) -> None:
    told = {"header": convert.header(bench.now, ""), "reference_header": convert.header(reference.stamp_ns, ""),
            "view": np.zeros(3, np.uint32), "index": np.zeros(5, np.uint32), "xy": np.zeros(7, np.float32), "visible": np.ones(1, np.uint8)}
    bench.peer.publish("/carried/surface/prediction", topics.TYPES[topics.PREDICTION], told)
    assert bench.peer.until(lambda: "xy has 7 numbers, not a multiple of 2" in bench.node.output, 10), bench.node.output
    assert len(convert.matches_of(bench.answer(topics.MATCHES, bench.send(bench.scene.image(6)))).matches) > 100
