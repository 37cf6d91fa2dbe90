"""An image as another one sees it, and the way back: sub-pixel places in it to pixels of the original."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..image_registration.image_warp import ImageWarp, jacobian_determinant

LARGEST_SIDE = 32766        # pixels: cv2.remap counts in 16 bits
LEAST_AREA, MOST_AREA = 1 / 16, 16.0    # image pixels to a template pixel: seen smaller nothing is left, larger nothing was alike
NOTICEABLE = 1.2            # times finer the image must be before it is smoothed for its new resolution


@dataclass(frozen=True)
class Unwarped:
    """picture: the image resampled to the template's pixels, HxW or HxWxC, its rim repeated beyond its edges.
    covered: (H, W) bool, where the map stays in the image, on what is allowed of it, does not fold over and keeps the size within bounds.
    image_map: (H, W, 2) float32, image pixels of every template pixel: exactly what the picture was sampled by.
    """

    picture: np.ndarray
    covered: np.ndarray
    image_map: np.ndarray

    def to_image(self, xy: np.ndarray) -> np.ndarray:
        """Places (N, 2) in the picture, pixels, to pixels (N, 2) float32 of the image it was made of; bilinear in the map, not rounded."""
        height, width = self.covered.shape
        xy = np.asarray(xy, np.float64)
        corner = np.floor(xy).clip(0, [max(width - 2, 0), max(height - 2, 0)]).astype(int)
        (x, y), (u, v) = corner.T, (xy - corner).T[:, :, None]
        right, below = np.minimum(x + 1, width - 1), np.minimum(y + 1, height - 1)
        upper = self.image_map[y, x] * (1 - u) + self.image_map[y, right] * u
        lower = self.image_map[below, x] * (1 - u) + self.image_map[below, right] * u
        return (upper * (1 - v) + lower * v).astype(np.float32)

    def shown(self, image_xy: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """(N,) bool: image pixels (N, 2) that the covered part of the picture shows."""
        width, height = image_size
        x, y = np.rint(self.image_map[self.covered]).astype(int).T
        dots = np.zeros((height, width), np.uint8)
        dots[y.clip(0, height - 1), x.clip(0, width - 1)] = 1
        gap = int(np.ceil(np.sqrt(MOST_AREA))) + 1          # between neighbours' dots
        closed = cv2.morphologyEx(dots, cv2.MORPH_CLOSE, np.ones((2 * gap + 1, 2 * gap + 1), np.uint8))
        column, row = np.rint(image_xy).astype(int).T
        return closed[row.clip(0, height - 1), column.clip(0, width - 1)] > 0


def unwarp(image: np.ndarray, warp: ImageWarp, allowed: np.ndarray | None = None) -> Unwarped:
    """The image (HxW or HxWxC, of warp.image_size) as the template sees it; smoothed first if it is much finer than the template.

    allowed: (H, W) of the image, nonzero where it may be looked at.
    """
    image_map = warp.image_map
    width, height = warp.image_size
    area = jacobian_determinant(image_map)
    inside = (image_map >= 0).all(axis=2) & (image_map[..., 0] <= width - 1) & (image_map[..., 1] <= height - 1)
    covered = inside & (area > LEAST_AREA) & (area < MOST_AREA)
    if allowed is not None:
        covered &= cv2.remap((allowed != 0).astype(np.uint8), image_map, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT) > 0
    finer = float(np.sqrt(np.median(area[covered]))) if covered.any() else 1.0
    if finer > NOTICEABLE:
        image = cv2.GaussianBlur(image, (0, 0), 0.5 * np.sqrt(finer ** 2 - 1))
    picture = cv2.remap(image, image_map, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)      # linear loses keypoints
    if np.issubdtype(picture.dtype, np.floating):
        picture = picture.clip(image.min(), image.max())        # cubic interpolation overshoots
    return Unwarped(picture, covered, image_map)
