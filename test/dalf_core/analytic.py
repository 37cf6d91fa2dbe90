"""Analytic scenes with exact depth and exact correspondence: a flat sheet rolled onto a cylinder, which is an isometry."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalf_core.camera import PinholeCamera

CAMERA = PinholeCamera(260.0, 260.0, 159.5, 119.5, 320, 240)
DISTANCE = 0.7


@dataclass(frozen=True)
class RolledSheet:
    """The plane z = 0.7 m rolled about a vertical axis (radius in metres, inf = flat), then moved by R, shift.

    A point (u, v, 0.7) of the flat sheet is at move(u, v). |u| <= half_width, |v| <= half_height.
    """

    radius: float = np.inf
    R: np.ndarray | None = None
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    half_width: float = 0.18
    half_height: float = 0.13

    def move(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) on the flat sheet to (N, 3) now, metres."""
        u, v, h = points[:, 0], points[:, 1], points[:, 2] - DISTANCE
        if np.isinf(self.radius):
            rolled = np.stack([u, v, h], axis=1)
        else:
            angle, r = u / self.radius, self.radius - h
            rolled = np.stack([r * np.sin(angle), v, self.radius - r * np.cos(angle)], axis=1)
        R = np.eye(3) if self.R is None else self.R
        return rolled @ R.T + np.array([0, 0, DISTANCE]) + np.array(self.shift)

    def depth(self, camera: PinholeCamera = CAMERA) -> np.ndarray:
        """Exact depth image, metres; 0 off the sheet."""
        x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        rays = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones_like(x, float)], axis=-1).reshape(-1, 3)
        R = np.eye(3) if self.R is None else self.R
        origin = -(np.array([0, 0, DISTANCE]) + np.array(self.shift)) @ R      # camera centre in the sheet's own frame
        direction = rays @ R
        if np.isinf(self.radius):
            s = -origin[2] / direction[:, 2]
        else:                                                                   # near wall of x^2 + (z - r)^2 = r^2
            a = direction[:, 0] ** 2 + direction[:, 2] ** 2
            b = direction[:, 0] * origin[0] + direction[:, 2] * (origin[2] - self.radius)
            c = origin[0] ** 2 + (origin[2] - self.radius) ** 2 - self.radius**2
            with np.errstate(invalid="ignore"):
                s = (-b - np.sqrt(b * b - a * c)) / a
        hit = origin + s[:, None] * direction
        u = hit[:, 0] if np.isinf(self.radius) else self.radius * np.arctan2(hit[:, 0], self.radius - hit[:, 2])
        with np.errstate(invalid="ignore"):
            on = np.isfinite(s) & (s > 0) & (np.abs(u) <= self.half_width) & (np.abs(hit[:, 1]) <= self.half_height)
        return np.where(on, s, 0.0).reshape(camera.height, camera.width).astype(np.float32)

    def pairs(self, count: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Exact pixel correspondences, flat sheet to now, (count, 2) each."""
        rng = np.random.default_rng(seed)
        points = np.stack([rng.uniform(-0.9, 0.9, count) * self.half_width, rng.uniform(-0.9, 0.9, count) * self.half_height,
                           np.full(count, DISTANCE)], axis=1)
        return CAMERA.project(points), CAMERA.project(self.move(points))


def turn(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    """Rotation matrix about an axis."""
    k = np.array(axis) / np.linalg.norm(axis)
    K = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
    angle = np.deg2rad(degrees)
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K
