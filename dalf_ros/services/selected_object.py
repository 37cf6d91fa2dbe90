"""feature_node's side of a selection: it takes up what registration_node has selected, and keeps to where that is foreseen."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dalf_core.matching.prediction import Prediction
from dalf_core.options import NO_RULE
from dalf_core.templates.template import Template
from dalf_core.tracking.object_mask import predicted_mask

from ..conversions import topics
from ..conversions.messages import NANOSECONDS, stamp_ns
from ..nodes.inputs import RESULT_QOS
from ..templates.template_message import template_of_message

FRESH_S = 0.5           # an older prediction tells nothing of the next image


class SelectedObject:
    """Serves one node, which has the parameter auto_select. adopt(template): follows it, on the worker's thread; returns the stamp by which
    predictions name it; raises ValueError where it cannot.

    waits: for a selection, as auto_select demands, before images are matched.
    """

    def __init__(self, node: Any, adopt: Callable[[Template], int]) -> None:
        self._node, self._adopt = node, adopt
        self._prediction: Prediction | None = None
        self.configure()

    def configure(self) -> None:
        self.waits = self._node.values["auto_select"] != NO_RULE
        self._heard: int | None = None      # stamp of the last selection
        self._stamp: int | None = None      # by which it is followed

    def listen(self) -> None:
        """Subscribe to what registration_node selects."""
        self._node.inputs.add("selection", topics.SELECTION, topics.TYPES[topics.SELECTION], self._arrived, RESULT_QOS, optional=True,
                              latched=True)
        if self.waits:
            self._node.get_logger().info(f"auto_select {self._node.values['auto_select']}: no image is matched until registration_node "
                                         "(which needs the same parameter) has selected an object")

    def give_up(self) -> None:
        """Another reference was asked for."""
        self.waits = False

    def predict(self, prediction: Prediction) -> None:
        """Where the surface has the keypoints. From any thread."""
        self._prediction = prediction

    def mask(self, stamp: int, size: tuple[int, int]) -> np.ndarray | None:
        """(H, W) uint8, nonzero where the selected object is foreseen in an image of (width, height); None: it may be anywhere."""
        prediction = self._prediction
        if prediction is None or self._stamp is None or prediction.reference_stamp_ns != self._stamp:
            return None
        if not 0 <= stamp - prediction.stamp_ns <= FRESH_S * NANOSECONDS:
            return None
        return predicted_mask(prediction, size)

    def _arrived(self, message: Any) -> None:
        if stamp_ns(message.header) == self._heard:     # heard twice: once as it came, once as kept
            return
        self._heard = stamp_ns(message.header)
        self._node.begin_anew(lambda: self._take(message))

    def _take(self, message: Any) -> None:
        self._stamp = self._adopt(template_of_message(message)[0])
        self.waits = False
