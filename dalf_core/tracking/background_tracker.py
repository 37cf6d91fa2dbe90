"""The image half at camera rate: DALF looks at the newest image in the background, and every image gets matches that are carried to it."""
from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..matching.carrying import Carried
from ..matching.patch_alignment import Pyramid
from ..matching.prediction import Prediction
from .feature_tracker import FeatureTracker
from .frames import FeatureFrame
from .match_carrier import Detections, MatchCarrier, detections_of, levels_of

if TYPE_CHECKING:
    from ..templates.template import Template

NICE = 10                           # priority of DALF's threads below the others': the camera's rate comes first
KEPT_BYTES = 64_000_000             # of halved images since DALF began to look; then every second one is left out
MOST = 500                          # keypoints carried: with 800 errors are 5 % smaller, but surfaces come older and more seldom;
LEAST = 300                         # and on the slowest machine
CATCHES_UP = 3                      # images that DALF's thread may be behind when it hands over what it has found
TAKES = 0.8                         # share of the time between images that carrying may take


@dataclass(frozen=True)
class ImageResult:
    """What came out for one image, not always the newest one. problem: why DALF found nothing in it; frame is None then."""

    image: np.ndarray
    stamp_ns: int
    frame: FeatureFrame | None
    problem: str = ""


def background_executor() -> ThreadPoolExecutor:
    """One thread of low priority; threads that libraries start from it have the same. For everything that DALF does."""
    return ThreadPoolExecutor(1, "DALF", initializer=_lower_priority)


class BackgroundTracker:
    """Drives a FeatureTracker in the background. process(), collect() and reset() belong to one thread, predict() to any.

    features: nobody else may use it, except to change what may be changed between images; it looks at an image a second time only where
    little is carried, since matches come later for it. executor: see background_executor().
    on_found: called, on DALF's thread, when it has looked at an image: collect() then has results. most: keypoints carried.
    """

    def __init__(self, features: FeatureTracker, executor: ThreadPoolExecutor, on_found: Callable[[], None] = lambda: None,
                 most: int = MOST) -> None:
        self._on_found = on_found
        self._features, self._executor = features, executor
        self._carrier = MatchCarrier()
        self._most = self._carrier.landmarks.most = most
        self._look: Future[_Found] | None = None
        self._prediction: Prediction | None = None
        self._forget()

    def _forget(self) -> None:
        self._carrier.reset()
        # image, its stamp, what had been carried to it; None: what DALF finds is of no use any more
        self._looked_at: tuple[np.ndarray, int, Carried] | None = None
        self._since = _Images()                                     # from that one on
        self._interval = _Interval()

    def reset(self) -> None:
        """Forget the reference; the next image in which DALF finds enough becomes it."""
        self._executor.submit(self._features.reset)         # when it has done with the image that it looks at
        self._prediction = None
        self._forget()

    def adopt(self, template: Template | None, stamp_ns: int = 0) -> None:
        """Follow a template, as FeatureTracker.adopt. On the thread of process()."""
        self._executor.submit(self._features.adopt, template, stamp_ns)
        self._carrier.adopt(template, stamp_ns)
        self._prediction = None
        self._forget()

    def warm_up(self) -> None:
        """Compile what is compiled on first use. What is known is left alone."""
        MatchCarrier.warm_up()

    @property
    def is_held(self) -> bool:
        """Whether the reference's keypoints are still carried, as many as when DALF looked last: then they are where they are foreseen.

        On the thread of process().
        """
        return self._carrier.is_held

    def predict(self, prediction: Prediction) -> None:
        """Where the surface has the keypoints: the next images are searched there."""
        self._prediction = prediction

    @property
    def is_looking(self) -> bool:
        """Whether DALF still looks at an image."""
        return self._look is not None and not self._look.done()

    @property
    def has_looked(self) -> bool:
        """Whether DALF is done with one, for collect()."""
        return self._look is not None and self._look.done()

    def process(self, image: np.ndarray, stamp_ns: int, mask: np.ndarray | None = None, *, to_previous: bool = False,
                look: bool = True) -> list[ImageResult]:
        """Results that there are now: of an image that DALF has looked at since, and matches of this one. Arguments as FeatureTracker's.
        look: whether DALF may begin to look at this one.

        An image that DALF has seen brings its features, and with the reference its matches too; all others bring matches that are carried.
        Nothing while there is no reference.
        """
        began = time.perf_counter()
        results = self.collect()
        return results + self.carry(image, stamp_ns, mask, levels_of(image), began, to_previous=to_previous, look=look)

    def carry(self, image: np.ndarray, stamp_ns: int, mask: np.ndarray | None, levels: Pyramid, began: float, *, to_previous: bool = False,
              look: bool = True) -> list[ImageResult]:
        """Matches of an image, whose pyramid is given; what process() does after collect(). began: perf_counter() when it did."""
        results = []
        matches = self._carrier.carry(image, stamp_ns, mask, self._prediction, levels)
        if matches is not None:
            took = time.perf_counter() - began
            self._carrier.landmarks.most = self._interval.affordable(stamp_ns, took, self._carrier.landmarks.most, self._most)
            results.append(ImageResult(image, stamp_ns, FeatureFrame(None, matches, {"carry": 1e3 * took})))
        if self._looked_at is not None:
            self._since.add(levels.images[1])
        if look and self._look is None:
            self._start(image, levels.images[1], stamp_ns, mask, to_previous)
        return results

    def collect(self) -> list[ImageResult]:
        """What DALF has found, if it is done and no reset has made it useless; process() gives it too. On the thread of process()."""
        if self._look is None or not self._look.done():
            return []
        look, self._look = self._look, None
        if self._looked_at is None:
            return []
        (image, stamp_ns, carried), self._looked_at = self._looked_at, None
        try:
            found = look.result()
        except ValueError as error:
            return [ImageResult(image, stamp_ns, None, str(error))]
        if found.detections is not None:
            detections = found.detections.forward(self._since.after(found.images)[0])
            self._carrier.renew(found.frame, image, self._features.keyframes.numbers, detections, carried)
        matches = found.frame.matches
        is_reference = matches is not None and matches.stamp_ns == matches.reference_stamp_ns
        return [ImageResult(image, stamp_ns, found.frame if is_reference else replace(found.frame, matches=None))]

    def _start(self, image: np.ndarray, halved: np.ndarray, stamp_ns: int, mask: np.ndarray | None, to_previous: bool) -> None:
        carried, is_poor = self._carrier.carried, self._carrier.is_poor
        self._looked_at = (image, stamp_ns, carried)
        since = self._since = _Images()
        since.add(halved)

        def look() -> _Found:
            frame = self._features.process(image, stamp_ns, mask, to_previous=to_previous, again=is_poor)
            if frame.matches is None:
                return _Found(frame, None, 0)
            detections, behind = detections_of(frame.matches).without(carried), 1
            while since.count - behind >= CATCHES_UP:       # images have come meanwhile; the last few are left to process()
                images, now = since.after(behind)
                detections, behind = detections.forward(images), now
            return _Found(frame, detections, behind)

        self._look = self._executor.submit(look)
        self._look.add_done_callback(lambda _: self._on_found())


