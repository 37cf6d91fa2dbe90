"""Pictures: keypoints, and matches coloured by their flow."""
from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from ..sixteen_bit import to_eight_bit
from ..types import Features, Matches
from .palette import DROPPED, GRID, direction_colors, magnitude_colors

SUBPIXEL_BITS = 4
MOST_LINES = 150            # between two pictures; dots mark all matches
OPACITY = 0.6               # of lines: what they cross stays in sight


def as_bgr(image: np.ndarray) -> np.ndarray:
    """A BGR uint8 copy of an image as DALF takes it."""
    image = to_eight_bit(image)
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(image[:, :, :3]).copy()


def _fixed_point(xy: np.ndarray) -> list[list[int]]:
    return np.round(np.asarray(xy, float) * (1 << SUBPIXEL_BITS)).astype(int).tolist()


def _dots(picture: np.ndarray, xy: np.ndarray, colors: np.ndarray, radius: float) -> None:
    size = round(radius * (1 << SUBPIXEL_BITS))
    for centre, color in zip(_fixed_point(xy), np.asarray(colors).tolist()):
        cv2.circle(picture, centre, size, color, -1, cv2.LINE_AA, SUBPIXEL_BITS)


def _lines(picture: np.ndarray, start: np.ndarray, end: np.ndarray, colors: np.ndarray, rows: Iterable[int]) -> None:
    """Those rows as lines from start to end (M, 2), half transparent, in place; wider in large pictures."""
    layer, thickness, chosen = picture.copy(), max(1, round(picture.shape[0] / 480)), np.array(rows, int)
    for a, b, color in zip(_fixed_point(start[chosen]), _fixed_point(end[chosen]), np.asarray(colors)[chosen].tolist()):
        cv2.line(layer, a, b, color, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    cv2.addWeighted(layer, OPACITY, picture, 1 - OPACITY, 0, dst=picture)


def flow_colors(reference_xy: np.ndarray, query_xy: np.ndarray) -> np.ndarray:
    """(M, 3) uint8 BGR: hue is the direction of each match's movement relative to the median one, paler where it is shorter.

    Neighbours that move together share a colour; a wrong match stands out. Differences of under 1 % of the keypoints' extent, such as the
    noise of a mere shift, fade to white.
    """
    flow = np.asarray(query_xy, float) - np.asarray(reference_xy, float)
    if len(flow) == 0:
        return np.zeros((0, 3), np.uint8)
    flow = flow - np.median(flow, axis=0)
    length = np.linalg.norm(flow, axis=1)
    strength = 0.35 + 0.65 * np.clip(length / max(np.percentile(length, 90), 1e-9), 0, 1)
    strength *= np.clip(length / max(0.01 * float(np.hypot(*np.ptp(reference_xy, axis=0))), 1e-9), 0, 1)
    return direction_colors(np.arctan2(flow[:, 1], flow[:, 0]), strength)


def draw_keypoints(image: np.ndarray, features: Features) -> np.ndarray:
    """The image (BGR) with its keypoints, from dark violet (weak) to yellow (strong)."""
    picture = as_bgr(image)
    if len(features):
        strength = features.scores / max(float(features.scores.max()), 1e-9)
        _dots(picture, features.keypoints, magnitude_colors(strength), max(1.5, min(picture.shape[:2]) / 300))
    return picture


def draw_matches(reference_image: np.ndarray, image: np.ndarray, reference: Features, features: Features, matches: Matches,
                 inlier: np.ndarray | None = None) -> np.ndarray:
    """Both images side by side (BGR), matches as lines coloured by their flow, dropped ones thin and grey below.

    inlier: (M,) bool, which matches to colour; matches.inlier if not given.
    """
    return draw_pairs(reference_image, image, reference.keypoints[matches.reference_index], features.keypoints[matches.query_index],
                      matches.inlier if inlier is None else inlier)


def draw_pairs(reference_image: np.ndarray, image: np.ndarray, start: np.ndarray, end: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """As draw_matches, of pixel pairs: start (M, 2) in the reference image, end (M, 2) in the image; kept (M,) bool, which to colour.

    Of many matches 150 get a line, half transparent, spread over the picture; dots mark all.
    """
    canvas, kept = beside(reference_image, image), np.asarray(kept, bool)
    start, end = np.asarray(start), np.asarray(end)
    colors = np.tile(np.array(DROPPED, np.uint8), (len(start), 1))
    colors[kept] = flow_colors(start[kept], end[kept])
    end = end + [reference_image.shape[1], 0]
    _lines(canvas, start, end, colors, [*_spread(start, ~kept), *_spread(start, kept)])
    radius = max(1.5, canvas.shape[0] / 300)
    _dots(canvas, start[kept], colors[kept], radius)
    _dots(canvas, end[kept], colors[kept], radius)
    return canvas


def _spread(xy: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Indices of at most MOST_LINES of the rows (M,) bool, spread over the picture: more lines hide it, and one another."""
    chosen = np.flatnonzero(rows)
    if len(chosen) <= MOST_LINES:
        return chosen
    band = np.argsort(np.argsort(xy[chosen, 1])) * round(np.sqrt(MOST_LINES)) // len(chosen)       # as many rows of matches as columns
    order = np.lexsort((xy[chosen, 0], band))
    return chosen[order[np.linspace(0, len(order) - 1, MOST_LINES).round().astype(int)]]


def beside(*pictures: np.ndarray) -> np.ndarray:
    """Pictures in a row (BGR), each at its size; black below the lower ones."""
    height = max(picture.shape[0] for picture in pictures)
    return np.hstack([cv2.copyMakeBorder(as_bgr(p), 0, height - p.shape[0], 0, 0, cv2.BORDER_CONSTANT) for p in pictures])


def draw_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image (BGR), dark where the mask (H, W) is 0, with the mask's outline."""
    picture, inside = as_bgr(image), np.asarray(mask) != 0
    picture[~inside] //= 3
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(picture, outlines, -1, GRID, max(1, round(min(picture.shape[:2]) / 240)))
