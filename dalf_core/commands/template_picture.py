"""The picture that `template show` draws, with words."""
from __future__ import annotations

import cv2
import numpy as np

from ..drawing.draw import as_bgr, draw_keypoints
from ..drawing.palette import GRID, magnitude_legend
from ..drawing.panels import Entry, capital_height, compose
from ..templates.template import Template

NEAREST, FARTHEST = 255, 30     # of 255: how bright depth is; 0 is no reading
USUAL = (2, 98)                 # per cent of the object's depth readings that the colours tell apart

LEAST = 0.05                    # of the distance: less is not spread over all colours, noise would be all that is seen


def draw_template(template: Template) -> np.ndarray:
    """The picture with its keypoints and named points, dark outside the mask; with depth that beside it, near is bright. BGR."""
    picture = as_bgr(template.image)
    if template.mask is not None:
        picture[~template.mask] //= 3
    legend: list[Entry] = []
    if template.features is not None:
        picture = draw_keypoints(picture, template.features)
        legend += magnitude_legend("keypoint: weak", "strong")
    if template.points:
        _draw_points(picture, template)
        legend.append((GRID, "named point"))
    panels, titles = [picture], ["the picture" + ("" if template.mask is None else "; dark: no part of the template")]
    if template.depth_m is not None:
        low, high = _range(template)
        panels.append(_draw_depth(template, low, high))
        titles.append(f"depth: bright {low:.3f} m, dark {high:.3f} m; black: no reading")
    return compose(panels, titles, headline(template), legend, capital=capital_height(picture.shape[0]))


def headline(template: Template) -> str:
    """What it is, in a line."""
    words = [f"template {template.name}"]
    if template.features is not None:
        words.append(f"{len(template.features)} keypoints")
    words.append("no depth" if template.surface is None else f"surface of {len(template.surface.vertices)} vertices")
    return ", ".join(words)


def _range(template: Template) -> tuple[float, float]:
    """Metres, nearest and farthest, of the object where there is a mask, without a few outliers."""
    depth = template.depth_m
    assert depth is not None
    known = depth > 0
    if template.mask is not None:
        inside = known & (cv2.resize(template.mask.astype(np.uint8), depth.shape[::-1], interpolation=cv2.INTER_NEAREST) != 0)
        known = inside if inside.any() else known
    low, high = np.percentile(depth[known], USUAL).tolist()
    return low, max(high, (1 + LEAST) * low)


def _draw_depth(template: Template, low: float, high: float) -> np.ndarray:
    """In the size of the picture, black where there is no reading, dark outside the mask."""
    depth = template.depth_m
    assert depth is not None
    near = NEAREST - (NEAREST - FARTHEST) * ((depth - low) / (high - low)).clip(0, 1)
    colored = np.where(depth[..., None] > 0, cv2.applyColorMap(near.astype(np.uint8), cv2.COLORMAP_CIVIDIS), 0).astype(np.uint8)
    colored = cv2.resize(colored, template.image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    if template.mask is not None:
        colored[~template.mask] //= 3
    return colored


def _draw_points(picture: np.ndarray, template: Template) -> None:
    """A cross and the name of each, in place."""
    if template.camera is None:
        return
    height, width = picture.shape[:2]
    at = template.camera.scaled(width, height).project(np.array(list(template.points.values()), float).reshape(-1, 3))
    size = max(8, height // 40)
    for name, (x, y) in zip(template.points, np.rint(at).astype(int).tolist()):
        cv2.drawMarker(picture, (x, y), GRID, cv2.MARKER_CROSS, size, max(1, size // 6), cv2.LINE_AA)
        cv2.putText(picture, name, (x + size // 2, y - size // 2), cv2.FONT_HERSHEY_SIMPLEX, size / 24, GRID, 1, cv2.LINE_AA)
