"""Carrying matches from image to image: keypoints of the reference image and of keyframes, found again by their own patches.

Where a keypoint is expected comes from the surface (Prediction) as far as that is known, else from the keypoints around it that the
image before showed; how the surface has moved since, from optical flow at some of those. There its patch, bent as the surface around it
is, is aligned with the patch of its own view. So nothing drifts, and the correlation tells whether the image still shows it.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from .flow import follow_surely
from .local_maps import comparable, local_maps
from .patch_alignment import PatchTemplates, Pyramid, align, make_templates, pyramid
from .prediction import Prediction

Expected = tuple[np.ndarray, np.ndarray, np.ndarray]        # of a view's keypoints, see _expected

MOST = 800                  # keypoints looked for in one image
LEAST_CORRELATION = 0.7     # of a patch with its template
REACH_PX = 12.0             # how far from its expected place a patch may be found;
WIDE_PX = 40.0              # and how far where so few of a view are found so near
WIDE_BELOW = 0.3            # (share of those looked for) that the surface may be elsewhere
CHANCE = 0.1                # fewer (share) that are found so far off are found by chance
AGREEING = 4                # neighbours that must be off their expected places by the same,
ALIKE_PX = 4.0              # up to so much, as a keypoint: chance finds single ones
ANCHORS = 200               # keypoints whose optical flow tells how the surface moves
NEIGHBOURS = 12             # keypoints of a view that tell about one among them
OWN = 8                     # of a keypoint's neighbours (itself is one) must have been seen for them to tell how it is bent
FRESH_S = 0.5               # an older prediction is not used


@dataclass(frozen=True)
class Carried:
    """Keypoints of views that an image shows again.

    view, index: (N,) int64, which keypoint of which view. xy: (N, 2) float32 pixels. correlation: (N,) float32 with its own patch.
    age_s: (N,) float32, seconds since DALF itself found it.
    """

    view: np.ndarray
    index: np.ndarray
    xy: np.ndarray
    correlation: np.ndarray
    age_s: np.ndarray

    def __len__(self) -> int:
        return len(self.index)


_NONE = np.zeros(0, np.int64)
NOTHING = Carried(_NONE, _NONE, np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32))


class _View:
    """The keypoints of one view and what is known of them in the image before."""

    def __init__(self, keypoints: np.ndarray, templates: PatchTemplates) -> None:
        count = len(keypoints)
        self.keypoints, self.templates = np.asarray(keypoints, np.float32), templates
        self._order = templates.sharpest_first()
        self.thin(1.0)
        self.xy = np.full((count, 2), np.nan, np.float32)
        self.seen = np.zeros(count, bool)
        self.detected = np.zeros(count, bool)       # since the image before, and not looked for yet
        self.detected_ns = np.zeros(count, np.int64)

    def thin(self, share: float) -> None:
        """Use this share of the keypoints only, the sharpest; neighbours are looked for among those in use."""
        count = len(self.keypoints)
        self.share, self.in_use = share, np.zeros(count, bool)
        rows = np.sort(self._order[:max(1, round(share * count))])
        self.in_use[rows] = True
        nearest = cKDTree(self.keypoints[rows]).query(self.keypoints, min(NEIGHBOURS, len(rows)))[1]
        self.neighbours = np.ascontiguousarray(rows[nearest.reshape(count, -1)], np.int64)

    def spread(self, use: np.ndarray, count: int) -> np.ndarray:
        """At most so many of the rows in use, the sharpest, the same ones in each image."""
        return self._order[use[self._order]][:count]


class LandmarkCarrier:
    """Follows the keypoints of views through a sequence of images.

    most: at most so many are looked for in one image; may be changed at any time.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.clear()

    def clear(self) -> None:
        """Forget all views."""
        self._views: dict[int, _View] = {}
        self._before: np.ndarray | None = None          # the image before, halved,
        self._before_ns = 0                             # and its stamp
        self._trusted_ns = 0                            # predictions from before are contradicted

    def add_view(self, number: int, gray: np.ndarray, keypoints: np.ndarray) -> None:
        """A view whose keypoints (N, 2) px lie in the image gray (H, W) uint8."""
        self._views[number] = _View(keypoints, make_templates(pyramid(gray), keypoints))

    @property
    def views(self) -> tuple[int, ...]:
        """Numbers of the views that are kept."""
        return tuple(self._views)

    def drop_view(self, number: int) -> None:
        """Forget one view."""
        self._views.pop(number, None)

    def detected(self, view: np.ndarray, index: np.ndarray, xy: np.ndarray, detected_ns: int) -> None:
        """DALF has found keypoints, without any prediction: (N,) view, (N,) index, (N, 2) px in the image that carry() had last.

        detected_ns: stamp of the image in which it found them. The next image is searched there for those that are not carried, but not
        for those that are NaN.
        """
        for number in set(np.unique(view).tolist()) & self._views.keys():
            kept, i, at = self._views[number], index[view == number], xy[view == number]
            new = ~kept.seen[i] & np.isfinite(at[:, 0])
            kept.xy[i[new]] = at[new]
            kept.detected[i[new]] = kept.seen[i[new]] = True
            kept.detected_ns[i] = detected_ns

    def drop_carried(self, stamp_ns: int) -> None:
        """What is carried is wrong: forget where keypoints are, and do not use predictions up to this image, the last that carry() had."""
        self._trusted_ns = stamp_ns + 1
        for view in self._views.values():
            view.seen[:] = view.detected[:] = False

    def carry(self, image: np.ndarray | Pyramid, stamp_ns: int, prediction: Prediction | None = None) -> Carried:
        """Find the keypoints in the next image, (H, W) uint8 or its pyramid; prediction: the newest one there is."""
        levels = image if isinstance(image, Pyramid) else pyramid(image)
        usable = prediction is not None and self._trusted_ns <= prediction.stamp_ns <= stamp_ns and \
            stamp_ns - prediction.stamp_ns <= 1e9 * FRESH_S
        is_newest = prediction is not None and prediction.stamp_ns == self._before_ns
        expected = {number: _expected(number, view, prediction if usable else None, is_newest) for number, view in self._views.items()}
        self._thin(expected)
        self._move(expected, levels.images[1])
        self._before, self._before_ns = levels.images[1], stamp_ns
        return _joined([_found(number, view, expected[number], levels, stamp_ns) for number, view in self._views.items()])

    def _move(self, expected: dict[int, Expected], now: np.ndarray) -> None:
        """Add to the expected places how the surface has moved since: in each place the median of the flow around it.

        The flow is that of keypoints seen in the image before; where too few of a view were, it is expected where it was.
        """
        if self._before is None or self._before.shape != now.shape:
            return
        share = max(1, ANCHORS // max(1, len(self._views)))
        anchors = {number: view.spread(view.seen, share) for number, view in self._views.items()
                   if view.seen.sum() >= WIDE_BELOW * expected[number][2].sum()}
        if not anchors:
            return
        # of all views at once: each call makes the images' gradients anew
        moved = follow_surely(self._before, now, np.concatenate([self._views[number].xy[rows] for number, rows in anchors.items()]))
        for (number, rows), there in zip(anchors.items(), np.split(moved, np.cumsum([len(rows) for rows in anchors.values()])[:-1])):
            view, (xy, _, use) = self._views[number], expected[number]
            motion = there - xy[rows]
            known = np.isfinite(motion[:, 0])
            if known.sum() >= AGREEING:
                nearest = cKDTree(view.keypoints[rows[known]]).query(view.keypoints[use], min(NEIGHBOURS, int(known.sum())))[1]
                xy[use] += np.median(motion[known][nearest], axis=1)

    def _thin(self, expected: dict[int, Expected]) -> None:
        """Leave keypoints out where there are more to look for than can be done; take them in again when there are far fewer."""
        wanted = {number: int((use & self._views[number].templates.usable[0]).sum()) for number, (_, _, use) in expected.items()}
        total = sum(wanted.values())
        share = min(1.0, self.most / total) if total else 1.0
        for number, (_, _, use) in expected.items():
            view = self._views[number]
            if share < 0.95 * view.share or (share > view.share and (share == 1.0 or share > 1.3 * view.share)):
                view.thin(share)
            use &= view.in_use & view.templates.usable[0]


def _expected(number: int, view: _View, prediction: Prediction | None, is_newest: bool) -> Expected:
    """Of a view's keypoints: places (N, 2) and affine maps (N, 2, 2) from the view, and whether to look for them (N,) bool.

    The prediction's as far as it goes; else as the keypoints around it were seen in the image before. is_newest: the prediction is of
    that image.
    """
    xy, affine, use = local_maps(view.keypoints, view.neighbours, view.xy, view.seen)
    xy[view.seen] = view.xy[view.seen]
    if prediction is not None and len(rows := np.flatnonzero(prediction.view == number)):
        index = prediction.index[rows]
        inside = index < len(xy)
        rows, index = rows[inside], index[inside]
        known = np.zeros(len(xy), bool)
        places = np.full_like(xy, np.nan)
        known[index], places[index] = np.isfinite(prediction.xy[rows, 0]), prediction.xy[rows]
        visible = np.zeros(len(xy), bool)
        visible[index] = prediction.visible[rows]
        _, bent, fits = local_maps(view.keypoints, view.neighbours, places, known)
        known &= ~view.detected
        xy[known], use[known] = places[known], (fits & (visible | view.seen))[known]
        # of the surface an affine map is smoother, but where it is of an earlier image the keypoints' own is newer
        rows = known if is_newest else known & ~(view.seen[view.neighbours].sum(axis=1) >= OWN)
        affine[rows] = bent[rows]
    use &= comparable(affine) & np.isfinite(xy).all(axis=1)
    return xy, affine, use


def _found(number: int, view: _View, expected: Expected, levels: Pyramid, stamp_ns: int) -> Carried:
    """Look for a view's keypoints where they are expected; what is found is what the next image is expected to show."""
    wanted = expected[2].sum()
    xy, correlation, view.seen = _aligned(view, expected, levels, (0, 1), REACH_PX)
    if view.seen.sum() < WIDE_BELOW * wanted:
        xy, correlation, view.seen = _aligned(view, expected, levels, (2,), WIDE_PX)
        if view.seen.sum() < CHANCE * wanted:
            view.seen[:] = False
    view.detected[:] = False
    view.xy = xy
    index = np.flatnonzero(view.seen)
    age = (stamp_ns - view.detected_ns[index]) / 1e9
    return Carried(np.full(len(index), number, np.int64), index, xy[index], correlation[index], age.astype(np.float32))


def _aligned(view: _View, expected: Expected, levels: Pyramid, coarsest: tuple[int, ...],
             reach_px: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, correlations, and which keypoints are seen there: those that look as they should, no farther off than their neighbours.

    coarsest: levels of the pyramid to begin at; each for those keypoints alone that are not found from the one before.
    """
    start, affine, use = expected
    xy, correlation, alike = start.copy(), np.full(len(start), -1, np.float32), np.zeros(len(start), bool)
    for level in coarsest:
        left = use & ~alike
        found, likeness = align(levels, view.templates, start, affine, left, level)
        xy[left], correlation[left] = found[left], likeness[left]
        with np.errstate(invalid="ignore"):
            off = xy - start
            alike = use & (correlation > LEAST_CORRELATION) & (np.abs(off).max(axis=1) < reach_px)
    rows = np.flatnonzero(alike)
    around = view.neighbours[rows]
    with np.errstate(invalid="ignore"):
        agree = alike[around] & (np.abs(off[around] - off[rows, None]) < ALIKE_PX).all(axis=2)
    alike[rows] = agree.sum(axis=1) > AGREEING        # itself is one of them
    return xy, correlation, alike


def _joined(parts: list[Carried]) -> Carried:
    if not parts:
        return NOTHING
    return Carried(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("view", "index", "xy", "correlation", "age_s")))
