"""Keyframes: frames that show the surface from elsewhere, to which later frames are matched where the reference image does not serve.

The image half keeps their features (`Keyframes`), the depth half where their keypoints are on the reference surface (`LandmarkMap`).
All that passes between them is names: which keypoint of which keyframe was seen again. So either half may miss frames or start anew.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..types import Features, Matches
from .verification import MIN_VERIFIED, verify

ENOUGH = 0.25               # share of an image's keypoints that verified matches must cover, or keyframes are asked and made;
PLENTY = 100                # so many matches are enough in any case: what hangs on the reference itself is more exact
TRIED = 2                   # keyframes matched in one frame, the most alike
SAMPLE = 128                # keypoints of a keyframe by which its likeness to an image is judged
LOOKED_FOR = 4              # keyframes whose keypoints are looked for where the surface is expected to show them
REMEMBERED = 64             # views whose keypoints the depth half remembers
REFERENCE_VIEW = 0          # number of the reference image among the views; keyframes have the following ones


@dataclass(frozen=True)
class KeyframeMatches:
    """Keypoints of keyframes that an image shows again, verified ones only; all its own where it has become a keyframe.

    keyframe: (K,) int64, which keyframe: 1 for the first since the reference, never used twice. index: (K,) int64, row of that
    keyframe's Features. query_xy: (K, 2) float32 pixels in the image.
    """

    keyframe: np.ndarray
    index: np.ndarray
    query_xy: np.ndarray

    def __len__(self) -> int:
        return len(self.index)


NO_KEYFRAMES = KeyframeMatches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2), np.float32))


class Keyframes:
    """The features of at most `limit` keyframes; the one that was of no use for longest is replaced."""

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise ValueError(f"max_keyframes must not be negative, got {limit}")
        self.limit = limit
        self.clear()

    def clear(self) -> None:
        """Forget all of them, and start counting anew."""
        self._kept: dict[int, Features] = {}        # by number, what was of use last at the end
        self._made = REFERENCE_VIEW

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def numbers(self) -> frozenset[int]:
        """Of the keyframes that are kept."""
        return frozenset(self._kept)

    def see(self, reference: Features, features: Features, matches: Matches) -> KeyframeMatches:
        """What an image shows of the keyframes. It becomes one itself where it is known, but little of it is matched.

        features: of a first look; matches: verified, of the image to the reference, also of keypoints that a second look has added behind
        those features. While they suffice, keyframes are neither asked nor made: what hangs on the reference itself cannot drift.
        """
        needed = min(ENOUGH * min(len(reference), len(features)), PLENTY)
        taken = np.zeros(max(len(features), matches.query_index.max(initial=-1) + 1), bool)
        taken[matches.query_index[matches.inlier]] = True
        if self.limit == 0 or taken.sum() >= needed:
            return NO_KEYFRAMES
        from .nearest_neighbours import match  # it imports PyTorch, which takes seconds and registration does without

        found = []
        for number in self._most_alike(features):
            pairs = match(self._kept[number], features)
            pairs = pairs.select(verify(self._kept[number], features, pairs) & ~taken[pairs.query_index])
            taken[pairs.query_index] = True
            found.append(_named(number, pairs.reference_index, features.keypoints[pairs.query_index]))
            if len(pairs) >= MIN_VERIFIED:
                self._kept[number] = self._kept.pop(number)
        if MIN_VERIFIED <= taken.sum() < needed:
            found.append(_named(self._add(features), np.arange(len(features)), features.keypoints))
        return _joined(found)

    def _most_alike(self, features: Features) -> list[int]:
        """Numbers of the keyframes whose strongest keypoints have the nearest descriptors here."""
        likeness = {number: float((_strongest(kept) @ features.descriptors.T).max(axis=1).mean()) for number, kept in self._kept.items()}
        return sorted(likeness, key=likeness.__getitem__, reverse=True)[:TRIED]

    def _add(self, features: Features) -> int:
        if len(self._kept) == self.limit:
            del self._kept[next(iter(self._kept))]
        self._made += 1
        self._kept[self._made] = features
        return self._made


_NOWHERE = np.zeros((0, 3))


class LandmarkMap:
    """Where on the reference surface the keypoints of the reference image and of keyframes are, as far as that is known."""

    def __init__(self) -> None:
        self._views: dict[int, np.ndarray] = {}     # by number, the one that was seen last at the end: (N, 3), NaN where not known
        self._newest: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def points(self, view: np.ndarray, index: np.ndarray) -> np.ndarray:
        """(M, 3) metres on the reference surface of keypoints `index` (M,) of views `view` (M,); NaN where not known."""
        found = np.full((len(view), 3), np.nan)
        for number in np.unique(view).tolist():
            known = self._views.get(number, _NOWHERE)
            rows = np.flatnonzero((view == number) & (index < len(known)))
            found[rows] = known[index[rows]]
        return found

    def newest(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All keypoints known of the reference image and of the LOOKED_FOR keyframes joined to last: view and index (M,), points (M, 3).

        The same arrays until join() is called.
        """
        if self._newest is None:
            numbers = [number for number in self._views if number != REFERENCE_VIEW][-LOOKED_FOR:]
            known = {number: np.flatnonzero(np.isfinite(self._views.get(number, _NOWHERE)[:, 0])) for number in (REFERENCE_VIEW, *numbers)}
            view = np.repeat(list(known), [len(index) for index in known.values()]).astype(np.int64)
            points = [self._views[number][index] for number, index in known.items() if len(index)]
            self._newest = view, np.concatenate([*known.values()]), np.concatenate([_NOWHERE, *points])
        return self._newest

    def join(self, view: np.ndarray, index: np.ndarray, points: np.ndarray) -> None:
        """Remember where keypoints are: (M, 3) metres; NaN is left out. The views that were not seen for longest are forgotten."""
        known_now = np.isfinite(points[:, 0])
        if not known_now.any():
            return
        self._newest = None
        for number in np.unique(view[known_now]).tolist():
            rows = (view == number) & known_now
            known = self._views.pop(number, _NOWHERE)
            more = max(0, int(index[rows].max()) + 1 - len(known))
            self._views[number] = np.concatenate([known, np.full((more, 3), np.nan)])
            self._views[number][index[rows]] = points[rows]
        keyframes = [number for number in self._views if number != REFERENCE_VIEW]
        for number in keyframes[:max(0, len(keyframes) - REMEMBERED)]:
            del self._views[number]


def _strongest(features: Features) -> np.ndarray:
    """(S, D) descriptors of the keypoints with the highest scores."""
    return features.descriptors[np.argsort(-features.scores)[:SAMPLE]]


def _named(number: int, index: np.ndarray, query_xy: np.ndarray) -> KeyframeMatches:
    return KeyframeMatches(np.full(len(index), number, np.int64), np.asarray(index, np.int64), np.asarray(query_xy, np.float32))


def _joined(parts: list[KeyframeMatches]) -> KeyframeMatches:
    if not parts:
        return NO_KEYFRAMES
    return KeyframeMatches(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("keyframe", "index", "query_xy")))
