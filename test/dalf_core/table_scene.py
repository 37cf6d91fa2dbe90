"""Objects on a table, as depth in closed form."""
from __future__ import annotations

import numpy as np

from dalf_core.camera import PinholeCamera

CAMERA = PinholeCamera(300.0, 300.0, 159.5, 119.5, 320, 240)
NORMAL = np.array([0.0, -np.cos(0.6), -np.sin(0.6)])      # of the table, seen at some 35 degrees; 0.5 m below the camera's axis at 0.8 m
FOOT_POINT = np.array([0.0, 0.1, 0.8])
MOUND, BALL = (170.0, 130.0), (60.0, 110.0)       # pixels of the table that they stand on


def scene(noise_m: float = 0.001) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Depth, picture, and true masks of two halves of ellipsoids: a flat mound, and a tall one, the ball."""
    x, y = np.meshgrid(np.arange(320.0), np.arange(240.0))
    rays = np.stack([(x - CAMERA.cx) / CAMERA.fx, (y - CAMERA.cy) / CAMERA.fy, np.ones_like(x)], axis=-1)
    depth = np.asarray((NORMAL @ FOOT_POINT) / (rays @ NORMAL))
    table = depth.copy()
    along, across = np.array([1.0, 0, 0]), np.cross(NORMAL, [1.0, 0, 0])
    masks = {}
    for name, pixel, half in (("mound", MOUND, (0.10, 0.08, 0.06)), ("ball", BALL, (0.05, 0.05, 0.10))):
        centre = rays[int(pixel[1]), int(pixel[0])] * table[int(pixel[1]), int(pixel[0])]
        axes = np.stack([along / half[0], across / half[1], NORMAL / half[2]])
        direction, origin = rays @ axes.T, -axes @ centre
        a, b, c = (direction**2).sum(-1), (direction * origin).sum(-1), (origin**2).sum() - 1
        with np.errstate(invalid="ignore"):
            z = (-b - np.sqrt(b * b - a * c)) / a
        masks[name] = np.isfinite(z) & (z < depth)
        depth = np.where(masks[name], z, depth)
    image = np.full((240, 320, 3), (90, 140, 170), np.uint8)
    image[masks["mound"]] = (60, 40, 200)
    image[masks["ball"]] = (200, 80, 40)
    rng = np.random.default_rng(0)
    image = (image + rng.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8)
    depth = depth + rng.normal(0, noise_m, depth.shape)
    depth[rng.random(depth.shape) < 0.02] = np.nan
    return depth.astype(np.float32), image, masks


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    return float((a & b).sum() / (a | b).sum())


def middle(mask: np.ndarray) -> tuple[float, float]:
    """The pixel in the middle of a mask."""
    rows, columns = np.nonzero(mask)
    return float(columns.mean()), float(rows.mean())
