"""Depth images: cleaning, and reading them as a measured surface."""
from __future__ import annotations

import math

import numpy as np

from .camera import PinholeCamera
from .compiled import njit

NEAR_M, FAR_M = 0.05, 20.0      # default limits of depth readings, metres
DEPTH_NOISE_M = 0.004           # default of how far off a point lifted through a depth image may be, metres
READINGS_M = (1e-4, 1e4)        # no camera measures nearer or farther; with larger numbers arithmetic in float32 overflows


def is_reading(depth_m: np.ndarray) -> np.ndarray:
    """Which values of a depth image in metres are readings, (H, W) bool: not NaN, infinite, zero, negative or beyond READINGS_M."""
    with np.errstate(invalid="ignore"):
        return (depth_m >= READINGS_M[0]) & (depth_m <= READINGS_M[1])


def clean_depth(depth_m: np.ndarray, camera: PinholeCamera, *, near_m: float = NEAR_M, far_m: float = FAR_M) -> np.ndarray:
    """Check a depth image and return it as C-contiguous (H, W) float32 metres in which 0 alone means no reading.

    NaN, infinite, negative readings and those outside near_m..far_m become 0.
    Raises ValueError naming the cause: wrong type, wrong size for the camera.
    """
    depth = np.asarray(depth_m)
    if depth.ndim != 2:
        raise ValueError(f"depth must be a single-channel image HxW, got shape {depth.shape}")
    if not np.issubdtype(depth.dtype, np.floating):
        raise ValueError(f"depth must be floating point metres, got {depth.dtype}; divide 16-bit millimetres by 1000")
    if depth.shape != (camera.height, camera.width):
        raise ValueError(f"depth is {depth.shape[1]}x{depth.shape[0]} px but the camera says {camera.width}x{camera.height}; "
                         "use camera.scaled(width, height) for another resolution")
    depth = depth.astype(np.float32)
    with np.errstate(invalid="ignore"):
        depth[~((depth >= near_m) & (depth <= far_m))] = 0.0
    return np.ascontiguousarray(depth)


@njit(inline="always")
def fit_plane(depth, u, v, radius, gate):
    """Local plane of the measured surface around pixel (u, v), by least squares on inverse depth.

    A plane in space is exactly linear in inverse depth: 1/z = a + b (x - u) + c (y - v). Only pixels within `gate` metres
    of the reading nearest (u, v) take part, so that the fit does not cross a depth jump.
    Returns (found, 1/z at (u, v), b, c); found is 0 where there is no reading, or too few around it.
    """
    height, width = depth.shape
    x0 = int(math.floor(u + 0.5))
    y0 = int(math.floor(v + 0.5))
    if x0 < radius or y0 < radius or x0 >= width - radius or y0 >= height - radius:
        return 0, 0.0, 0.0, 0.0
    centre = depth[y0, x0]
    if centre <= 0.0:
        return 0, 0.0, 0.0, 0.0
    n = 0
    sx = sy = sxx = sxy = syy = si = sxi = syi = 0.0
    for y in range(y0 - radius, y0 + radius + 1):
        dy = y - v
        for x in range(x0 - radius, x0 + radius + 1):
            z = depth[y, x]
            if z > 0.0 and abs(z - centre) < gate:
                dx = x - u
                inverse = 1.0 / z
                n += 1
                sx += dx
                sy += dy
                sxx += dx * dx
                sxy += dx * dy
                syy += dy * dy
                si += inverse
                sxi += dx * inverse
                syi += dy * inverse
    if n < 6:
        return 0, 0.0, 0.0, 0.0
    # 3x3 normal equations by elimination around the mean
    mx, my, mi = sx / n, sy / n, si / n
    cxx = sxx / n - mx * mx
    cxy = sxy / n - mx * my
    cyy = syy / n - my * my
    cxi = sxi / n - mx * mi
    cyi = syi / n - my * mi
    determinant = cxx * cyy - cxy * cxy
    if determinant < 0.02:
        return 0, 0.0, 0.0, 0.0
    b = (cxi * cyy - cyi * cxy) / determinant
    c = (cyi * cxx - cxi * cxy) / determinant
    return 1, mi - b * mx - c * my, b, c


@njit
def _smooth(depth, gate_slope, radius):
    height, width = depth.shape
    out = np.zeros_like(depth)
    for y in range(height):
        for x in range(width):
            z = depth[y, x]
            if z <= 0.0:
                continue
            found, inverse, _, _ = fit_plane(depth, float(x), float(y), radius, gate_slope * z)
            out[y, x] = 1.0 / inverse if found and inverse > 0.0 else z
    return out


def smooth_depth(depth: np.ndarray, camera: PinholeCamera, radius: int = 2) -> np.ndarray:
    """Replace each reading of a clean depth image by a local plane fit that does not cross depth jumps; (H, W) metres."""
    return _smooth(depth, jump_slope(camera) * radius, radius)


def jump_slope(camera: PinholeCamera) -> float:
    """Depth step between neighbouring pixels, per metre of depth, beyond which a surface is taken to end.

    It is the step of a surface seen at 80 degrees from its normal: one pixel covers z/f metres, times tan(80 degrees).
    """
    return math.tan(math.radians(80.0)) / min(camera.fx, camera.fy)
