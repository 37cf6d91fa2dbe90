"""Pictures: keypoints, and matches coloured by their flow."""
from __future__ import annotations

import cv2
import numpy as np

from ..sixteen_bit import to_eight_bit
from ..types import Features, Matches

SUBPIXEL_BITS = 4
MOST_LINES = 150            # between two pictures; dots mark all matches
DROPPED = (60, 60, 60)      # BGR of matches that verification dropped


def as_bgr(image: np.ndarray) -> np.ndarray:
    """A BGR uint8 copy of an image as DALF takes it."""
    image = to_eight_bit(image)
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(image[:, :, :3]).copy()


def _fixed_point(xy: np.ndarray) -> list[tuple[int, int]]:
    scaled = np.round(np.asarray(xy, float) * (1 << SUBPIXEL_BITS)).astype(int)
    return [(int(x), int(y)) for x, y in scaled]


def _dots(picture: np.ndarray, xy: np.ndarray, colors: np.ndarray, radius: float) -> None:
    for centre, color in zip(_fixed_point(xy), colors):
        cv2.circle(picture, centre, round(radius * (1 << SUBPIXEL_BITS)), tuple(int(c) for c in color), -1, cv2.LINE_AA, SUBPIXEL_BITS)


def flow_colors(reference_xy: np.ndarray, query_xy: np.ndarray) -> np.ndarray:
    """(M, 3) uint8 BGR: hue is the direction of each match's movement relative to the median one, saturation its length.

    Neighbours that move together share a colour; a wrong match stands out. Differences of under 1 % of the keypoints' extent, such as the
    noise of a mere shift, fade to white.
    """
    flow = np.asarray(query_xy, float) - np.asarray(reference_xy, float)
    if len(flow) == 0:
        return np.zeros((0, 3), np.uint8)
    flow = flow - np.median(flow, axis=0)
    length = np.linalg.norm(flow, axis=1)
    hue = (np.arctan2(flow[:, 1], flow[:, 0]) / (2 * np.pi) % 1.0) * 180
    saturation = 90 + 165 * np.clip(length / max(np.percentile(length, 90), 1e-9), 0, 1)
    saturation *= np.clip(length / max(0.01 * float(np.hypot(*np.ptp(reference_xy, axis=0))), 1e-9), 0, 1)
    hsv = np.stack([hue, saturation, np.full_like(hue, 255)], axis=1)
    return cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8)[:, None], cv2.COLOR_HSV2BGR)[:, 0]


def draw_keypoints(image: np.ndarray, features: Features) -> np.ndarray:
    """The image (BGR) with its keypoints, from blue (weak) to red (strong)."""
    picture = as_bgr(image)
    if len(features):
        strength = features.scores / max(float(features.scores.max()), 1e-9)
        colors = cv2.applyColorMap((strength.clip(0, 1) * 255).astype(np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0]
        _dots(picture, features.keypoints, colors, max(1.5, min(picture.shape[:2]) / 300))
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

    Of many matches 150 get a line, spread over the picture; dots mark all.
    """
    canvas, kept = beside(reference_image, image), np.asarray(kept, bool)
    start, end = np.asarray(start), np.asarray(end)
    colors = np.tile(np.array(DROPPED, np.uint8), (len(start), 1))
    colors[kept] = flow_colors(start[kept], end[kept])
    end = end + [reference_image.shape[1], 0]
    for index in [*_spread(start, ~kept), *_spread(start, kept)]:
        a, b = _fixed_point(np.stack([start[index], end[index]]))
        cv2.line(canvas, a, b, tuple(int(c) for c in colors[index]), 1, cv2.LINE_AA, SUBPIXEL_BITS)
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


def write_text(picture: np.ndarray, text: str, line: int = 0) -> np.ndarray:
    """White text on a dark band at the top of the picture, in place."""
    top = 16 * line
    picture[top:top + 16] = picture[top:top + 16] // 3
    cv2.putText(picture, text, (4, top + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return picture
