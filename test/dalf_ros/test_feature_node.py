"""One feature_node process that many tests talk to: a board that moves by known pixels."""
from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from dalf_ros.conversions import messages as convert
from dalf_ros.conversions import topics
from dalf_ros.images.image_conversion import from_color, from_color_compressed, to_color

pytest.importorskip("rclpy")

from .conftest import reliably  # noqa: E402

IMAGE = "sensor_msgs/msg/Image"
SECOND = 1_000_000_000


class Bench:
    """The node and what it is fed, one image at a time."""

    def __init__(self, graph, peer, scene) -> None:
        self.peer, self.scene, self.now = peer, scene, 1_700_000_000 * SECOND
        self.node = graph.start("dalf_ros.feature_node", "--ros-args", "-p", "top_k:=300", "-p", "silence_warning:=3600.0",
                                *reliably("/image"), "-p", "carry:=false")       # DALF sees every image; what is carried: test_carrying.py
        self.matches = peer.hear("/matches", topics.TYPES[topics.MATCHES])
        assert peer.until(lambda: peer.node.count_publishers("/matches"), 120), self.node.output
        peer.publisher("/image", IMAGE)

    def begin(self) -> None:
        """From here on a new reference: stamps jump back, as a looped recording's do."""
        self.now -= 100 * SECOND

    def send(self, image, stamp=None) -> int:
        """One image, without waiting; its stamp."""
        self.now = self.now + SECOND // 10 if stamp is None else stamp
        self.peer.publish("/image", IMAGE, from_color(image, convert.header(self.now, self.scene.frame_id)))
        return self.now

    def answer(self, got: list, stamp: int, timeout: float = 60.0):
        """The message of a stamp among those that were heard."""
        assert self.peer.until(lambda: any(convert.stamp_ns(m.header) == stamp for m in got), timeout), self.node.output
        return [m for m in got if convert.stamp_ns(m.header) == stamp][-1]

    def hear(self, name: str, kind: str | None = None) -> list:
        """As the peer's; the node knows of the listener when this returns."""
        heard = self.peer.hear(f"/{name}", topics.TYPES[kind or name])
        self.peer.be_known_to("/feature_node")
        return heard

    def refused(self) -> int:
        return int(self.peer.diagnostics("/feature_node")["refused"])

    def send_in_vain(self, image) -> None:
        """One image that is not matched; returns when the node has refused it: before, the next one could take its place."""
        before = self.refused()
        self.send(image)
        assert self.peer.until(lambda: self.refused() == before + 1), self.node.output

    def match(self, number: int):
        """The matches of the board moved by so many steps of two pixels."""
        return convert.matches_of(self.answer(self.matches, self.send(self.scene.image(number))))


@pytest.fixture(scope="module")
def bench(ros_graph, peer, scene, data_folder) -> Iterator[Bench]:
    import os

    before = os.environ.get("DALF_WEIGHTS")
    os.environ["DALF_WEIGHTS"] = str(data_folder / "dalf" / "model_ts-fl_final.pth")
    made = Bench(ros_graph, peer, scene)
    if before is None:
        del os.environ["DALF_WEIGHTS"]
    else:
        os.environ["DALF_WEIGHTS"] = before
    yield made
    assert made.node.stop() == 0 and "Traceback" not in made.node.output, made.node.output


@pytest.fixture
def fresh(bench: Bench) -> Bench:
    bench.begin()
    return bench


def shift(matches) -> np.ndarray:
    """Median motion of the verified matches, pixels."""
    return np.median((matches.query_xy - matches.reference_xy)[matches.matches.inlier], axis=0)


