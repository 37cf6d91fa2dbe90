"""The colours of all pictures, in one place: to be told apart with normal colour vision and with red-green blindness alike.

Good and bad are blue and orange, magnitudes are matplotlib's viridis (van der Walt and Smith, 2015), the curves of a plot have the colours
of Okabe and Ito ("Color Universal Design", 2008). All are BGR, as OpenCV has them, unless their name says RGB.
"""
from __future__ import annotations

import cv2
import numpy as np

GOOD = (233, 180, 86)           # sky blue: a match that holds
BAD = (0, 120, 240)             # orange: one that was dropped
BELOW = (178, 114, 0)           # blue: the opposite of BAD where both are as good
NEUTRAL = (150, 150, 150)       # keypoints without a match, frames
DROPPED = (60, 60, 60)          # dropped matches where hue already tells the motion of the others
GRID = (80, 255, 255)           # yellow: lines that stick to the surface
UNSEEN = (150, 66, 214)         # pink: surface that the camera does not see
GRID_UNSEEN = (170, 80, 240)    # pink, lighter, for lines
DARK = (0, 0, 0)                # darkened parts
BACKGROUND = (38, 34, 32)       # behind a mesh, and of the bands with words
INK = (236, 232, 228)           # words
PLAIN = (182, 190, 196)         # a surface without colours
TINT = 0.55                     # of UNSEEN in the colour of a vertex
SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")     # curves and bars of plots
# What became of a frame, as register tells it; and what is none of these.
STATUS = {"tracked": "#009e73", "matched": "#009e73", "degraded": "#e69f00", "lost": "#d55e00", "waiting": "#888888"}
OTHER_STATUS = "#cc79a7"
# Directions 60 degrees apart, RGB: as the angle grows, from yellow by blue (in the middle) back. Opposite ones differ in lightness as well.
_WHEEL_RGB = np.array([(245, 215, 20), (150, 235, 140), (86, 190, 250), (0, 90, 200), (110, 15, 120), (205, 75, 0)], float)


def rgb(bgr: tuple[int, int, int]) -> tuple[int, int, int]:
    """The same colour as RGB."""
    return bgr[2], bgr[1], bgr[0]


def hexadecimal(bgr: tuple[int, int, int]) -> str:
    """The same colour as matplotlib and web pages take it, #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*rgb(bgr))


def magnitude_colors(share: np.ndarray) -> np.ndarray:
    """Share 0..1 of any shape (...) as (..., 3) uint8, from dark violet to bright yellow."""
    share = np.asarray(share)
    level = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
    return cv2.applyColorMap(level.reshape(-1, 1), cv2.COLORMAP_VIRIDIS).reshape(*share.shape, 3)


def magnitude_legend(low: str = "weak", high: str = "strong") -> list[tuple[tuple[int, int, int], str]]:
    """A low, a middle and the highest of magnitude_colors, for a legend."""
    blue, green, red = magnitude_colors(np.array([0.2, 0.6, 1.0])).T.tolist()
    return list(zip(zip(blue, green, red), (low, "", high)))


def quality_colors(badness: np.ndarray) -> np.ndarray:
    """Badness 0..1 of any shape (...) as (..., 3) uint8, from GOOD to BAD."""
    share = np.clip(np.asarray(badness, float), 0, 1)[..., None]
    return np.rint(np.array(GOOD) + share * np.subtract(BAD, GOOD)).astype(np.uint8)


def signed_colors(share: np.ndarray) -> np.ndarray:
    """Share -1..1 of any shape (...) as (..., 3) uint8: from blue by nearly white (at 0) to orange."""
    share = np.clip(np.asarray(share, float), -1, 1)[..., None]
    end = np.where(share < 0, np.array(BELOW), np.array(BAD))
    return np.rint(INK + np.abs(share) * (end - np.array(INK))).astype(np.uint8)


def surface_colors(colors: np.ndarray | None, visible: np.ndarray | None, count: int) -> np.ndarray:
    """(V, 3) uint8 RGB of so many vertices: the surface's own (V, 3) RGB, those not visible (V,) bool mixed with pink."""
    tinted = np.empty((count, 3), np.uint8)
    tinted[:] = rgb(PLAIN) if colors is None else colors
    if visible is not None:
        unseen = ~np.asarray(visible, bool)
        tinted[unseen] = ((1 - TINT) * tinted[unseen] + TINT * np.array(rgb(UNSEEN))).astype(np.uint8)
    return tinted


def direction_colors(angle: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """(..., 3) uint8: hue is the direction, angle (...) in radians from x (right) to y (down); white where strength (...) 0..1 is 0."""
    turn, colors = np.asarray(angle, float) / (2 * np.pi) * len(_WHEEL_RGB), len(_WHEEL_RGB)
    hue = np.stack([np.interp(turn, np.arange(colors), channel, period=colors) for channel in _WHEEL_RGB.T[::-1]], axis=-1)
    return np.rint(255 + np.clip(strength, 0, 1)[..., None] * (hue - 255)).astype(np.uint8)
