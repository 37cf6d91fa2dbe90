"""The outline of what the depth image shows. Outside it space is free, so that no part of the surface can be there."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..camera import PinholeCamera
from ..compiled import njit

MAX_WIDTH = 400         # pixels; a finer outline takes longer and is no better
HOLE = 0.04             # of the image's width: narrower gaps are missing readings, not free space


@dataclass(frozen=True)
class Outline:
    """For each pixel the nearest one that may show or hide the surface: place[label[y, x]].

    label: (H, W) int32. place: (L, 2) float32, x and y; NaN if there is no such pixel.
    """

    label: np.ndarray
    place: np.ndarray


def outline_camera(camera: PinholeCamera) -> PinholeCamera:
    """The camera of the outline: every n-th pixel of the depth camera."""
    step = _step(camera.width)
    return camera.scaled(-(-camera.width // step), -(-camera.height // step))


def nearest_surface(depth: np.ndarray, coarse: PinholeCamera, far_m: float) -> Outline:
    """The outline of everything in a depth image that may show or hide the surface.

    depth: clean depth image, metres, 0 = no reading. coarse: its outline_camera, which has the pixels of the result.
    far_m: what is farther than this is background.
    """
    step = _step(depth.shape[1])
    some = depth[::step, ::step]
    solid = ((some > 0) & (some < far_m)).astype(np.uint8)
    window = np.ones((2 * round(HOLE * coarse.width / 2) + 1,) * 2, np.uint8)       # odd, or it shifts the outline
    solid = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, window, borderType=cv2.BORDER_REPLICATE)
    _, label = cv2.distanceTransformWithLabels(1 - solid, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return Outline(label, _places(solid, label))


@njit
def _places(solid, label):
    place = np.full((label.max() + 1, 2), np.nan, np.float32)
    for y in range(solid.shape[0]):
        for x in range(solid.shape[1]):
            if solid[y, x]:
                place[label[y, x], 0], place[label[y, x], 1] = x, y
    return place


def _step(width: int) -> int:
    return -(-width // MAX_WIDTH)