def test_matches_to_the_image_before(fresh: Bench, peer) -> None:
    """both: on two topics, each with its own reference; previous: only the one."""
    previous = fresh.hear("matches/previous", topics.MATCHES_PREVIOUS)
    assert peer.set_parameters("/feature_node", match_to="both") == [(True, "")]
    for number in (0, 2, 5):
        matches = fresh.match(number)
    np.testing.assert_allclose(shift(matches), [10, 0], atol=0.5)
    assert peer.until(lambda: len(previous) >= 2)
    pairs = convert.matches_of(previous[-1])
    assert (pairs.stamp_ns, pairs.reference_stamp_ns) == (matches.stamp_ns, matches.stamp_ns - SECOND // 10)
    np.testing.assert_allclose(shift(pairs), [6, 0], atol=0.5)
    assert previous[-1].reference_header.frame_id == fresh.scene.frame_id
    assert peer.set_parameters("/feature_node", match_to="previous") == [(True, "")]
    count = len(fresh.matches)
    np.testing.assert_allclose(shift(convert.matches_of(fresh.answer(previous, fresh.send(fresh.scene.image(6))))), [2, 0], atol=0.5)
    peer.spin(0.3)
    assert len(fresh.matches) == count
    assert peer.set_parameters("/feature_node", match_to="reference") == [(True, "")]
    np.testing.assert_allclose(shift(fresh.match(7)), [14, 0], atol=0.5)        # the reference was kept


def test_region_and_thresholds_change_at_run_time(fresh: Bench, peer) -> None:
    features = fresh.hear(topics.FEATURES)
    everywhere = convert.features_of(fresh.answer(features, fresh.send(fresh.scene.image(0))))
    x, y = everywhere.keypoints.T
    assert x.min() < 40 and x.max() > 150
    assert peer.set_parameters("/feature_node", region=[50, 40, 100, 80]) == [(True, "")]
    matches = fresh.match(1)
    part = convert.features_of(fresh.answer(features, matches.stamp_ns))
    x, y = part.keypoints.T
    assert len(part) > 30 and x.min() >= 50 and x.max() < 150 and y.min() >= 40 and y.max() < 120 and part.image_size == (192, 144)
    np.testing.assert_allclose(shift(matches), [2, 0], atol=0.5)                # positions are those of the whole image
    assert peer.set_parameters("/feature_node", region=[0, 0, 0, 0], top_k=40) == [(True, ""), (True, "")]
    strongest = convert.features_of(fresh.answer(features, fresh.send(fresh.scene.image(0))))
    np.testing.assert_allclose(strongest.keypoints, everywhere.keypoints[:40], atol=1e-3)
    limit = float(np.median(everywhere.scores))
    assert peer.set_parameters("/feature_node", top_k=300, threshold=limit) == [(True, ""), (True, "")]
    better = convert.features_of(fresh.answer(features, fresh.send(fresh.scene.image(0))))
    assert len(better) == (everywhere.scores >= limit).sum()
    peer.set_parameters("/feature_node", threshold=0.0)


@pytest.mark.parametrize(("change", "words"), [
    ({"region": [100, 0, 100, 100]}, "reaches beyond the image, which is 192x144"), ({"region": [0, 0, 20, 100]}, "at least 32x32"),
    ({"region": [1, 2]}, "must be 4 numbers"), ({"region": [-1, 0, 50, 50]}, "0 to 100000"), ({"top_k": 3}, "top_k"),
    ({"match_to": "first"}, "reference, previous, both"), ({"image_scale": 2.0}, "read-only"), ({"threshold": 2.0}, "threshold")])
def test_changes_that_cannot_be(fresh: Bench, peer, change: dict, words: str) -> None:
    fresh.match(0)
    (accepted, reason), = peer.set_parameters("/feature_node", **change)
    assert not accepted and words in reason, reason


def test_a_thermal_camera_is_taken_as_grey_and_told_once(fresh: Bench, peer) -> None:
    """16UC1 with 400 values in use: the board is matched as in colour."""
    for number in (0, 3):
        values = np.rint(29_000 + 400 / 255 * fresh.scene.image(number).mean(axis=2)).astype("<u2")
        fresh.now += SECOND // 10
        peer.publish("/image", IMAGE, {**from_color(values, convert.header(fresh.now, fresh.scene.frame_id)), "encoding": "16UC1"})
        matches = convert.matches_of(fresh.answer(fresh.matches, fresh.now))
    np.testing.assert_allclose(shift(matches), [6, 0], atol=0.5)
    assert matches.matches.inlier.sum() > 60
    assert sum("images of encoding 16UC1 are taken as grey" in line for line in fresh.node.lines) == 1


def test_another_resolution_begins_anew(fresh: Bench) -> None:
    """Two images of it do; a single one is skipped, and the reference stays."""
    small = cv2.resize(fresh.scene.image(0), (160, 120), interpolation=cv2.INTER_AREA)
    words = "an image of 160x120, not 192x144 is skipped"
    reference, lines = fresh.match(0).reference_stamp_ns, len(fresh.node.lines)
    fresh.send_in_vain(small)
    assert fresh.peer.until(lambda: any(words in line for line in fresh.node.lines[lines:]))
    assert fresh.match(2).reference_stamp_ns == reference
    answers = len(fresh.matches)
    fresh.send_in_vain(small)
    matches = convert.matches_of(fresh.answer(fresh.matches, fresh.send(small)))
    assert matches.reference_stamp_ns == matches.stamp_ns and matches.image_size == (160, 120) and len(fresh.matches) == answers + 1
    assert "images are now 160x120, not 192x144: tracking starts anew" in fresh.node.output
    fresh.send_in_vain(fresh.scene.image(0))
    fresh.match(0)


def test_warp_and_pictures(fresh: Bench, peer) -> None:
    """The map is a shift by the board's motion; the registered image is the reference image again; the jpeg is the debug image."""
    warps, registered = fresh.hear("warp", topics.WARP), fresh.hear("feature_node/registered_image", topics.REGISTERED_IMAGE)
    debug, packed = (fresh.hear(f"feature_node/{name}", kind) for name, kind in (
        ("debug_image", topics.DEBUG_IMAGE), ("debug_image/compressed", topics.DEBUG_COMPRESSED)))
    fresh.match(0)
    matches = fresh.match(4)
    warp = fresh.answer(warps, matches.stamp_ns)
    assert convert.stamp_ns(warp.reference_header) == matches.reference_stamp_ns and warp.header.frame_id == fresh.scene.frame_id
    assert (warp.width, warp.height, warp.reference_width, warp.reference_height) == (192, 144, 192, 144)
    assert warp.columns * warp.rows == len(warp.support) and warp.matches == matches.matches.inlier.sum()
    xy = np.stack(np.meshgrid(np.arange(30, 150, 7.5), np.arange(30, 110, 7.5)), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(convert.warp_positions(warp, xy), xy + [8, 0], atol=0.6)
    again = to_color(fresh.answer(registered, matches.stamp_ns))
    reference = fresh.scene.image(0)
    inner = (slice(30, 110), slice(30, 150))
    before, after = (np.abs(image[inner].astype(int) - reference[inner]).mean() for image in (fresh.scene.image(4), again))
    assert after < 4 < before
    plain, jpeg = (to_color(fresh.answer(got, matches.stamp_ns)) for got in (debug, packed))
    head = convert.header(matches.stamp_ns, fresh.scene.frame_id)
    assert packed[-1].format == "jpeg" and (to_color(SimpleNamespace(**from_color_compressed(plain, head))) == jpeg).all()


def test_more_images_than_it_can_take(fresh: Bench, peer) -> None:
    """Sent far faster than it works: every image that it hears is answered or counted as dropped, and the newest is among the answered.

    (Best effort: on a busy machine it does not hear all of them.)
    """
    fresh.match(0)
    before, answers = peer.diagnostics("/feature_node"), len(fresh.matches)
    stamps = []
    for number in range(40):        # four at once
        stamps.append(fresh.send(fresh.scene.image(number % 6)))
        if number % 4 == 3:
            peer.spin(0.16)
    matches = convert.matches_of(fresh.answer(fresh.matches, stamps[-1]))
    np.testing.assert_allclose(shift(matches), [2 * (39 % 6), 0], atol=0.5)
    after, answered = peer.diagnostics("/feature_node"), len(fresh.matches) - answers
    received, dropped = (int(after[name]) - int(before[name]) for name in ("received", "dropped"))
    assert 4 <= received <= 40 and answered + dropped == received and dropped and answered >= 2
    order = [convert.stamp_ns(message.header) for message in fresh.matches[answers:]]
    assert order == sorted(order)


def test_parameters_that_change_under_load(fresh: Bench, peer) -> None:
    """Every image is answered with one set of parameters or the other; none is lost to the change."""
    features = fresh.hear(topics.FEATURES)
    fresh.match(0)
    count = len(features)
    for number in range(24):
        last = fresh.send(fresh.scene.image(number % 3))
        if number % 4 == 0:
            assert peer.set_parameters("/feature_node", top_k=(50, 300)[number // 4 % 2], match_to=("both", "reference")[number // 4 % 2])
        peer.spin(0.05)
    fresh.answer(fresh.matches, last)
    fresh.answer(features, last)
    sizes = {len(convert.features_of(message)) for message in features[count:]}
    assert sizes <= set(range(51)) | set(range(100, 301)) and fresh.node.process.poll() is None
    peer.set_parameters("/feature_node", top_k=300, match_to="reference")
    np.testing.assert_allclose(shift(fresh.match(2)), [4, 0], atol=0.5)


def test_a_camera_that_goes_and_returns(fresh: Bench, peer) -> None:
    fresh.match(0)
    peer.unpublish("/image")
    peer.spin(1.0)
    fresh.now += 5 * SECOND
    peer.publisher("/image", IMAGE)
    np.testing.assert_allclose(shift(fresh.match(3)), [6, 0], atol=0.5)         # the reference is the one from before


def test_stamps_that_repeat_and_jump(fresh: Bench) -> None:
    first = fresh.match(0)
    count = len(fresh.matches)
    for stamp, word in ((first.stamp_ns, "repeated"), (first.stamp_ns - SECOND // 5, "late")):
        fresh.send(fresh.scene.image(1), stamp)
        assert fresh.peer.until(lambda word=word: f"image with a {word} stamp skipped" in fresh.node.output)
    assert len(fresh.matches) == count
    ahead = convert.matches_of(fresh.answer(fresh.matches, fresh.send(fresh.scene.image(2), first.stamp_ns + 3600 * SECOND)))
    assert ahead.reference_stamp_ns == first.stamp_ns
    back = convert.matches_of(fresh.answer(fresh.matches, fresh.send(fresh.scene.image(2), first.stamp_ns + 10 * SECOND)))
    assert back.reference_stamp_ns == back.stamp_ns


def test_malformed_messages_are_refused_and_the_node_goes_on(fresh: Bench, peer) -> None:
    good = from_color(fresh.scene.image(0), {})
    black = from_color(np.zeros((144, 192, 3), np.uint8), {})
    changes = ({"data": good["data"][:100]}, {"encoding": "unheard_of"}, {"step": 1}, {"width": 0})
    told = ("less than height*step", "'unheard_of' is not a colour image", "step 1 is less", "is empty", "constant")
    lines, answers, before = len(fresh.node.lines), len(fresh.matches), fresh.refused()
    for fields, words in zip((*({**good, **change} for change in changes), black), told, strict=True):
        fresh.now += SECOND // 10
        peer.publish("/image", IMAGE, {**fields, "header": convert.header(fresh.now, fresh.scene.frame_id)})
        assert peer.until(lambda words=words: any(words in line for line in fresh.node.lines[lines:])), fresh.node.output
    matches = fresh.match(2)
    assert len(fresh.matches) == answers + 1 and matches.reference_stamp_ns == matches.stamp_ns
    assert fresh.refused() - before == 5


def test_a_template_is_the_reference_until_another_is_asked_for(fresh: Bench, peer, tmp_path) -> None:
    """Loaded while it runs: the first image is matched to it, also after a reset; set_reference takes an image again."""
    from dalf.srv import LoadTemplate
    from std_srvs.srv import Trigger

    from dalf_core import Template, save_template
    from dalf_ros.templates.template_message import template_of_message

    def load(path: str):
        return peer.call("/feature_node/load_template", LoadTemplate, LoadTemplate.Request(path=path), 60)

    heard = peer.hear("/template", topics.TYPES[topics.TEMPLATE], True)
    save_template(Template.of_frame("board", fresh.scene.image(0)), tmp_path / "board.dalf")
    (tmp_path / "bad.dalf").write_bytes(b"PK\x03\x04 and more")
    assert "no template" in load(str(tmp_path / "bad.dalf")).message and not load(str(tmp_path / "none.dalf")).success
    answer = load(str(tmp_path / "board.dalf"))
    assert (answer.success, answer.name) == (True, "board"), answer.message
    assert peer.until(lambda: heard)
    template, stamp = template_of_message(heard[-1])
    assert template.name == "board" and (template.image == fresh.scene.image(0)).all()
    for service in ("", "reset"):
        if service:
            assert peer.call(f"/feature_node/{service}", Trigger, Trigger.Request()).success
        matches = fresh.match(4)
        assert (matches.template, matches.reference_stamp_ns) == ("board", stamp)
        np.testing.assert_allclose(shift(matches), [8, 0], atol=0.5)
    assert peer.call("/feature_node/set_reference", Trigger, Trigger.Request()).success
    first = fresh.match(2)
    assert first.template == "" and first.stamp_ns == first.reference_stamp_ns
