"""The pinhole camera: pixels to rays and back."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAME_SHAPE = 0.02       # aspect ratios that differ by less are those of one image, resized and rounded


def is_resized(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether images of these two sizes (width, height) may be resized copies of one image, by their aspect ratios."""
    return abs(size[0] * other[1] / (other[0] * size[1]) - 1) <= SAME_SHAPE


def rescale_pixels(xy: np.ndarray, from_size: tuple[int, int], to_size: tuple[int, int]) -> np.ndarray:
    """Pixel coordinates of an image in a resized copy of it; sizes are (width, height), pixel centres at integers. (N, 2) float32."""
    if from_size == to_size:
        return np.asarray(xy, dtype=np.float32)
    factor = np.array([to_size[0] / from_size[0], to_size[1] / from_size[1]])
    return ((np.asarray(xy, dtype=np.float64) + 0.5) * factor - 0.5).astype(np.float32)


@dataclass(frozen=True)
class PinholeCamera:
    """A rectified camera. fx, fy, cx, cy in pixels (pixel centres at integers); width, height in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        values = np.array([self.fx, self.fy, self.cx, self.cy, self.width, self.height], dtype=float)
        if not np.isfinite(values).all() or self.fx <= 0 or self.fy <= 0 or self.width < 1 or self.height < 1:
            raise ValueError(f"{self}: focal lengths and image size must be positive and finite; is the camera calibrated?")

    def scaled(self, width: int, height: int) -> PinholeCamera:
        """The same camera for images resized to width x height (pixel centres at integers, so half a pixel enters)."""
        sx, sy = width / self.width, height / self.height
        return PinholeCamera(self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5, width, height)

    def project(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) metres in the optical frame to (N, 2) pixels; NaN where a point is not in front of the camera."""
        points = np.asarray(points)
        z = np.where(points[:, 2] > 1e-6, points[:, 2], np.nan)
        return np.stack([self.fx * points[:, 0] / z + self.cx, self.fy * points[:, 1] / z + self.cy], axis=1)

    def lift(self, xy: np.ndarray, depth_m: np.ndarray) -> np.ndarray:
        """(N, 2) pixels and (N,) metres along z to (N, 3) metres in the optical frame."""
        return np.stack([(xy[:, 0] - self.cx) / self.fx * depth_m, (xy[:, 1] - self.cy) / self.fy * depth_m, depth_m], axis=1)
