"""Local planes of the depth image, fitted where needed and cached, since the steps of a solve visit much the same pixels."""
from __future__ import annotations

import math

import numpy as np

from ..camera import PinholeCamera
from ..compiled import njit
from ..depth import fit_plane, jump_slope

UNKNOWN, NONE, FITTED = 0, 1, 2


class LocalPlanes:
    """Per pixel of a depth image 1/z = inverse + b (x - pixel x) + c (y - pixel y), the plane of the readings around it.

    value: (H, W, 3) float32, inverse, b and c. known: (H, W) uint8, UNKNOWN until fitted, then NONE or FITTED.
    radius: of the window, pixels.
    """

    def __init__(self, camera: PinholeCamera, radius: int) -> None:
        self.value = np.empty((camera.height, camera.width, 3), np.float32)
        self.known = np.zeros((camera.height, camera.width), np.uint8)
        self.radius = radius
        self.gate = jump_slope(camera) * radius         # metres per metre of depth

    def forget(self) -> None:
        """Before another depth image."""
        self.known.fill(UNKNOWN)


@njit(inline="always")
def plane_at(depth, value, known, radius, gate, u, v):
    """Plane of the measured surface around pixel (u, v), which lies in the image: see fit_plane, whose result this is."""
    x, y = int(math.floor(u + 0.5)), int(math.floor(v + 0.5))
    if x < 0 or y < 0 or x >= depth.shape[1] or y >= depth.shape[0]:
        return 0, 0.0, 0.0, 0.0
    if known[y, x] == UNKNOWN:
        found, inverse, b, c = fit_plane(depth, float(x), float(y), radius, gate * depth[y, x])
        value[y, x, 0], value[y, x, 1], value[y, x, 2] = inverse, b, c
        known[y, x] = FITTED if found and inverse > 0.0 else NONE
    b, c = float(value[y, x, 1]), float(value[y, x, 2])
    return int(known[y, x] == FITTED), value[y, x, 0] + b * (u - x) + c * (v - y), b, c
