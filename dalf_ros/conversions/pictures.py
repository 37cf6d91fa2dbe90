"""Small pictures for people: the motion of the matches, contact sheets."""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dalf_core.drawing.draw import as_bgr
from dalf_core.drawing.draw_motion import draw_kept
from dalf_core.drawing.palette import NEUTRAL
from dalf_core.drawing.panels import Entry, compose, legend_band
from dalf_core.tracking import FrameMatches

PER_CAPITAL = 32            # capitals in the width of a column


def draw_motion(image: np.ndarray, matches: FrameMatches | None, keypoints: np.ndarray | None = None,
                region: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """The image with its keypoints, and a line from where each match was in the reference; verified ones blue, others orange.

    region: x, y, width, height of a frame to draw.
    """
    picture = as_bgr(image)
    for x, y in _pixels(keypoints if keypoints is not None else np.empty((0, 2))):
        cv2.circle(picture, (x, y), 1, NEUTRAL, -1)
    if region is not None:
        x, y, width, height = region
        cv2.rectangle(picture, (x, y), (x + width - 1, y + height - 1), NEUTRAL, 1)
    if matches is None:
        return picture
    scale = np.array(matches.image_size, float) / np.maximum(matches.reference_image_size, 1)
    return draw_kept(picture, matches.reference_xy * scale, matches.query_xy, matches.matches.inlier)


def contact_sheet(rows: Sequence[Sequence[tuple[str, np.ndarray]]], legend: Sequence[Entry] = (), width: int = 480) -> np.ndarray:
    """Rows of titles and pictures as one picture, every column so many pixels wide, the legend below."""
    bands, capital = [], width // PER_CAPITAL
    for row in rows:
        cells = [cv2.resize(p, (width * _columns(p), round(p.shape[0] * width * _columns(p) / p.shape[1])), interpolation=cv2.INTER_AREA)
                 for _, p in row]
        bands.append(compose([cv2.copyMakeBorder(cell, 0, 4, 0, 4, cv2.BORDER_CONSTANT) for cell in cells],
                             [title for title, _ in row], capital=capital))
    whole = max(band.shape[1] for band in bands)
    sheet = [cv2.copyMakeBorder(band, 0, 0, 0, whole - band.shape[1], cv2.BORDER_CONSTANT) for band in bands]
    return np.vstack([*sheet, legend_band(legend, whole, capital)] if legend else sheet)


def _columns(picture: np.ndarray) -> int:
    """A pair of images side by side takes two columns."""
    return 2 if picture.shape[1] > 2.2 * picture.shape[0] else 1


def _pixels(xy: np.ndarray) -> list[tuple[int, int]]:
    return [tuple(point) for point in np.clip(np.rint(xy), -30000, 30000).astype(int).reshape(-1, 2).tolist()]
