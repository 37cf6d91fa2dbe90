"""Masks of an object that nobody else makes: selected once, by a pixel or a rule, then where the followed surface is."""
from __future__ import annotations

import cv2
import numpy as np

from ..camera import PinholeCamera, rescale_pixels
from ..lens import Lens
from ..matching.prediction import Prediction
from ..templates.auto_selection import find_object
from ..templates.selection import select_object

MARGIN = 0.08               # of the surface's extent in the image: so far beyond it is searched
LEAST_MARGIN = 6            # pixels


def selected_mask(depth_m: np.ndarray, image: np.ndarray, at: tuple[float, float] | str, lens: Lens, *, near_m: float,
                  far_m: float) -> np.ndarray:
    """(H, W) uint8, 255 on the object at a pixel of an image (H, W, 3) or (H, W), or on the one that a rule of find_object() finds.

    depth_m: (h, w) metres, on the image's pixels, at any resolution. lens: of the colour camera. Raises SelectionError.
    """
    size, whole = (depth_m.shape[1], depth_m.shape[0]), (image.shape[1], image.shape[0])
    lens = lens.scaled(*size)
    picture = image if size == whole else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    depth, picture = lens.rectify_depth(depth_m), lens.rectify_image(picture)
    if isinstance(at, str):
        found = find_object(depth, lens.camera, at, picture, near_m=near_m, far_m=far_m)
    else:
        x, y = lens.undistort(rescale_pixels(np.array([at], float), whole, size))[0]
        found = select_object(depth, lens.camera, (float(x), float(y)), picture, near_m=near_m, far_m=far_m,
                              told=f"pixel ({at[0]:g}, {at[1]:g})")
    mask = found.mask.astype(np.uint8) * 255
    if not lens.is_pinhole:         # back to the image as it came
        grid = np.stack(np.meshgrid(np.arange(size[0], dtype=float), np.arange(size[1], dtype=float)), axis=-1)
        places = lens.undistort(grid.reshape(-1, 2)).reshape(*grid.shape).astype(np.float32)
        mask = cv2.remap(mask, places[..., 0], places[..., 1], cv2.INTER_NEAREST)
    return cv2.resize(mask, whole, interpolation=cv2.INTER_NEAREST)


def followed_mask(vertices: np.ndarray, triangles: np.ndarray, camera: PinholeCamera, lens: Lens,
                  size: tuple[int, int]) -> np.ndarray | None:
    """(H, W) uint8, 255 where a surface is, with a margin around it; None where the camera does not see it.

    vertices: (V, 3) metres, camera optical frame. triangles: (F, 3). camera: of the frames; lens: of the image, of `size` (width, height).
    """
    pixels = rescale_pixels(camera.project(vertices), (camera.width, camera.height), size)
    seen = np.isfinite(pixels).all(axis=1)
    pixels[seen] = lens.scaled(*size).distort(pixels[seen])
    corners = pixels[triangles]
    corners = corners[np.isfinite(corners).all(axis=(1, 2)) & (np.abs(corners) < 1e4).all(axis=(1, 2))]
    mask = np.zeros((size[1], size[0]), np.uint8)
    for corner in np.rint(corners).astype(np.int32):
        cv2.fillConvexPoly(mask, corner, 255)
    return _with_margin(mask)


def predicted_mask(prediction: Prediction, size: tuple[int, int]) -> np.ndarray | None:
    """(H, W) uint8, 255 where the keypoints of a followed surface are foreseen (their hull), with a margin around it; None where fewer than
    three are seen. size: (width, height) of the image, which the prediction is in pixels of.
    """
    pixels = prediction.xy[prediction.visible & np.isfinite(prediction.xy).all(axis=1) & (np.abs(prediction.xy) < 1e4).all(axis=1)]
    if len(pixels) < 3:
        return None
    mask = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(pixels).astype(np.int32)), 255)
    return _with_margin(mask)


def _with_margin(mask: np.ndarray) -> np.ndarray | None:
    """The mask, grown; None where it is empty."""
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    reach = max(LEAST_MARGIN, round(MARGIN * max(width, height)))
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
