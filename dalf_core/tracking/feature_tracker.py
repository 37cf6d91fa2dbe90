"""The image half: features of each image, and verified matches to the reference image."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..features.image_input import check_mask, extract_scaled
from ..image_matching.merging import Look
from ..matching import verification
from ..matching.keyframes import NO_KEYFRAMES, Keyframes
from ..matching.verification import verify
from ..options import IF_NEEDED, NEVER, SECOND_LOOK
from ..stopwatch import Stopwatch
from ..types import Features, Matches
from .frames import FeatureFrame, FrameMatches

if TYPE_CHECKING:
    from ..features.extractor import DALF
    from ..templates.template import Template

WEAK = 0.5                  # share of an image's keypoints that verified matches must cover, or it is looked at again
CONTEXT = 32                # pixels that the network is shown around what is searched


class SharedExtraction:
    """Features of one image, for several trackers of one extractor that look at the same images in turn, on one thread."""

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, Features] | None = None

    def of(self, image: np.ndarray, extract: Callable[[], Features]) -> Features:
        """What extract() gives, or gave for this very image before."""
        if self._last is None or self._last[0] is not image:
            self._last = image, extract()
        return self._last[1]


class FeatureTracker:
    """The image half: extracts features, matches them to the reference image, verifies the matches.

    dalf: a DALF extractor. image_scale: images are resized by this factor before extraction (small objects gain from 2);
    keypoints come back in pixels of the image as given. min_reference_keypoints: an image with fewer does not become the reference.
    max_keyframes: at most so many frames are kept besides the reference and matched when that serves no longer (the surface has turned
    away, came close, is lit otherwise); 0: none. second_look: "auto", an image of which little is verified is unwarped to the reference and
    searched once more, where the map calls for it, see image_matching.second_look; "never".

    region (x, y, width, height; pixels, None: the whole image), min_score (keypoints below it are left out) and dalf.top_k may be
    changed between images; the reference stays. shared: with other trackers, that look at the same images with the same masks.
    """

    def __init__(self, dalf: DALF, *, image_scale: float = 1.0, min_reference_keypoints: int = 16, max_keyframes: int = 8,
                 second_look: str = IF_NEEDED, shared: SharedExtraction | None = None) -> None:
        if not 0.05 <= image_scale <= 8:
            raise ValueError(f"image_scale must be between 0.05 and 8, got {image_scale}")
        if problem := SECOND_LOOK.problem(second_look):
            raise ValueError(problem)
        self.dalf = dalf
        self.image_scale = image_scale
        self.min_reference_keypoints = min_reference_keypoints
        self.second_look = second_look
        self.region: tuple[int, int, int, int] | None = None
        self.min_score = 0.0
        self._shared = shared
        self.keyframes = Keyframes(max_keyframes)
        self._template: tuple[Template, int] | None = None
        self.reset()

    def adopt(self, template: Template | None, stamp_ns: int = 0) -> None:
        """Match to a template from now on, also after a reset; None: to the first image again. What is known is forgotten.

        template: with features of this extractor (Template.with_features). stamp_ns: names it, as FrameMatches.reference_stamp_ns; no image
        may have it.
        """
        self._template = None if template is None else (template, stamp_ns)
        self.reset()

    def reset(self) -> None:
        """Forget the reference and the keyframes; unless there is a template, the next image with enough keypoints becomes it."""
        self.reference: Features | None = None
        self._reference_stamp_ns, self._template_name = 0, ""
        if self._template is not None:
            template, self._reference_stamp_ns = self._template
            self.reference, self._template_name = template.features, template.name
        self._last: tuple[Features, int] | None = None      # of the image before, with its stamp
        self.keyframes.clear()

    def process(self, image: np.ndarray, stamp_ns: int, mask: np.ndarray | None = None, *, to_reference: bool = True,
                to_previous: bool = False, again: bool = True) -> FeatureFrame:
        """Extract one image and match it to the reference, to the image before, or to both.

        image: HxWx3 uint8 BGR or HxW uint8. mask: HxW of any resolution, nonzero where keypoints may lie (reference and current alike).
        again: whether it may be looked at a second time, which takes as long as the first.
        FeatureFrame.matches is None while no image had enough keypoints to be the reference, FeatureFrame.previous for the first image.
        ValueError: as DALF.extract, or a region that reaches beyond the image.
        """
        clock = Stopwatch()
        mask = None if mask is None else check_mask(mask, image.shape[:2])
        extract = partial(self._extract, image, mask)
        first = features = extract() if self._shared is None else self._shared.of(image, extract)
        clock.lap("extract")
        last, self._last = self._last, (first, stamp_ns)
        pairs = None
        if to_reference and self._has_reference(first, stamp_ns):
            features, matches = self._matched(first, image, mask, again and self.second_look != NEVER, clock)
            pairs = self._to_reference(first, features, matches, stamp_ns, clock)
        previous = None
        if to_previous and last is not None:
            previous = _pairs(first, stamp_ns, *last, _verified(last[0], first, clock))
        return FeatureFrame(features, pairs, clock.laps, previous)

    def _has_reference(self, features: Features, stamp_ns: int) -> bool:
        """Whether there is one: these features become it where there is none, if they are enough."""
        if self.reference is None and len(features) >= self.min_reference_keypoints:
            self.reference, self._reference_stamp_ns = features, stamp_ns
        return self.reference is not None

    def _matched(self, first: Features, image: np.ndarray, mask: np.ndarray | None, again: bool,
                 clock: Stopwatch) -> tuple[Features, Matches]:
        """Matches to the reference, and the features they are of: those of a second look, if there is one, stand behind the first one's."""
        reference = self.reference
        assert reference is not None
        look = Look(first, _identity(len(first)) if first is reference else _verified(reference, first, clock))
        for stage in ("match", "verify"):       # every frame names them, also the reference's
            clock.lap(stage)
        if again and look.verified < WEAK * min(len(reference), len(first)):
            from ..image_matching.second_look import look_again  # it imports PyTorch, as match does

            look, _ = look_again(self._extract_unwarped, reference, image, look, allowed=self._searched(image, mask), keep_all=True)
            clock.lap("second_look")
        return look.features, look.matches

    def _to_reference(self, first: Features, features: Features, matches: Matches, stamp_ns: int, clock: Stopwatch) -> FrameMatches:
        """What the image shows of the reference and of keyframes, which are matched by how they look, not by how the reference would see
        them.
        """
        assert self.reference is not None
        seen_again = NO_KEYFRAMES if first is self.reference else self.keyframes.see(self.reference, first, matches)
        clock.lap("keyframes")
        pairs = _pairs(features, stamp_ns, self.reference, self._reference_stamp_ns, matches)
        return replace(pairs, keyframes=seen_again, template=self._template_name)

    def warm_up(self) -> None:
        """Compile what is compiled on first use, so that the first real image is hardly slower. The reference is left alone.

        Only the size of real images is unknown, for which the CPU needs a tenth of a second.
        """
        self.dalf.warm_up()
        verification.warm_up()

    def _extract(self, image: np.ndarray, mask: np.ndarray | None) -> Features:
        """The features of the region; pixels of the whole image."""
        if self.region is None:
            return self._above_score(extract_scaled(self.dalf.extract, image, mask, self.image_scale))
        (x, y, width, height), (rows, columns) = self.region, image.shape[:2]
        if x < 0 or y < 0 or x + width > columns or y + height > rows:
            raise ValueError(f"the region of {width}x{height} pixels at ({x}, {y}) reaches beyond the image, which is {columns}x{rows}")
        return self._extract_part(image, mask, (x, y, width, height))

    def _extract_unwarped(self, picture: np.ndarray, covered: np.ndarray) -> Features:
        """The features of the covered part of a picture; with a region no more than its surroundings are computed."""
        if self.region is None:
            return self._above_score(extract_scaled(self.dalf.extract, picture, covered, self.image_scale))
        x, y, width, height = cv2.boundingRect(covered.astype(np.uint8))
        rows, columns = covered.shape
        left, top = max(0, x - CONTEXT), max(0, y - CONTEXT)
        part = left, top, min(columns, x + width + CONTEXT) - left, min(rows, y + height + CONTEXT) - top
        return self._extract_part(picture, covered, part)

    def _extract_part(self, image: np.ndarray, mask: np.ndarray | None, part: tuple[int, int, int, int]) -> Features:
        """The features of a part (x, y, width, height); pixels of the whole image."""
        x, y, width, height = part
        inside = slice(y, y + height), slice(x, x + width)
        features = extract_scaled(self.dalf.extract, image[inside], None if mask is None else mask[inside], self.image_scale)
        moved = features.keypoints + np.array([x, y], np.float32)
        return self._above_score(replace(features, keypoints=moved, image_size=(image.shape[1], image.shape[0])))

    def _searched(self, image: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
        """Where in an image keypoints may lie: (H, W), nonzero there; None: everywhere."""
        if self.region is None:
            return mask
        x, y, width, height = self.region
        part = np.zeros(image.shape[:2], np.uint8)
        part[y:y + height, x:x + width] = 1 if mask is None else mask[y:y + height, x:x + width] != 0
        return part

    def _above_score(self, features: Features) -> Features:
        count = int((features.scores >= self.min_score).sum())       # strongest first
        return features if count == len(features) else features.strongest(count)


def _verified(reference: Features, features: Features, clock: Stopwatch) -> Matches:
    from ..matching.nearest_neighbours import match  # it imports PyTorch, which takes seconds and registration does without

    matches = match(reference, features)
    clock.lap("match")
    matches = replace(matches, inlier=verify(reference, features, matches))
    clock.lap("verify")
    return matches


def _pairs(features: Features, stamp_ns: int, reference: Features, reference_stamp_ns: int, matches: Matches) -> FrameMatches:
    return FrameMatches(stamp_ns, reference_stamp_ns, features.image_size, reference.image_size, matches,
                        reference.keypoints[matches.reference_index], features.keypoints[matches.query_index])


def _identity(count: int) -> Matches:
    index = np.arange(count, dtype=np.int64)
    return Matches(index, index, np.zeros(count, np.float32), np.ones(count, bool))
