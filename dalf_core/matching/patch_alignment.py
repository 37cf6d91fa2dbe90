"""Alignment of small patches: where exactly, near a predicted place, an image shows what a template shows.

Each patch is sampled through the local affine map of its surface, so that it looks as it did in the template's image; only a shift
remains, which inverse compositional Gauss-Newton finds (Baker and Matthews 2004) on patches of zero mean and unit contrast. What is
compared is always the template itself: nothing drifts, and the correlation tells whether the image still shows it.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ..compiled import njit
from .patch_sampling import HALF, SIDE, SIZE, packed, sample, sampling_room

LEVELS = 3                  # of the pyramid; the second one finds shifts of up to some ten pixels, the third one of twice as many
ITERATIONS = 8              # at most, a level
SETTLED_PX = 0.02           # a step below this is taken, and the last
EDGE = 1e-3                 # determinant of the Hessian over its squared trace: below it a patch shows an edge, and can slide along it
ASTRAY = 0.02               # fall of the correlation from one step to the next at which the search ends


@dataclass(frozen=True)
class PatchTemplates:
    """Patches around points of one image, ready to be found in others.

    values, gradient_x, gradient_y: (LEVELS, N, 17 * 17) float32 of unit contrast; inverse: (LEVELS, N, 3), the inverse of the 2x2 Hessian
    (xx, xy, yy). usable: (LEVELS, N) bool, whether the patch is textured and inside the image, on each level of the pyramid.
    """

    values: np.ndarray
    gradient_x: np.ndarray
    gradient_y: np.ndarray
    inverse: np.ndarray
    usable: np.ndarray

    def __len__(self) -> int:
        return self.usable.shape[1]

    def sharpest_first(self) -> np.ndarray:
        """(N,) int64, the patches in the order of how well they can be located: by the direction in which their Hessian is flattest.

        A patch without sharp detail correlates well some pixels beside its place too, and so stays wherever it is expected.
        """
        xx, xy, yy = self.inverse[0].T
        blur = 0.5 * (xx + yy) + np.sqrt((0.5 * (xx - yy)) ** 2 + xy**2)
        return np.argsort(np.where(self.usable[0], blur, np.inf), kind="stable")


@dataclass(frozen=True)
class Pyramid:
    """images: LEVELS of them, (H, W) uint8, each half the size of the one before; pixel (2x, 2y) lies on pixel (x, y) of the next."""

    images: tuple[np.ndarray, ...]

    @cached_property
    def packed(self) -> tuple[np.ndarray, ...]:
        """Of each image what patch_sampling.packed() makes of it."""
        return tuple(packed(image) for image in self.images)


def pyramid(gray: np.ndarray) -> Pyramid:
    """Of an image (H, W) uint8."""
    images = [np.ascontiguousarray(gray)]
    for _ in range(LEVELS - 1):
        images.append(cv2.pyrDown(images[-1]))
    return Pyramid(tuple(images))


def make_templates(levels: Pyramid, xy: np.ndarray) -> PatchTemplates:
    """Templates around points xy (N, 2) px of the image whose pyramid is given."""
    count = len(xy)
    values, gx, gy = (np.zeros((LEVELS, count, SIZE), np.float32) for _ in range(3))
    inverse, usable = np.zeros((LEVELS, count, 3), np.float32), np.zeros((LEVELS, count), bool)
    for level, four in enumerate(levels.packed):
        _make(four, np.asarray(xy, np.float32) / np.float32(2**level), values[level], gx[level], gy[level], inverse[level], usable[level])
    return PatchTemplates(values, gx, gy, inverse, usable)


def align(levels: Pyramid, templates: PatchTemplates, xy: np.ndarray, affine: np.ndarray,
          use: np.ndarray, coarsest: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Find templates in the image whose pyramid is given, from its level `coarsest` to its finest.

    xy: (N, 2) px, where each is expected. affine: (N, 2, 2), from offsets in the templates' image to offsets in this one. use: (N,) bool,
    those to look for. Returns the places (N, 2) float32 px and the correlations (N,) float32, -1 where there is none.
    """
    found, correlation = np.array(xy, np.float32), np.full(len(xy), -1, np.float32)
    affine = np.ascontiguousarray(affine, np.float32)
    use = use & templates.usable[0]
    for level in range(coarsest, -1, -1):
        _align(levels.packed[level], np.float32(2**level), templates.values[level], templates.gradient_x[level],
               templates.gradient_y[level], templates.inverse[level], affine, use & templates.usable[level], found, correlation)
    return found, correlation


@njit
def _make(four, xy, values, gx, gy, inverse, usable):
    """One level: sets the templates' arrays where there is texture."""
    room = sampling_room()
    straight = np.eye(2, dtype=np.float32)
    for n in range(len(xy)):
        if sample(four, xy[n, 0], xy[n, 1], straight, room, values[n]) == 0.0:
            continue
        xx = xyy = yy = 0.0
        for v in range(1, SIDE - 1):
            for u in range(1, SIDE - 1):
                k = v * SIDE + u
                gx[n, k] = np.float32(0.5) * (values[n, k + 1] - values[n, k - 1])
                gy[n, k] = np.float32(0.5) * (values[n, k + SIDE] - values[n, k - SIDE])
                xx += gx[n, k] * gx[n, k]
                xyy += gx[n, k] * gy[n, k]
                yy += gy[n, k] * gy[n, k]
        determinant = xx * yy - xyy * xyy
        if determinant < EDGE * (xx + yy) ** 2:
            continue
        usable[n] = True
        inverse[n, 0] = yy / determinant
        inverse[n, 1] = -xyy / determinant
        inverse[n, 2] = xx / determinant


@njit(fastmath={"reassoc", "contract", "arcp"})
def _align(four, scale, values, gx, gy, inverse, affine, use, found, correlation):
    """One level: shifts `found` (pixels of the whole image) and sets `correlation`."""
    room, patch = sampling_room(), np.empty(SIZE, np.float32)
    for n in range(len(found)):
        if not use[n]:
            continue
        a = affine[n]
        x = found[n, 0] / scale
        y = found[n, 1] / scale
        start_x = x
        start_y = y
        best = np.float32(-1.0)
        for _ in range(ITERATIONS):
            if sample(four, x, y, a, room, patch) == 0.0:
                best = np.float32(-1.0)
                break
            bx = by = dot = np.float32(0.0)
            for k in range(SIZE):
                error = patch[k] - values[n, k]
                bx += gx[n, k] * error
                by += gy[n, k] * error
                dot += patch[k] * values[n, k]
            dot /= np.float32(SIZE)
            if dot < best - np.float32(ASTRAY):
                break
            if dot > best:
                best = dot
                found[n, 0] = x * scale
                found[n, 1] = y * scale
            du = inverse[n, 0] * bx + inverse[n, 1] * by
            dv = inverse[n, 1] * bx + inverse[n, 2] * by
            x -= a[0, 0] * du + a[0, 1] * dv
            y -= a[1, 0] * du + a[1, 1] * dv
            if du * du + dv * dv < SETTLED_PX * SETTLED_PX:
                if dot == best:
                    found[n, 0] = x * scale
                    found[n, 1] = y * scale
                break
            if abs(x - start_x) + abs(y - start_y) > 2 * HALF:
                break
        correlation[n] = best
