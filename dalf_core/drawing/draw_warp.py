"""Pictures of a 2D registration: the template's grid as it lies in the image, and the image as the template sees it."""
from __future__ import annotations

import cv2
import numpy as np

from ..image_registration.image_warp import MARGIN, ImageWarp, warp_to_template
from .draw import SUBPIXEL_BITS, as_bgr
from .palette import GRID

GRID_CELLS = 20             # along the template's longer side
UNSUPPORTED = 0.25          # brightness left where no match supports the map
FEATHER = 0.4               # of the map's reach: how wide the edge between bright and dark is


def draw_deformation_grid(image: np.ndarray, warp: ImageWarp, cells: int = GRID_CELLS,
                          color: tuple[int, int, int] = GRID) -> np.ndarray:
    """The image (BGR) with the template's square grid drawn where the map takes it: whole cells among the matches, no loose ends.

    image: HxW or HxWx3 of warp.image_size. cells: squares along the template's longer side.
    """
    picture = as_bgr(image)
    if (picture.shape[1], picture.shape[0]) != warp.image_size:
        raise ValueError(f"image is {picture.shape[1]}x{picture.shape[0]} pixels, but the warp was fitted for {warp.image_size}")
    lines = [np.rint(line * (1 << SUBPIXEL_BITS)).astype(np.int32)[:, None] for line in _grid_lines(warp, cells)]
    cv2.polylines(picture, lines, False, color, max(1, round(picture.shape[0] / 480)), cv2.LINE_AA, SUBPIXEL_BITS)
    return picture


def draw_registered(image: np.ndarray, warp: ImageWarp) -> np.ndarray:
    """The image as the template sees it (BGR, the template's size), dark, with a soft edge, where no match supports the map."""
    inside = np.clip(0.5 + support_depth(warp) / (FEATHER * warp.reach), 0, 1)
    picture = warp_to_template(as_bgr(image), warp)
    return np.rint(picture * (UNSUPPORTED + (1 - UNSUPPORTED) * inside)[..., None]).astype(np.uint8)


def support_depth(warp: ImageWarp) -> np.ndarray:
    """(H, W) float32: how many pixels inside the supported part, negative outside of it.

    Its outline is rounded: matches are dots, and the union of what is near to them has lobes that mean nothing.
    """
    thinned = max(1, int(warp.reach / 8))       # a blur so wide needs no more pixels
    small = cv2.resize(warp.support.astype(np.float32), None, fx=1 / thinned, fy=1 / thinned, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), warp.reach / thinned, borderType=cv2.BORDER_REPLICATE)
    rounded = cv2.resize(blurred, warp.template_size, interpolation=cv2.INTER_LINEAR) > 0.5
    within, beyond = (cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for side in (rounded, ~rounded))
    return np.where(rounded, within - 0.5, 0.5 - beyond) if not rounded.all() else np.full(rounded.shape, np.inf, np.float32)


def _grid_lines(warp: ImageWarp, cells: int) -> list[np.ndarray]:
    """The sides of the grid's cells that are seen: positions in the image (P, 2), pixel by pixel, each side once.

    The support reaches a little beyond the outermost matches; the grid does not, since the surface may end there.
    """
    width, height = warp.template_size
    spacing = max(width, height) / cells
    columns = np.rint(np.arange(spacing / 2, width, spacing)).astype(int).clip(0, width - 1)
    rows = np.rint(np.arange(spacing / 2, height, spacing)).astype(int).clip(0, height - 1)
    seen = (support_depth(warp) >= MARGIN * warp.reach - 1) & warp.support
    sides: dict[tuple[int, int, int, int], np.ndarray] = {}
    for left, right in zip(columns, columns[1:]):
        for top, bottom in zip(rows, rows[1:]):
            around = ((left, top, right, top), (left, bottom, right, bottom), (left, top, left, bottom), (right, top, right, bottom))
            if all(seen[y0:y1 + 1, x0:x1 + 1].all() for x0, y0, x1, y1 in around):
                sides |= {side: warp.image_map[side[1]:side[3] + 1, side[0]:side[2] + 1].reshape(-1, 2) for side in around}
    return list(sides.values())
