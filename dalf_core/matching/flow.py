"""Sparse optical flow between images of a sequence (pyramidal Lucas-Kanade, Bouguet 2001; OpenCV's), on images of half the size.

It tells where to look, so half a pixel will do; and at half the size it takes a quarter of the time.
"""
from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

WINDOW, DEEPEST = (15, 15), 3                                               # of the halved image
RETURN_PX = 1.0             # of the whole image: farther from where they were are not sure
_STOP = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 10, 0.03)        # iterations, pixels


def follow(before: np.ndarray, now: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Where points are now: (N, 2) float32 px, NaN where they cannot be followed.

    before, now: halved images, (H, W) uint8 (the second level of patch_alignment.pyramid). xy: (N, 2) px of the whole image before.
    """
    xy = np.asarray(xy, np.float32).reshape(-1, 2)
    moved = np.full(xy.shape, np.nan, np.float32)
    height, width = before.shape
    rows = np.flatnonzero((xy >= 0).all(axis=1) & (xy < (2 * width, 2 * height)).all(axis=1))       # not where it is NaN either
    if len(rows):
        found, status, _ = cv2.calcOpticalFlowPyrLK(before, now, xy[rows, None] / 2, None, winSize=WINDOW, maxLevel=DEEPEST,
                                                    criteria=_STOP)
        kept = status.reshape(-1) != 0
        moved[rows[kept]] = 2 * found.reshape(-1, 2)[kept]
    return moved


def follow_surely(before: np.ndarray, now: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """As follow, without those that do not come back to where they were: what a hand passes over is else taken along by it."""
    moved = follow(before, now, xy)
    with np.errstate(invalid="ignore"):
        moved[~(np.abs(follow(now, before, moved) - xy).max(axis=1) < RETURN_PX)] = np.nan
    return moved


def bring_forward(images: Iterable[np.ndarray], xy: np.ndarray) -> np.ndarray:
    """Points xy (N, 2) px of the first image through all that follow: (N, 2) float32 px of the last, NaN where they were lost."""
    images = iter(images)
    before = next(images)
    for now in images:
        xy, before = follow(before, now, xy), now
    return xy
