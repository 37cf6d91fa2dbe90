"""The image half of feature_node where it follows several objects: topics below objects/NAME."""
from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dalf_core.templates.template import Template
from dalf_core.tracking import FrameMatches
from dalf_core.tracking.background_tracker import ImageResult
from dalf_core.tracking.several_objects import SeveralObjects
from dalf_core.types import Matches

from ..conversions import topics
from ..conversions.messages import prediction_of
from ..conversions.results import feature_results
from ..nodes.inputs import RESULT_QOS
from ..nodes.outputs import Outputs
from ..templates.template_message import template_message

if TYPE_CHECKING:
    from dalf_core import DALF

PICTURES = {topics.DEBUG_IMAGE, topics.DEBUG_COMPRESSED}


def below(name: str) -> str:
    """What the names of an object's topics begin with."""
    return f"objects/{name}/"


class FeatureLanes:
    """Wires images to SeveralObjects, and each object's results to its topics. templates: by the object's name, with features of dalf.

    All but the predictions' callback belongs to the node's worker thread, once the node is active.
    """

    def __init__(self, node: Any, dalf: DALF, templates: Mapping[str, Template], executor: ThreadPoolExecutor, **options: Any) -> None:
        began = time.time_ns()          # unlike the stamp of any image
        self._templates = {name: (template, began + number) for number, (name, template) in enumerate(templates.items())}
        self._objects = SeveralObjects(dalf, self._templates, executor, lambda: node.do(self._publish_found), **options)
        self._node = node
        self._outputs: dict[str, Outputs] = {}
        self._frame_id = ""
        self._features_ns = -1          # stamp of the features published last: each lane has them
        self.verified = dict.fromkeys(templates, 0)     # matches in the last image, by object

    @property
    def trackers(self) -> list[Any]:
        """The FeatureTracker of each object: what may change between images is set in all of them."""
        return list(self._objects.trackers.values())

    def listen(self) -> None:
        """Announce the templates, and hear where the surfaces are."""
        for name, (template, stamp) in self._templates.items():
            if name not in self._outputs:
                self._outputs[name] = Outputs(self._node, (topics.MATCHES, topics.TEMPLATE), below(name))
            self._outputs[name].publish([(topics.TEMPLATE, template_message(template, stamp))])
            self._node.inputs.add(f"prediction of {name}", below(name) + topics.PREDICTION, topics.TYPES[topics.PREDICTION],
                                  partial(self._predicted, name), RESULT_QOS, optional=True)

    def _predicted(self, name: str, message: Any) -> None:
        try:
            self._objects.predict(name, prediction_of(message))
        except ValueError as error:
            self._node.refuse(f"{name}: {error}")

    def process(self, image: np.ndarray, stamp: int, mask: np.ndarray | None, frame_id: str) -> bool:
        """Match one image to every object, and publish. Returns whether there was a result."""
        self._frame_id = frame_id
        return self._publish(self._objects.process(image, stamp, mask))

    def _publish_found(self) -> None:
        """What DALF has found in the background, though no further image has come."""
        self._publish(self._objects.collect())

    def _publish(self, results: Mapping[str, list[ImageResult]]) -> bool:
        good: list[ImageResult] = []
        for name, some in results.items():
            for result in some:
                if result.frame is None:
                    self._node.refuse(f"{name}: {result.problem}")
                    continue
                self._outputs[name].publish(feature_results(result.frame, result.image, result.stamp_ns, self._frame_id, {topics.MATCHES}))
                if result.frame.matches is not None:
                    self.verified[name] = int(result.frame.matches.matches.inlier.sum())
                good.append(result)
        self._publish_shared(good)
        return bool(good)

    def _publish_shared(self, results: list[ImageResult]) -> None:
        """Features, once an image, and a picture of all matches in the newest."""
        wanted = self._node.outputs.wanted()
        newest = max((result.stamp_ns for result in results), default=0)
        now = [result for result in results if result.stamp_ns == newest]
        for result in results:
            if result.frame.features is not None and result.stamp_ns > self._features_ns:
                self._features_ns = result.stamp_ns
                self._give(result, result.frame, wanted & {topics.FEATURES})
        pairs = [one.frame.matches for one in now if one.frame is not None and one.frame.matches is not None]
        if pairs and wanted & PICTURES:
            self._give(now[0], replace(now[0].frame, matches=_joined(pairs)), wanted & PICTURES)

    def _give(self, result: ImageResult, frame: Any, wanted: set[str]) -> None:
        self._node.outputs.publish(feature_results(frame, result.image, result.stamp_ns, self._frame_id, wanted,
                                                   self._node.values["descriptor_type"], self.trackers[0].region))

    def reset(self) -> None:
        """Forget where the objects are."""
        self._objects.reset()

    def close(self) -> None:
        self._objects.close()
        for outputs in self._outputs.values():
            outputs.close()
        self._outputs = {}


def _joined(pairs: list[FrameMatches]) -> FrameMatches:
    """The matches of all objects in one image, to be drawn: their reference images differ."""
    matches = [one.matches for one in pairs]
    index, other, distance, inlier = (np.concatenate([getattr(one, field) for one in matches])
                                      for field in ("reference_index", "query_index", "distance", "inlier"))
    return replace(pairs[0], matches=Matches(index, other, distance, inlier),
                   reference_xy=np.concatenate([one.reference_xy for one in pairs]),
                   query_xy=np.concatenate([one.query_xy for one in pairs]))
