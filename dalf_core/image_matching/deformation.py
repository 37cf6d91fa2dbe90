"""How far a map between two images turns, zooms, shears and bends what a patch shows, and whether that calls for another look."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..image_registration.image_warp import ImageWarp

HALF_PATCH = 16.0           # pixels: about half of what a descriptor looks at
STRONG = 0.25               # share of the places that must be moved by more than one of these bounds:
TURN = 8.0                  # degrees
ZOOM = 0.12                 # octaves
SHEAR = 0.15                # octaves between the directions of largest and smallest stretch
FLAT = 1e-3                 # determinant of a local map that shows no area any more
BEND = 0.15                 # relative change of the local map from one side of a patch to the other


@dataclass(frozen=True)
class Deformation:
    """Local affine parts of a map at N places.

    turn: (N,) degrees, 0 to 180. zoom: (N,) octaves, positive where the image shows the surface larger than the template. shear: (N,)
    octaves, the ratio of largest and smallest stretch; infinite where the map folds over. bend: (N,) relative change of the Jacobian
    from one side of a patch to the other.
    """

    turn: np.ndarray
    zoom: np.ndarray
    shear: np.ndarray
    bend: np.ndarray

    @property
    def is_strong(self) -> np.ndarray:
        """(N,) bool, places whose patch looks so different that another look pays."""
        return (self.turn > TURN) | (np.abs(self.zoom) > ZOOM) | (self.shear > SHEAR) | (self.bend > BEND)

    @property
    def calls_for_another_look(self) -> bool:
        """Whether enough of the places are moved strongly."""
        return bool(len(self.turn)) and float(self.is_strong.mean()) >= STRONG

    def __str__(self) -> str:
        """Medians, in words."""
        turn, zoom, shear, bend = (float(np.median(values)) for values in (self.turn, np.abs(self.zoom), self.shear, self.bend))
        return f"turned by {turn:.0f}°, zoomed by {2 ** zoom - 1:.0%}, sheared by {2 ** shear - 1:.0%}, bent by {bend:.0%}"


def deformation(warp: ImageWarp, xy: np.ndarray, unwarped_by: ImageWarp | None = None) -> Deformation:
    """What a map does at template pixels (N, 2); unwarped_by: what is left of that in an image that another map has unwarped."""
    xy = np.asarray(xy, float)
    around = [xy + HALF_PATCH * np.array(step) for step in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    right, left, below, above = (_jacobians(warp, at) if unwarped_by is None else _left(_jacobians(unwarped_by, at), _jacobians(warp, at))
                                 for at in around)
    jacobian = (right + left + below + above) / 4
    largest, smallest = np.linalg.svd(jacobian, compute_uv=False).T
    determinant = np.linalg.det(jacobian)
    turn = np.degrees(np.abs(np.arctan2(jacobian[:, 1, 0] - jacobian[:, 0, 1], jacobian[:, 0, 0] + jacobian[:, 1, 1])))
    size = np.maximum(np.sqrt(largest * smallest), 1e-9)
    change = np.maximum(np.linalg.norm(right - left, axis=(1, 2)), np.linalg.norm(below - above, axis=(1, 2)))
    shear = np.where(determinant > 0, np.log2(np.maximum(largest, 1e-9) / np.maximum(smallest, 1e-9)), np.inf)
    return Deformation(turn, np.log2(size), shear, change / size)


def _left(undone: np.ndarray, jacobians: np.ndarray) -> np.ndarray:
    """(N, 2, 2) each: what is left of local maps when others are undone first; zero where those are flat and cannot be."""
    flat = np.abs(np.linalg.det(undone)) < FLAT
    return np.where(flat[:, None, None], 0.0, np.linalg.solve(np.where(flat[:, None, None], np.eye(2), undone), jacobians))


def _jacobians(warp: ImageWarp, xy: np.ndarray, step: float = 1.0) -> np.ndarray:
    """(N, 2, 2) derivatives of the image position (rows) by the template's x and y (columns)."""
    x, y = np.array([step, 0.0]), np.array([0.0, step])
    stacked = warp.image_positions(np.concatenate([xy + x, xy - x, xy + y, xy - y])).reshape(4, len(xy), 2)
    return np.stack([stacked[0] - stacked[1], stacked[2] - stacked[3]], axis=2) / (2 * step)
