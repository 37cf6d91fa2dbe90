"""Settings that change during a stage of training: values between given points are interpolated."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..config import Points, TrainingConfig
from .difficulty import WarpRange, warp_range


def value_at(points: Points, progress: float) -> float:
    """The value of a schedule at a progress from 0 to 1, linear between its points, constant beyond them."""
    return float(np.interp(progress, [point[0] for point in points], [point[1] for point in points]))


@dataclass(frozen=True)
class Difficulty:
    """How strongly the pairs of one batch differ. warp: ranges of the warp. light: 0 to 3. occluders: the most in an image."""

    warp: WarpRange
    light: float
    occluders: float


def draw_difficulty(config: TrainingConfig, progress: float, random: np.random.Generator) -> Difficulty:
    """A difficulty up to what the schedule allows at this progress: easy pairs stay among the hard ones.

    Rotations have a schedule of their own, and a bound that is drawn evenly below it: small turns are the most frequent.
    """
    level = value_at(config.difficulty, progress) * random.uniform(config.least_difficulty, 1.0)
    turned = value_at(config.rotation, progress) * random.uniform()
    return Difficulty(replace(warp_range(level), rotation=turned), level, config.occluders * level / 3)
