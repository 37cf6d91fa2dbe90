"""How a bending surface maps the surroundings of each keypoint: an affine map fitted to the keypoints around it."""
from __future__ import annotations

import numpy as np

from ..compiled import njit

LEAST = 4                   # neighbours whose places are known, or there is no map
FLAT = 1e-3                 # determinant over squared trace of the neighbours' scatter: below it they lie on a line
LEAST_AREA, MOST_LENGTH = 0.15, 4.0     # of an affine map: patches seen flatter or larger cannot be compared


def local_maps(keypoints: np.ndarray, neighbours: np.ndarray, xy: np.ndarray,
               known: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least squares, around each keypoint, over those of its neighbours that are known.

    keypoints: (N, 2) float32 pixels of a view. neighbours: (N, K) int64, rows of keypoints, itself first. xy: (N, 2) float32 pixels of
    another image, known: (N,) bool. Returns where each keypoint is in that image (N, 2) float32, the affine maps (N, 2, 2) float32, and
    whether there is one (N,) bool; NaN and the identity where there is none.
    """
    count = len(keypoints)
    places, affine, fits = np.full((count, 2), np.nan, np.float32), np.zeros((count, 2, 2), np.float32), np.zeros(count, bool)
    _fit(keypoints, neighbours, np.ascontiguousarray(xy, np.float32), known, places, affine, fits)
    return places, affine, fits


def comparable(affine: np.ndarray) -> np.ndarray:
    """(N,) bool: which affine maps (N, 2, 2) leave enough of a patch to compare it with its template."""
    area = affine[:, 0, 0] * affine[:, 1, 1] - affine[:, 0, 1] * affine[:, 1, 0]
    return (area > LEAST_AREA) & (np.abs(affine).max(axis=(1, 2)) < MOST_LENGTH)


@njit
def _fit(keypoints, neighbours, xy, known, places, affine, fits):
    for n in range(len(keypoints)):
        affine[n, 0, 0] = affine[n, 1, 1] = 1.0
        count = 0
        mx = my = mu = mv = 0.0
        for k in neighbours[n]:
            if known[k]:
                count += 1
                mx += keypoints[k, 0]
                my += keypoints[k, 1]
                mu += xy[k, 0]
                mv += xy[k, 1]
        if count < LEAST:
            continue
        mx /= count
        my /= count
        mu /= count
        mv /= count
        xx = xxy = yy = xu = yu = xv = yv = 0.0
        for k in neighbours[n]:
            if known[k]:
                x = keypoints[k, 0] - mx
                y = keypoints[k, 1] - my
                u = xy[k, 0] - mu
                v = xy[k, 1] - mv
                xx += x * x
                xxy += x * y
                yy += y * y
                xu += x * u
                yu += y * u
                xv += x * v
                yv += y * v
        determinant = xx * yy - xxy * xxy
        if not determinant > FLAT * (xx + yy) ** 2:
            continue
        a = (yy * xu - xxy * yu) / determinant
        b = (xx * yu - xxy * xu) / determinant
        c = (yy * xv - xxy * yv) / determinant
        d = (xx * yv - xxy * xv) / determinant
        affine[n, 0, 0] = a
        affine[n, 0, 1] = b
        affine[n, 1, 0] = c
        affine[n, 1, 1] = d
        dx = keypoints[n, 0] - mx
        dy = keypoints[n, 1] - my
        places[n, 0] = mu + a * dx + b * dy
        places[n, 1] = mv + c * dx + d * dy
        fits[n] = True
