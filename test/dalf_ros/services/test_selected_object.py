"""feature_node's side of a selection: taken up once, and where it is foreseen in later images."""
from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from dalf_core import Template  # noqa: E402
from dalf_core.matching.prediction import Prediction  # noqa: E402
from dalf_core.templates.template import TemplateError  # noqa: E402
from dalf_ros.conversions import topics  # noqa: E402
from dalf_ros.conversions.message_factory import bag_message  # noqa: E402
from dalf_ros.services.selected_object import SelectedObject  # noqa: E402
from dalf_ros.templates.template_message import template_message  # noqa: E402

SECOND, FOLLOWED = 1_000_000_000, 77


class Node:
    def __init__(self, rule: str) -> None:
        self.values, self.said, self.heard = {"auto_select": rule}, [], []
        self.inputs = SimpleNamespace(add=lambda role, topic, kind, callback, *_, **__: self.heard.append(callback))

    def get_logger(self) -> SimpleNamespace:
        return SimpleNamespace(info=self.said.append)

    @staticmethod
    def begin_anew(job) -> None:
        job()


def prediction(stamp: int, reference: int = FOLLOWED) -> Prediction:
    xy = np.array([[100, 60], [200, 60], [150, 120]], np.float32)
    return Prediction(stamp, reference, np.zeros(3, np.int64), np.arange(3), xy, np.ones(3, bool))


def selection(stamp: int) -> object:
    template = Template.of_frame("selection", np.zeros((48, 64, 3), np.uint8))
    return bag_message(topics.TYPES[topics.SELECTION], template_message(template, stamp))


def test_it_is_taken_up_once_and_followed_where_it_is_foreseen() -> None:
    node, adopted = Node("nearest"), []
    selected = SelectedObject(node, lambda template: adopted.append(template.name) or FOLLOWED)
    selected.listen()
    assert selected.waits and "no image is matched until" in node.said[0]
    selected.predict(prediction(SECOND))
    assert selected.mask(SECOND, (320, 240)) is None, "nothing is selected"
    for _ in range(2):      # as it came, and as kept
        node.heard[0](selection(5))
    assert adopted == ["selection"] and not selected.waits
    assert cv2.boundingRect(selected.mask(SECOND + SECOND // 10, (320, 240))) == (92, 52, 117, 77)
    assert selected.mask(3 * SECOND, (320, 240)) is None, "that is old"
    selected.predict(prediction(SECOND, reference=78))
    assert selected.mask(SECOND, (320, 240)) is None, "that is of another reference"
    node.heard[0](selection(6))
    assert len(adopted) == 2


def test_what_cannot_be_followed_leaves_it_waiting() -> None:
    node = Node("largest_above_plane")

    def adopt(_: Template) -> int:
        raise TemplateError("only 3 keypoints")

    selected = SelectedObject(node, adopt)
    selected.listen()
    with pytest.raises(TemplateError):
        node.heard[0](selection(5))
    assert selected.waits
    selected.give_up()
    assert not selected.waits
    assert not SelectedObject(Node("none"), adopt).waits


def test_matches_that_are_carried_before_dalf_has_taken_up_a_template() -> None:
    """They come without features; nothing is said of keypoints then."""
    from dalf_core.tracking import FeatureFrame
    from dalf_core.tracking.background_tracker import ImageResult
    from dalf_ros.conversions.pinhole_view import no_matches
    from dalf_ros.feature_node import FeatureNode

    published: list = []
    node = SimpleNamespace(outputs=SimpleNamespace(publish=published.extend), _tracker=SimpleNamespace(reference=None, region=None),
                           values={"descriptor_type": "none", "match_to": "reference"}, _frame_id="camera", _background=object(),
                           refuse=pytest.fail)
    frame = FeatureFrame(None, no_matches((64, 48)), {})
    FeatureNode._publish(node, ImageResult(np.zeros((48, 64, 3), np.uint8), 1, frame), {topics.MATCHES})
    assert [name for name, _ in published] == [topics.MATCHES]
