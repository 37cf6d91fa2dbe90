"""A part of a picture, enlarged: chosen once, so that the picture does not jump."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..camera import PinholeCamera
from .draw import as_bgr

MARGIN = 1.5            # the part's side over the object's: room for it to move
LEAST = 0.15            # of the picture's side: more enlarged there are only pixels to see


@dataclass(frozen=True)
class Zoom:
    """left, top, width, height: the part of pictures of `size`, shown on `shown` pixels. All pixels; sizes are (width, height)."""

    left: float
    top: float
    width: float
    height: float
    size: tuple[int, int]
    shown: tuple[int, int]

    @classmethod
    def around(cls, xy: np.ndarray, size: tuple[int, int], shown_width: int) -> Zoom:
        """The part around points (N, 2), of the picture's proportions and within it; the whole picture where no point is finite."""
        full = np.array(size, float)
        shown = (shown_width, max(2, round(shown_width * size[1] / size[0])))
        xy = np.asarray(xy, float).reshape(-1, 2)
        xy = xy[np.isfinite(xy).all(axis=1)].clip(0, full - 1)
        if not len(xy):
            return cls(0, 0, size[0], size[1], size, shown)
        share = float(np.clip(MARGIN * (np.ptp(xy, axis=0) / full).max(), LEAST, 1.0))
        part = share * full
        corner = ((xy.min(axis=0) + xy.max(axis=0)) / 2 + 0.5 - part / 2).clip(0, full - part)
        return cls(float(corner[0]), float(corner[1]), float(part[0]), float(part[1]), size, shown)

    def picture(self, image: np.ndarray) -> np.ndarray:
        """That part of an image of `size` (BGR), enlarged or reduced to `shown` pixels."""
        step = (self.width / self.shown[0], self.height / self.shown[1])
        if max(step) > 1:
            image = cv2.blur(image, tuple(max(1, round(s)) for s in step))
        back = np.array([[step[0], 0, self.left - 0.5 + step[0] / 2], [0, step[1], self.top - 0.5 + step[1] / 2]])
        how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(as_bgr(image), back, self.shown, flags=how, borderMode=cv2.BORDER_REPLICATE)

    def positions(self, xy: np.ndarray) -> np.ndarray:
        """(N, 2) pixels of the whole picture as pixels of the part (pixel centres at integers)."""
        scale = np.array(self.shown) / (self.width, self.height)
        return (np.asarray(xy, float).reshape(-1, 2) + 0.5 - (self.left, self.top)) * scale - 0.5

    def camera(self, camera: PinholeCamera) -> PinholeCamera:
        """The camera of the whole picture as the one that took the part."""
        scale = np.array(self.shown) / (self.width, self.height)
        cx, cy = self.positions(np.array([[camera.cx, camera.cy]]))[0].tolist()
        return PinholeCamera(camera.fx * float(scale[0]), camera.fy * float(scale[1]), cx, cy, *self.shown)
