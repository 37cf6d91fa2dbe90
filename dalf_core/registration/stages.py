"""The schedules of a solve: which weights and scales its stages have."""
from __future__ import annotations

from dataclasses import replace

from .solver import Stage

FREE_SPACE = 0.02            # weight of a vertex in free space: small, so that it only moves what nothing else holds
FREE_SPACE_COLD = 0.04       # the same on a cold start, where hidden parts have nothing but the outline to go by
REST_UPDATES = 8             # updates of the rest shape on a cold start; while tracking there is one a frame
WARM_STEPS = 10              # limit of Gauss-Newton steps while tracking; most frames take two or three


def cold_stages(length: float) -> list[Stage]:
    """From the landmarks' first guess to the final fit. length: the robust scale, metres."""
    coarse = Stage(iterations=2, landmark_sigma=3.0 * length, depth_tukey=2.5 * length, depth_gate=4.0 * length,
                   landmark_weight=4.0, depth_weight=0.3, stretch=20.0, bend=20.0)
    medium = Stage(iterations=3, landmark_sigma=1.5 * length, depth_tukey=1.6 * length, depth_gate=3.0 * length,
                   landmark_weight=4.0, depth_weight=1.0, stretch=2.0, bend=1.0, free_space=FREE_SPACE_COLD)
    fine = Stage(iterations=3, landmark_sigma=1.0 * length, depth_tukey=1.0 * length, depth_gate=2.0 * length,
                 landmark_weight=3.0, depth_weight=1.0, stretch=0.3, bend=0.12, free_space=FREE_SPACE_COLD)
    return [coarse, medium, fine, *[replace(final_stage(length, 1), free_space=FREE_SPACE_COLD)] * REST_UPDATES]


def warm_stages(length: float) -> list[Stage]:
    """From the last frame's state. A part that folds over is followed from behind; a cold start cannot tell it from a hidden part."""
    return [replace(final_stage(length, WARM_STEPS), two_sided=True)]


def final_stage(length: float, iterations: int) -> Stage:
    """The stage that every fit ends with (a cold start with more free space). Fits are compared by its energy."""
    return Stage(iterations=iterations, landmark_sigma=1.0 * length, depth_tukey=0.7 * length, depth_gate=1.5 * length,
                 landmark_weight=3.0, depth_weight=1.0, stretch=0.4, bend=0.02, free_space=FREE_SPACE, adaptive=True)
