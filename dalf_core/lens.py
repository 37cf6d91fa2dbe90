"""A camera with lens distortion, and the way from its pixels to those of a pinhole camera, behind which everything else works.

Models and coefficients are those of sensor_msgs/CameraInfo, which are OpenCV's: plumb_bob (Brown 1971), rational_polynomial
(Claus and Fitzgibbon 2005, as OpenCV has it), equidistant (Kannala and Brandt 2006). Pixel centres are at integers throughout.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .camera import PinholeCamera
from .depth import is_reading, jump_slope

PINHOLE, PLUMB_BOB, RATIONAL_POLYNOMIAL, EQUIDISTANT = "pinhole", "plumb_bob", "rational_polynomial", "equidistant"
_BROWN = (4, 5, 8, 12, 14)      # k1 k2 p1 p2, k3, k4 k5 k6, s1 to s4, tilt: the rest is 0
COEFFICIENTS = {PINHOLE: (0,), PLUMB_BOB: _BROWN, RATIONAL_POLYNOMIAL: _BROWN, EQUIDISTANT: (4,)}
_STOP = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 100, 1e-4)       # iterations, pixels
_ROUND_TRIP_PX = 0.05          # beyond it the model has no inverse at that pixel


@dataclass(frozen=True)
class Lens:
    """A camera whose lens bends straight lines. Resampled to `camera`, its images and pixels are a pinhole camera's.

    camera: its matrix K; also the pinhole camera that the images are resampled to (what lies beyond that image's border is lost).
    model: one of COEFFICIENTS. coefficients: the model's, in the order of CameraInfo's D. Raises ValueError on others.
    """

    camera: PinholeCamera
    model: str = PINHOLE
    coefficients: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.model not in COEFFICIENTS:
            raise ValueError(f"distortion model {self.model!r} is not known ({', '.join(COEFFICIENTS)} are); use rectified images")
        if len(self.coefficients) not in COEFFICIENTS[self.model] or not np.isfinite(self.coefficients).all():
            raise ValueError(f"distortion model {self.model} takes {' or '.join(map(str, COEFFICIENTS[self.model]))} finite coefficients, "
                             f"not {list(self.coefficients)}")

    @property
    def is_pinhole(self) -> bool:
        """Nothing is to be undone."""
        return self.model == PINHOLE

    def scaled(self, width: int, height: int) -> Lens:
        """The same camera for images resized to width x height; the coefficients do not depend on the resolution."""
        return Lens(self.camera.scaled(width, height), self.model, self.coefficients)

    def undistort(self, xy: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) of the lens's image in the pinhole image: (N, 2) float64; NaN where the model has no inverse."""
        xy = np.asarray(xy, np.float64).reshape(-1, 2)
        if self.is_pinhole or not len(xy):
            return xy
        k, d = _matrix(self.camera), np.array(self.coefficients)
        plain = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)        # OpenCV 4's name of the one that takes criteria
        undo = cv2.fisheye.undistortPoints if self.model == EQUIDISTANT else plain
        found = undo(xy[:, None], k, d, R=np.eye(3), P=k, criteria=_STOP).reshape(-1, 2)
        found[~(np.abs(found) < 1e6).all(axis=1)] = np.nan
        error = np.linalg.norm(self.distort(found) - xy, axis=1)
        found[~(error < _ROUND_TRIP_PX)] = np.nan
        return found

    def distort(self, xy: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) of the pinhole image in the lens's image: (N, 2) float64."""
        xy = np.asarray(xy, np.float64).reshape(-1, 2)
        if self.is_pinhole or not len(xy):
            return xy
        rays = self.camera.lift(xy, np.ones(len(xy)))
        k, d, none = _matrix(self.camera), np.array(self.coefficients), np.zeros(3)
        if self.model == EQUIDISTANT:
            return cv2.fisheye.projectPoints(rays[:, None], none, none, k, d)[0].reshape(-1, 2)
        return cv2.projectPoints(rays, none, none, k, d)[0].reshape(-1, 2)

    def rectify_image(self, image: np.ndarray) -> np.ndarray:
        """An image (HxW or HxWxC, of any resolution) as the pinhole camera of that resolution sees it; black where the lens did not."""
        return image if self.is_pinhole else cv2.remap(image, _map(self._of(image)), None, cv2.INTER_LINEAR)

    def rectify_mask(self, mask: np.ndarray) -> np.ndarray:
        """As rectify_image, values kept as they are; 0 where the lens did not see."""
        return mask if self.is_pinhole else cv2.remap(np.asarray(mask).astype(np.uint8), _map(self._of(mask)), None, cv2.INTER_NEAREST)

    def rectify_depth(self, depth_m: np.ndarray) -> np.ndarray:
        """Depth (HxW float32 metres along the optical axis, NaN or 0 = none) as the pinhole camera sees it, NaN = none.

        Inverse depth, in which a plane is linear, is interpolated between the four readings around a place; where one is missing, or
        across a depth jump, the nearest reading is taken: no depth arises between two surfaces.
        """
        if self.is_pinhole:
            return depth_m
        lens = self._of(depth_m)
        places = _map(lens)
        inverse = np.divide(1, depth_m, out=np.zeros(depth_m.shape, np.float32), where=is_reading(depth_m), casting="same_kind")
        nearest = cv2.remap(inverse, places, None, cv2.INTER_NEAREST)
        between = cv2.remap(inverse, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        step = cv2.morphologyEx(inverse, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))       # over two pixels; large beside a missing one
        smooth = (nearest > 0) & (cv2.remap(step, places, None, cv2.INTER_NEAREST) <= 2 * jump_slope(lens.camera) * nearest)
        with np.errstate(divide="ignore"):
            depth = 1 / np.where(smooth, between, nearest)
        depth[~np.isfinite(depth)] = np.nan
        return depth

    def _of(self, image: np.ndarray) -> Lens:
        height, width = np.asarray(image).shape[:2]
        return self if (width, height) == (self.camera.width, self.camera.height) else self.scaled(width, height)


def _matrix(camera: PinholeCamera) -> np.ndarray:
    return np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])


@lru_cache(maxsize=4)
def _map(lens: Lens) -> np.ndarray:
    """(H, W, 2) float32: where the lens's image has each pixel of the pinhole image; far outside where it has none."""
    x, y = np.meshgrid(np.arange(lens.camera.width), np.arange(lens.camera.height))
    pinhole = np.stack([x, y], axis=-1).reshape(-1, 2).astype(float)
    places = lens.distort(pinhole)
    # beyond the angle up to which it was calibrated a polynomial turns back, and shows a part of the image a second time
    again = lens.undistort(places)
    places[~(np.linalg.norm(again - pinhole, axis=1) < 1)] = -1e6
    return places.reshape(lens.camera.height, lens.camera.width, 2).astype(np.float32)
