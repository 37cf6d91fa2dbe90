"""The image half, image by image, nothing dropped: DALF looks at each image or now and then, and matches are carried to all of them."""
from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..matching.prediction import Prediction
from ..options import AUTO, EVERY_FRAME
from ..stopwatch import Stopwatch
from .feature_tracker import FeatureTracker
from .frames import FeatureFrame, FrameMatches
from .match_carrier import MatchCarrier, detections_of, names, united

if TYPE_CHECKING:
    from ..templates.template import Template

AUTO_EVERY = 30             # AUTO: DALF looks at one of so many images, and at once where too little is carried to one;
VAIN_EVERY = 8              # at last at one of so many where that brings nothing: what is covered comes back unannounced


class SequentialTracker:
    """Drives a FeatureTracker: what it finds in an image, united with what is carried to it.

    look_every: DALF looks at one of so many images; AUTO: seldom, and more often where matches get few, as the live nodes do. A second
    time it looks only where little is carried, at the start and after a loss: else matches that are carried make up for it.
    """

    def __init__(self, features: FeatureTracker, look_every: int = EVERY_FRAME) -> None:
        if look_every < 0:
            raise ValueError(f"look_every must be a number of images, or 0 for auto, not {look_every}")
        self.features, self.look_every = features, look_every
        self._carrier = MatchCarrier()
        self.reset()

    def reset(self) -> None:
        """Forget the reference; the next image with enough keypoints becomes it, unless there is a template."""
        self.features.reset()
        self._carrier.reset()
        self._since_look, self._asked = 0, False
        self._wait = 1              # images from one look to the next where too little is carried

    def adopt(self, template: Template | None, stamp_ns: int = 0) -> None:
        """Follow a template, as FeatureTracker.adopt."""
        self.features.adopt(template, stamp_ns)
        self._carrier.adopt(template, stamp_ns)
        self.reset()

    def look(self) -> None:
        """Have DALF look at the next image, whatever look_every says."""
        self._asked = True

    def process(self, image: np.ndarray, stamp_ns: int, mask: np.ndarray | None = None,
                prediction: Prediction | None = None) -> FeatureFrame:
        """Arguments, result and errors as of FeatureTracker.process; features are None where DALF has not looked.

        prediction: where the surface had the keypoints in the image before.
        """
        clock = Stopwatch()
        carried = self._carrier.carry(image, stamp_ns, mask, prediction)
        clock.lap("carry")
        if carried is not None and not self._looks():
            return FeatureFrame(None, carried, clock.laps)
        self._since_look, self._asked, was_poor = 0, False, self._carrier.is_poor
        found = self.features.process(image, stamp_ns, mask, again=was_poor)
        matches = found.matches
        if matches is not None:
            contradicted = self._carrier.renew(found, image, self.features.keyframes.numbers, detections_of(matches), self._carrier.carried)
            self._judge(was_poor, matches, carried)
            matches = matches if carried is None or contradicted else united(matches, carried)
        return replace(found, matches=matches, milliseconds=clock.laps | found.milliseconds)

    def _looks(self) -> bool:
        """Whether DALF is to look at this image."""
        self._since_look += 1
        if self._asked:
            return True
        if self.look_every != AUTO:
            return self._since_look >= self.look_every
        return self._since_look >= (self._wait if self._carrier.is_poor else AUTO_EVERY)

    def _judge(self, was_poor: bool, found: FrameMatches, carried: FrameMatches | None) -> None:
        """Wait twice as long for the next look where this one was made for want of matches, and did not find as many again."""
        known = _verified(carried)
        in_vain = was_poor and len(np.setdiff1d(_verified(found), known)) <= len(known)
        self._wait = min(2 * self._wait, VAIN_EVERY) if in_vain else 1


def _verified(matches: FrameMatches | None) -> np.ndarray:
    """Rows of the reference's keypoints that matches hold, and numbers of their own for those of keyframes."""
    if matches is None:
        return np.zeros(0, np.int64)
    return np.concatenate([matches.matches.reference_index[matches.matches.inlier], names(matches.keyframes)])
