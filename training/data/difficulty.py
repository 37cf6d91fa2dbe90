"""How strongly random pairs differ: one number, or every range by itself.

The number: 0 nothing moves, 1 easy, 2 medium, 3 hard; values between are interpolated. These tables are the only home of the ranges.
"""
from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

LEVELS = {"easy": 1.0, "medium": 2.0, "hard": 3.0}


@dataclass(frozen=True)
class WarpRange:
    """Bounds between which a warp is drawn. Lengths are in half the longer side of an image.

    rotation: degrees, uniform within +-rotation. zoom: octaves, uniform within +-zoom. shift: uniform within +-shift along x and y.
    tilt: degrees, 0 to tilt, about a random axis: foreshortening with perspective.
    bend: largest local stretch of each of two thin-plate splines, one coarse, one fine, bend/2 to bend; must stay below 1, so that the
    surface never overlaps itself.
    folds: pleats, 0 to folds of them. fold_width: width of the hidden strip, fold_width/2 to fold_width.
    """

    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    tilt: float = 0.0
    bend: float = 0.0
    folds: float = 0.0
    fold_width: float = 0.0


@dataclass(frozen=True)
class LightRange:
    """Bounds between which a change of appearance is drawn. Images are in 0 to 1.

    exposure: octaves, +-. gamma: octaves of the exponent, +-. colour: octaves of each channel's gain, +-.
    light: octaves by which a smooth light field varies, +-. shadow: share of light that a cast shadow may take, 0 to shadow.
    blur: standard deviation, pixels, 0 to blur. noise: standard deviation, 0 to noise.
    """

    exposure: float = 0.0
    gamma: float = 0.0
    colour: float = 0.0
    light: float = 0.0
    shadow: float = 0.0
    blur: float = 0.0
    noise: float = 0.0


_WARP_TABLE = {1.0: WarpRange(rotation=15, zoom=0.25, shift=0.15, tilt=18, bend=0.18, folds=0, fold_width=0.06),
               2.0: WarpRange(rotation=60, zoom=0.4, shift=0.15, tilt=34, bend=0.48, folds=1, fold_width=0.08),
               3.0: WarpRange(rotation=180, zoom=0.65, shift=0.22, tilt=48, bend=0.8, folds=3, fold_width=0.1)}
_LIGHT_TABLE = {1.0: LightRange(exposure=0.4, gamma=0.2, colour=0.1, light=0.3, shadow=0.2, blur=0.6, noise=0.01),
                2.0: LightRange(exposure=0.6, gamma=0.4, colour=0.25, light=0.65, shadow=0.45, blur=1.1, noise=0.025),
                3.0: LightRange(exposure=0.8, gamma=0.6, colour=0.4, light=0.9, shadow=0.6, blur=1.3, noise=0.035)}

Range = TypeVar("Range", WarpRange, LightRange)


def warp_range(difficulty: float | WarpRange) -> WarpRange:
    """The ranges of a difficulty from 0 to 3; a WarpRange passes through. ValueError: out of range."""
    return difficulty if isinstance(difficulty, WarpRange) else _interpolate(_WARP_TABLE, WarpRange(), difficulty)


def light_range(difficulty: float | LightRange) -> LightRange:
    """The ranges of a difficulty from 0 to 3; a LightRange passes through. ValueError: out of range."""
    return difficulty if isinstance(difficulty, LightRange) else _interpolate(_LIGHT_TABLE, LightRange(), difficulty)


def _interpolate(table: dict[float, Range], nothing: Range, difficulty: float) -> Range:
    if not 0 <= difficulty <= max(table):
        raise ValueError(f"difficulty must lie in 0 (nothing) to {max(table):g} (hard), not {difficulty!r}")
    rows = {0.0: nothing, **table}
    return type(nothing)(**{field.name: float(np.interp(difficulty, list(rows), [getattr(row, field.name) for row in rows.values()]))
                            for field in fields(nothing)})
