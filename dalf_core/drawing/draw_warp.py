"""Pictures of a 2D registration: the template's grid as it lies in the image, and the image as the template sees it."""
from __future__ import annotations

import cv2
import numpy as np

from ..image_registration.image_warp import ImageWarp, warp_to_template
from .draw import SUBPIXEL_BITS, as_bgr

GRID_CELLS = 16             # along the template's longer side
GRID_COLOR = (80, 255, 255)     # BGR
UNSUPPORTED = 0.25          # brightness left where no match supports the map


def draw_deformation_grid(image: np.ndarray, warp: ImageWarp, cells: int = GRID_CELLS,
                          color: tuple[int, int, int] = GRID_COLOR) -> np.ndarray:
    """The image (BGR) with the template's square grid drawn where the map takes it; only the part that matches support.

    image: HxW or HxWx3 of warp.image_size. cells: squares along the template's longer side.
    """
    picture = as_bgr(image)
    if (picture.shape[1], picture.shape[0]) != warp.image_size:
        raise ValueError(f"image is {picture.shape[1]}x{picture.shape[0]} pixels, but the warp was fitted for {warp.image_size}")
    for positions, seen in _grid_lines(warp, cells):
        for run in np.split(np.arange(len(seen)), np.flatnonzero(np.diff(seen.astype(int))) + 1):
            if seen[run[0]] and len(run) > 1:
                points = np.rint(positions[run] * (1 << SUBPIXEL_BITS)).astype(np.int32)
                cv2.polylines(picture, [points[:, None]], False, color, 1, cv2.LINE_AA, SUBPIXEL_BITS)
    return picture


def draw_registered(image: np.ndarray, warp: ImageWarp) -> np.ndarray:
    """The image as the template sees it (BGR, the template's size), darkened where no match supports the map."""
    picture = warp_to_template(as_bgr(image), warp)
    picture[~warp.support] = (picture[~warp.support] * UNSUPPORTED).astype(np.uint8)
    return picture


def _grid_lines(warp: ImageWarp, cells: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each line of the grid: its positions in the image (P, 2), pixel by pixel, and which of them are supported (P,)."""
    width, height = warp.template_size
    spacing = max(width, height) / cells
    columns = np.rint(np.arange(spacing / 2, width, spacing)).astype(int).clip(0, width - 1)
    rows = np.rint(np.arange(spacing / 2, height, spacing)).astype(int).clip(0, height - 1)
    return [(warp.image_map[:, x], warp.support[:, x]) for x in columns] + [(warp.image_map[y], warp.support[y]) for y in rows]
