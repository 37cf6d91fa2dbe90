"""2D registration of a deforming surface: a smooth map from a template image into another image, fitted to verified matches.

The map is a thin-plate spline: of all maps that pass as near to the matches, the one that bends least (Duchon 1977; Wahba,
"Spline Models for Observational Data", 1990). kornia's spline passes through every match exactly, wrong ones and noise included;
SciPy's has a smoothing term for each match, which makes it robust here. Pixel centres are at integers throughout.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator, make_interp_spline
from scipy.spatial import cKDTree

MIN_MATCHES = 6             # an affine map takes 3; fewer than twice that cannot contradict one another
SMOOTHING = 0.5             # of the squared spacing of the matches: the map follows bends of about one spacing and more
REWEIGHTINGS = 3
LEAST_SCATTER = 0.25        # pixels: keypoints are not placed more precisely than that
OUTLIER = 3.0               # times the usual residual: there a match counts a quarter
MAX_CONTROL_POINTS = 400    # the fit costs the cube of it; more predicted left-out matches no better on a real clip
LEAST_SPREAD = 0.02         # of the matches, across over along: less is a line
MAP_STEP = 6                # pixels between the points at which the spline itself is evaluated
REACH = (0.06, 0.12)        # of the template's diagonal, least and most: half the width of a gap between matches that is taken as seen
REACH_SPACINGS = 2.0        # that half width in spacings of the matches, between these bounds
MARGIN = 0.25               # of the reach: how far the seen part goes beyond the outermost matches
COMPANY = 2                 # other matches within the reach of one that counts as support


class ImageWarpError(ValueError):
    """The matches do not determine a map; the message says why."""


@dataclass(frozen=True)
class ImageWarp:
    """A smooth map of template pixels to image pixels, and the part of the template where matches support it.

    template_size, image_size: (width, height), pixels.
    template_xy, image_xy: (M, 2) float64, the matches it was fitted to, pixels. weight: (M,) 0 to 1, how far each was believed.
    reach: pixels, see `support`.
    """

    template_size: tuple[int, int]
    image_size: tuple[int, int]
    template_xy: np.ndarray
    image_xy: np.ndarray
    weight: np.ndarray
    reach: float
    spline: RBFInterpolator = field(repr=False)

    @property
    def inlier(self) -> np.ndarray:
        """(M,) bool, the matches that the map agrees with."""
        return self.weight >= 0.25

    def image_positions(self, template_xy: np.ndarray) -> np.ndarray:
        """Where template pixels (N, 2) lie in the image: (N, 2) float64. Beyond the matches the map goes on nearly straight."""
        xy = np.asarray(template_xy, float)
        if xy.ndim != 2 or xy.shape[1] != 2 or not np.isfinite(xy).all():
            raise ValueError(f"template_xy must be (N, 2) and finite, not {xy.shape}")
        return self.spline(xy) if len(xy) else xy

    @cached_property
    def image_map(self) -> np.ndarray:
        """(H, W, 2) float32, `image_positions` of every template pixel, to less than 0.1 px: cubic splines between points 6 px apart."""
        width, height = self.template_size
        x, y = _knots(width), _knots(height)
        coarse = self.spline(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).reshape(len(y), len(x), 2)
        across, down = _interpolation_matrix(x, width), _interpolation_matrix(y, height)
        return np.stack([down @ coarse[:, :, axis].astype(np.float32) @ across.T for axis in (0, 1)], axis=-1)

    @cached_property
    def support(self) -> np.ndarray:
        """(H, W) bool: template pixels that are seen, as far as the matches tell.

        Among matches (gaps up to twice `reach` are closed) or just beside them, where the map does not fold over and stays in the image.
        A match without two others within `reach` supports nothing.
        """
        near = _grown(self._match_dots(), self.reach)
        seen = ~_grown(~near, self.reach * (1 - MARGIN))
        map_x, map_y = self.image_map[..., 0], self.image_map[..., 1]
        # not NumPy's comparison with integers: half a pixel around the outermost centres still belongs to the image
        within = (map_x > -0.5) & (map_x < self.image_size[0] - 0.5) & (map_y > -0.5) & (map_y < self.image_size[1] - 0.5)
        return seen & within & (jacobian_determinant(self.image_map) > 0)

    def _match_dots(self) -> np.ndarray:
        """(H, W) bool: the template pixels of the matches that have company."""
        width, height = self.template_size
        xy = self.template_xy[self.inlier]
        company = [len(others) > COMPANY for others in cKDTree(xy).query_ball_point(xy, self.reach)]
        column, row = np.rint(xy[company]).astype(int).T
        inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
        dots = np.zeros((height, width), bool)
        dots[row[inside], column[inside]] = True
        return dots


def fit_image_warp(template_xy: np.ndarray, image_xy: np.ndarray, template_size: tuple[int, int], image_size: tuple[int, int], *,
                   smoothing: float = SMOOTHING, reach: float | None = None) -> ImageWarp:
    """The smooth map that verified matches describe; those that disagree with their neighbours lose their say.

    template_xy, image_xy: (M, 2) pixels, row by row the same point. template_size, image_size: (width, height), pixels.
    smoothing: of the squared spacing of the matches; 0 passes through all of them. reach: pixels, see ImageWarp.support.
    ImageWarpError: fewer than 6 matches, or matches on a line. ValueError: shapes that differ, NaN, sizes or bounds that cannot be.
    """
    template_xy, image_xy = _checked(template_xy, image_xy)
    if min(*template_size, *image_size) < 1:
        raise ValueError(f"sizes must be positive (width, height), not {template_size} and {image_size}")
    if not (np.isfinite(smoothing) and smoothing >= 0) or not (reach is None or (np.isfinite(reach) and reach > 0)):
        raise ValueError(f"smoothing must be at least 0 and reach positive, not {smoothing} and {reach}")
    control = _control_points(len(template_xy))
    source, target = template_xy[control], image_xy[control]
    spacing = np.sqrt(cv2.contourArea(cv2.convexHull(source.astype(np.float32))) / len(source))
    penalty = smoothing * spacing ** 2
    weight = np.ones(len(source))
    for _ in range(REWEIGHTINGS):
        spline = _spline(source, target, penalty / weight)
        weight = _belief(np.linalg.norm(spline(source) - target, axis=1))
    spline = _spline(source, target, penalty / weight)
    weight = _belief(np.linalg.norm(spline(template_xy) - image_xy, axis=1))
    if reach is None:
        least, most = np.array(REACH) * np.hypot(*template_size)
        reach = float(np.clip(REACH_SPACINGS * spacing, least, most))
    (width, height), (image_width, image_height) = template_size, image_size
    return ImageWarp((width, height), (image_width, image_height), template_xy, image_xy, weight, float(reach), spline)


def warp_to_template(image: np.ndarray, warp: ImageWarp, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """The image as the template sees it: resampled to the template's pixels, black where the map leaves the image.

    image: HxW or HxWxC of warp.image_size, any type that cv2.remap takes. Use warp.support for the part that is to be trusted.
    """
    if image.ndim not in (2, 3) or (image.shape[1], image.shape[0]) != warp.image_size:
        raise ValueError(f"image is of shape {image.shape}, but the warp was fitted for {warp.image_size[0]}x{warp.image_size[1]} pixels")
    return cv2.remap(image, warp.image_map, None, interpolation, borderMode=cv2.BORDER_CONSTANT)


def jacobian_determinant(image_map: np.ndarray) -> np.ndarray:
    """(H, W) float32: how many image pixels each template pixel covers; zero or less where the map (H, W, 2) folds over."""
    down, across = np.gradient(image_map, axis=0), np.gradient(image_map, axis=1)
    return across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]


def _checked(template_xy: np.ndarray, image_xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    template_xy, image_xy = np.asarray(template_xy, float), np.asarray(image_xy, float)
    if template_xy.shape != image_xy.shape or template_xy.ndim != 2 or template_xy.shape[1] != 2:
        raise ValueError(f"template_xy and image_xy must both be (M, 2), not {template_xy.shape} and {image_xy.shape}")
    if not (np.isfinite(template_xy).all() and np.isfinite(image_xy).all()):
        raise ValueError("the matches hold NaN or infinity")
    if len(template_xy) < MIN_MATCHES:
        raise ImageWarpError(f"{len(template_xy)} matches do not determine a map; at least {MIN_MATCHES} are needed")
    along, across = np.linalg.svd(template_xy - template_xy.mean(axis=0), compute_uv=False)
    if across <= LEAST_SPREAD * along:
        raise ImageWarpError("the matches lie on a line: they do not determine a map of the plane")
    return template_xy, image_xy


def _control_points(count: int) -> np.ndarray:
    """Which matches the spline is fitted to: all, or an even choice in their order."""
    return np.unique(np.linspace(0, count - 1, min(count, MAX_CONTROL_POINTS)).astype(int))


def _spline(source: np.ndarray, target: np.ndarray, smoothing: np.ndarray) -> RBFInterpolator:
    return RBFInterpolator(source, target, kernel="thin_plate_spline", smoothing=smoothing)


def _belief(residual: np.ndarray) -> np.ndarray:
    """Geman and McClure's weights of residuals (M,), scaled by their median."""
    scale = OUTLIER * max(1.4826 * float(np.median(residual)), LEAST_SCATTER)
    return np.maximum(1 / (1 + (residual / scale) ** 2) ** 2, 1e-6)


def _grown(mask: np.ndarray, radius: float) -> np.ndarray:
    """(H, W) bool: pixels at most `radius` pixels from one of the mask (H, W) bool."""
    if not mask.any():
        return mask
    free = (~mask).astype(np.uint8)
    return cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= radius


def _knots(length: int) -> np.ndarray:
    """Positions, at most MAP_STEP apart and at least four, from the first pixel centre of a side to the last or just beyond."""
    last = max(length - 1, 1)
    return np.linspace(0.0, last, max(4, -(-last // MAP_STEP) + 1))


def _interpolation_matrix(knots: np.ndarray, length: int) -> np.ndarray:
    """(length, K) float32: times values at the knots gives their cubic spline at every pixel."""
    return make_interp_spline(knots, np.eye(len(knots)), k=3)(np.arange(length)).astype(np.float32)
