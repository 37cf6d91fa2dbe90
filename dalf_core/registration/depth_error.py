"""The systematic error of a depth image, from landmarks whose positions were measured in another way.

Two are common. A reading is off by a constant: light that enters foam or skin before it returns, a camera that has warmed up. And a reading
is of the nearest point in its pixel's footprint, not of the middle: a first-return lidar, a z-buffer, depth that was aligned to the
colour image where of the samples that meet a pixel the nearest is kept; it is too near in proportion to the surface's slope. Noise of the
readings averages out over a surface; these do not, and bend it away from where the landmarks are.

Landmarks lifted through the same depth image share its error and cannot show it.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..camera import PinholeCamera
from ..compiled import njit
from ..depth import fit_plane, jump_slope

RADIUS = 2                  # of the planes, pixels
MIN_COMPARED = 30           # landmarks with depth around them
ROUNDS = 10                 # of reweighting
TUKEY = 4.7                 # of the scale of the residuals: 95 % efficient where they are normal
LIKELY = np.array([5e-3, 0.5])          # standard deviations of offset (metres) and footprint (pixels) before anything is seen
AS_FAR = 3.0                # of these: a reading farther from a landmark is of something else, such as a hand before it
SIGNIFICANT = 13.8          # fall of chi-square by two parameters: chance has that once in 1000 frames


class DepthError(NamedTuple):
    """A reading is `offset` metres too far, and `footprint` times the surface's slope, metres of depth a pixel."""

    offset: float
    footprint: float


def find_depth_error(depth: np.ndarray, targets: np.ndarray, camera: PinholeCamera) -> DepthError | None:
    """The error that landmarks show, None when they show none beyond chance. targets: (M, 3) metres, few of them wrong.

    Weighted least squares with Tukey's biweight and a normal prior (LIKELY).
    """
    in_front = targets[targets[:, 2] > 0.0]
    compared = _compare(depth, in_front, RADIUS, jump_slope(camera) * RADIUS, camera.fx, camera.fy, camera.cx, camera.cy)
    residual, slope = compared[np.abs(compared[:, 0]) < AS_FAR * (LIKELY[0] + LIKELY[1] * compared[:, 1])].T
    if len(residual) < MIN_COMPARED:
        return None
    rows = np.stack([np.ones_like(slope), slope], axis=1)
    error = np.array([np.median(residual), 0.0])
    for _ in range(ROUNDS):
        left = residual - rows @ error
        scale = max(1.4826 * float(np.median(np.abs(left))), 1e-5)
        weight = np.maximum(1.0 - (left / (TUKEY * scale)) ** 2, 0.0) ** 2
        normal = (rows * weight[:, None]).T @ rows / scale**2
        error = np.linalg.solve(normal + np.diag(LIKELY**-2.0), rows.T @ (weight * residual) / scale**2)
    return DepthError(float(error[0]), float(error[1])) if error @ normal @ error > SIGNIFICANT else None


def corrected(depth: np.ndarray, error: DepthError, camera: PinholeCamera) -> np.ndarray:
    """A clean depth image without the error, (H, W) float32 metres."""
    return _corrected(depth, RADIUS, jump_slope(camera) * RADIUS, error.offset, error.footprint)


@njit
def _compare(depth, targets, radius, gate, fx, fy, cx, cy):
    """(M, 2): how much farther the depth is than each target, metres, and its slope there, metres a pixel; NaN where there is none."""
    out = np.full((len(targets), 2), np.nan)
    for n in range(len(targets)):
        z = targets[n, 2]
        u, v = fx * targets[n, 0] / z + cx, fy * targets[n, 1] / z + cy
        if not (0.0 <= u < depth.shape[1] - 1 and 0.0 <= v < depth.shape[0] - 1):
            continue
        found, inverse, b, c = fit_plane(depth, u, v, radius, gate * z)
        if found and inverse > 0.0:
            out[n, 0] = 1.0 / inverse - z
            out[n, 1] = math.sqrt(b * b + c * c) / (inverse * inverse)
    return out


@njit
def _corrected(depth, radius, gate, offset, footprint):
    out = np.zeros_like(depth)
    for y in range(depth.shape[0]):
        for x in range(depth.shape[1]):
            z = depth[y, x]
            if z <= 0.0:
                continue
            found, inverse, b, c = fit_plane(depth, float(x), float(y), radius, gate * z)
            slope = math.sqrt(b * b + c * c) / (inverse * inverse) if found and inverse > 0.0 else 0.0
            out[y, x] = max(z - offset - footprint * slope, 0.0)
    return out