@dataclass(frozen=True)
class _Found:
    """What DALF has found in an image; its detections (None: there is no reference yet), as of the image that was number `images` since."""

    frame: FeatureFrame
    detections: Detections | None
    images: int


class _Images:
    """Halved images since DALF began to look; one thread adds, another may read."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, np.ndarray]] = []       # with the number of each, from 1
        self.count = 0

    def add(self, image: np.ndarray) -> None:
        """Keep one more; of too many every second one is left out."""
        kept = [*self._kept, (self.count + 1, image)]
        if len(kept) * image.nbytes > KEPT_BYTES and len(kept) > 3:
            kept = [*kept[:-1:2], kept[-1]]
        self._kept, self.count = kept, self.count + 1

    def after(self, number: int) -> tuple[list[np.ndarray], int]:
        """Image number `number` (or the last one kept before it) and all that came after it; and the number of the last."""
        kept = self._kept
        first = max(i for i, (n, _) in enumerate(kept) if n <= number)
        return [image for _, image in kept[first:]], kept[-1][0]


class _Interval:
    """How many keypoints can be carried between two images."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._seconds = 0.0

    def affordable(self, stamp_ns: int, took_s: float, now: int, most: int) -> int:
        """The number to go on with, at most `most`, after `now` of them took so long."""
        if self._last_ns is not None and stamp_ns > self._last_ns:
            apart = (stamp_ns - self._last_ns) / 1e9
            self._seconds = apart if not self._seconds else min(apart, self._seconds * 1.05)    # the camera's, though some are missed
        self._last_ns = stamp_ns
        if not self._seconds:
            return now
        if took_s > TAKES * self._seconds:
            return max(min(LEAST, most), int(0.95 * now))
        return min(most, now + 10)


def _lower_priority() -> None:
    if hasattr(os, "setpriority"):      # of this thread alone, on Linux
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICE))
