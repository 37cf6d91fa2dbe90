"""The image half for several templates at once: DALF sees an image once for all of them, and each has matches of its own."""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..matching.prediction import Prediction
from ..options import IF_NEEDED
from .background_tracker import MOST, BackgroundTracker, ImageResult
from .feature_tracker import FeatureTracker, SharedExtraction
from .match_carrier import levels_of

if TYPE_CHECKING:
    from ..features.extractor import DALF
    from ..templates.template import Template

_Result = TypeVar("_Result")

MOST_OF_ALL = 3 * MOST // 2       # keypoints carried to an image: more than of one object, of which each shows a part
LEAST_OF_ONE = 120


class SeveralObjects:
    """One BackgroundTracker an object, in step: all look at the same image, so that its features are extracted once.

    templates: by the object's name, each with features of dalf (Template.with_features) and the stamp that names it, see
    FeatureTracker.adopt. executor, on_found: as of BackgroundTracker. image_scale, max_keyframes, second_look: as of FeatureTracker.
    process(), collect(), reset() and close() belong to one thread, predict() to any.
    """

    def __init__(self, dalf: DALF, templates: Mapping[str, tuple[Template, int]], executor: ThreadPoolExecutor,
                 on_found: Callable[[], None] = lambda: None, *, image_scale: float = 1.0, max_keyframes: int = 8,
                 second_look: str = IF_NEEDED) -> None:
        shared = SharedExtraction()
        self.trackers = {name: FeatureTracker(dalf, image_scale=image_scale, max_keyframes=max_keyframes, second_look=second_look,
                                              shared=shared) for name in templates}
        most = min(MOST, max(LEAST_OF_ONE, MOST_OF_ALL // len(templates)))
        self.lanes = {name: BackgroundTracker(tracker, executor, on_found, most) for name, tracker in self.trackers.items()}
        self._threads = ThreadPoolExecutor(len(templates), "carry")
        for name, (template, stamp_ns) in templates.items():
            self.lanes[name].adopt(template, stamp_ns)

    def process(self, image: np.ndarray, stamp_ns: int, mask: np.ndarray | None = None) -> dict[str, list[ImageResult]]:
        """The results that there are now, by object. Arguments as of BackgroundTracker.process()."""
        began = time.perf_counter()
        look = not any(lane.is_looking for lane in self.lanes.values())
        levels = levels_of(image)
        found = self._each(lambda name: self.lanes[name].collect()) if any(lane.has_looked for lane in self.lanes.values()) else {}

        def carry(name: str) -> list[ImageResult]:
            return self.lanes[name].carry(image, stamp_ns, mask, levels, began, look=look)

        return {name: [*found.get(name, []), *carried] for name, carried in self._each(carry).items()}

    def _each(self, work: Callable[[str], _Result]) -> dict[str, _Result]:
        """Work on all lanes at once."""
        running = {name: self._threads.submit(work, name) for name in self.lanes}
        return {name: done.result() for name, done in running.items()}

    def collect(self) -> dict[str, list[ImageResult]]:
        """What DALF has found, by object; process() gives it too."""
        return {name: lane.collect() for name, lane in self.lanes.items()}

    def predict(self, name: str, prediction: Prediction) -> None:
        """Where the surface of an object has its keypoints: its next images are searched there."""
        self.lanes[name].predict(prediction)

    def reset(self) -> None:
        """Forget where the objects are; their templates stay."""
        for lane in self.lanes.values():
            lane.reset()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()
