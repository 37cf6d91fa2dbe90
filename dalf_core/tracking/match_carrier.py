"""Matches for images that DALF does not see: carried from one to the next, and renewed where it has looked."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..features.image_input import check_mask
from ..matching.carrying import MOST, NOTHING, Carried, LandmarkCarrier
from ..matching.flow import bring_forward
from ..matching.keyframes import REFERENCE_VIEW, KeyframeMatches
from ..matching.patch_alignment import Pyramid, pyramid
from ..matching.prediction import Prediction
from ..sixteen_bit import to_eight_bit
from ..types import Features, Matches
from .frames import FeatureFrame, FrameMatches

if TYPE_CHECKING:
    from ..templates.template import Template

FEW = 60                    # keypoints carried, with fewer DALF should look again soon;
POOR = 0.5                  # and with less than this share of the most since it looked last

SAME_PX = 5.0               # a detection farther than this from where the keypoint was carried to contradicts it
CONTRADICTING = 0.5         # share of those detected and carried at once that must do so for all that was carried to be dropped
COMPARED = 10               # of them at least


class MatchCarrier:
    """Follows the keypoints of the reference image and of keyframes between DALF's looks. Not thread-safe.

    most: keypoints looked for in one image, may be changed at any time.
    """

    def __init__(self) -> None:
        self.landmarks = LandmarkCarrier()
        self._template: tuple[Template, int] | None = None
        self.reset()

    def adopt(self, template: Template | None, stamp_ns: int = 0) -> None:
        """Carry the keypoints of a template, by the patches of its picture; None: of the reference image. As FeatureTracker.adopt."""
        self._template = None if template is None else (template, stamp_ns)
        self.reset()

    def reset(self) -> None:
        """Forget the reference, unless that is a template, and where all keypoints are."""
        self.landmarks.clear()
        self._reference: Features | None = None
        self._reference_stamp_ns, self._stamp_ns, self._template_name = 0, 0, ""
        if self._template is not None:
            template, self._reference_stamp_ns = self._template
            self._reference, self._template_name = template.features, template.name
            assert self._reference is not None
            self.landmarks.add_view(REFERENCE_VIEW, gray(template.image), self._reference.keypoints)
        self.carried = NOTHING      # to the last image
        self._most_found = 0

    @staticmethod
    def warm_up() -> None:
        """Compile the kernels (cached on disk), so that the first real image is not the slow one."""
        noise = np.random.default_rng(0).integers(0, 255, (128, 128), np.uint8)
        xy = np.stack(np.meshgrid(np.arange(40.0, 90, 8), np.arange(40.0, 90, 8)), axis=-1).reshape(-1, 2).astype(np.float32)
        landmarks = LandmarkCarrier()
        landmarks.add_view(REFERENCE_VIEW, noise, xy)
        landmarks.detected(np.zeros(len(xy), np.int64), np.arange(len(xy)), xy, 0)
        for stamp_ns in (1, 2):
            landmarks.carry(noise, stamp_ns)

    @property
    def is_poor(self) -> bool:
        """Whether so little was carried to the last image that DALF should look again."""
        return len(self.carried) < max(FEW, POOR * self._most_found)

    @property
    def is_held(self) -> bool:
        """Whether enough was carried to the last image to tell where the object is; fewer than FEW are enough for a small one."""
        return len(self.carried) >= max(COMPARED, POOR * self._most_found)

    def renew(self, found: FeatureFrame, image: np.ndarray, keyframes: frozenset[int], detections: Detections, carried: Carried) -> bool:
        """Take what DALF has found in an image, which may be older than the last one carried to.

        found: of that image (HxWx3 or HxW); its matches may have made it the reference or a keyframe. keyframes: numbers of those kept.
        detections: of that image, brought forward to the last one carried to. carried: what had been carried to that image. Detections are
        found without any prediction: where most of what was carried is elsewhere, all of it is dropped. Returns whether that was so.
        """
        matches, features = found.matches, found.features
        if matches is None or features is None:
            return False
        if matches.reference_stamp_ns != self._reference_stamp_ns or self._reference is None:
            self.reset()
            self._reference, self._reference_stamp_ns = features, matches.reference_stamp_ns
            self.landmarks.add_view(REFERENCE_VIEW, gray(image), features.keypoints)
            self._stamp_ns = matches.stamp_ns
        for number in set(self.landmarks.views) - keyframes - {REFERENCE_VIEW}:
            self.landmarks.drop_view(number)
        for number in set(detections.view.tolist()) & keyframes - set(self.landmarks.views):      # unknown so far: it is this image itself
            self.landmarks.add_view(number, gray(image), matches.keyframes.query_xy[matches.keyframes.keyframe == number])
        self._most_found = 0
        contradicted = _contradicts(detections_of(matches), carried)
        if contradicted:
            self.landmarks.drop_carried(self._stamp_ns)
        self.landmarks.detected(detections.view, detections.index, detections.xy, matches.stamp_ns)
        return contradicted

    def carry(self, image: np.ndarray, stamp_ns: int, mask: np.ndarray | None = None,
              prediction: Prediction | None = None, levels: Pyramid | None = None) -> FrameMatches | None:
        """Matches of the next image, None while there is no reference. Arguments as of FeatureTracker.process.

        levels: the image's pyramid, where that is made already.
        """
        if self._reference is None:
            return None
        if prediction is not None and prediction.reference_stamp_ns != self._reference_stamp_ns:
            prediction = None
        carried = self.carried = self.landmarks.carry(levels or gray(image), stamp_ns, prediction)
        self._stamp_ns, self._most_found = stamp_ns, max(self._most_found, len(carried))
        if mask is not None:
            carried = _inside(carried, check_mask(mask, image.shape[:2]))
        return self._as_matches(carried, (image.shape[1], image.shape[0]))

    def _as_matches(self, carried: Carried, image_size: tuple[int, int]) -> FrameMatches:
        assert self._reference is not None
        own = carried.view == REFERENCE_VIEW
        index, other = carried.index[own], ~own
        distance = np.sqrt(np.maximum(2.0 - 2.0 * carried.correlation[own], 0.0))
        matches = Matches(index, np.full(len(index), -1, np.int64), distance, np.ones(len(index), bool))
        return FrameMatches(self._stamp_ns, self._reference_stamp_ns, image_size, self._reference.image_size, matches,
                            self._reference.keypoints[index], carried.xy[own],
                            KeyframeMatches(carried.view[other], carried.index[other], carried.xy[other]), carried.age_s[own],
                            self._template_name)


def gray(image: np.ndarray) -> np.ndarray:
    """(H, W) uint8 of an image HxWx3 BGR or HxW, uint8 or uint16."""
    image = to_eight_bit(image)
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image


def levels_of(image: np.ndarray) -> Pyramid:
    """The pyramid of an image HxWx3 BGR or HxW."""
    return pyramid(gray(image))


def united(found: FrameMatches, carried: FrameMatches) -> FrameMatches:
    """The matches that DALF found in an image, and what was carried to it beside them."""
    matches, others = found.matches, carried.matches
    detected = np.where(matches.inlier)[0]
    more = ~np.isin(others.reference_index, matches.reference_index[detected])
    pairs = Matches(*(np.concatenate([getattr(matches, name), getattr(others, name)[more]])
                      for name in ("reference_index", "query_index", "distance", "inlier")))
    ages = np.zeros(len(matches), np.float32), carried.age_s[more] if carried.age_s is not None else np.zeros(int(more.sum()), np.float32)
    seen, beside = found.keyframes, carried.keyframes
    new = ~np.isin(names(beside), names(seen))
    keyframes = KeyframeMatches(*(np.concatenate([getattr(seen, name), getattr(beside, name)[new]])
                                  for name in ("keyframe", "index", "query_xy")))
    return replace(found, matches=pairs, reference_xy=np.concatenate([found.reference_xy, carried.reference_xy[more]]),
                   query_xy=np.concatenate([found.query_xy, carried.query_xy[more]]), keyframes=keyframes, age_s=np.concatenate(ages))


def names(keyframes: KeyframeMatches) -> np.ndarray:
    """One number for each keypoint of any keyframe."""
    return keyframes.keyframe << 32 | keyframes.index


@dataclass(frozen=True)
class Detections:
    """Keypoints that DALF has found in an image, verified without any prediction: view (N,), index (N,) int64, xy (N, 2) float32 px."""

    view: np.ndarray
    index: np.ndarray
    xy: np.ndarray

    def without(self, carried: Carried) -> Detections:
        """These, with the places of those left open (NaN) that were carried to the same image: they need not be brought forward.

        All of them stay where what was carried is contradicted.
        """
        if _contradicts(self, carried):
            return self
        known = np.isin(_names(self), _names(carried))
        return replace(self, xy=np.where(known[:, None], np.float32(np.nan), self.xy))

    def forward(self, images: Sequence[np.ndarray]) -> Detections:
        """Where they are in the last of the images; all halved (second of their levels_of()), the first being the one that they are in."""
        return replace(self, xy=bring_forward(images, self.xy))


def detections_of(matches: FrameMatches) -> Detections:
    """All verified keypoints of an image's matches, of every view; where there are more than can be carried, so many of them."""
    good, others = matches.matches.inlier, matches.keyframes
    index = matches.matches.reference_index[good]
    view = np.concatenate([np.full(len(index), REFERENCE_VIEW), others.keyframe])
    index, xy = np.concatenate([index, others.index]), np.concatenate([matches.query_xy[good], others.query_xy])
    if len(index) > MOST:
        rows = np.random.default_rng(0).permutation(len(index))[:MOST]
        view, index, xy = view[rows], index[rows], xy[rows]
    return Detections(view, index, xy)


def _contradicts(found: Detections, carried: Carried) -> bool:
    """Whether keypoints detected in an image are mostly not where they were carried to."""
    ours, theirs = np.intersect1d(_names(found), _names(carried), return_indices=True)[1:]
    apart = np.linalg.norm(found.xy[ours] - carried.xy[theirs], axis=1)
    return len(apart) >= COMPARED and float(np.mean(apart > SAME_PX)) > CONTRADICTING


def _names(keypoints: Detections | Carried) -> np.ndarray:
    """One number for each keypoint of any view."""
    return keypoints.view << 32 | keypoints.index


def _inside(carried: Carried, mask: np.ndarray) -> Carried:
    """Those on nonzero pixels of a mask (H, W)."""
    x, y = np.rint(carried.xy).astype(int).T
    rows = mask[y.clip(0, mask.shape[0] - 1), x.clip(0, mask.shape[1] - 1)] != 0
    return Carried(carried.view[rows], carried.index[rows], carried.xy[rows], carried.correlation[rows], carried.age_s[rows])
