"""Random non-rigid warps with exact ground truth, batched, on any device.

Image B shows image A (a photo) bent, folded, tilted, turned and scaled. A warp is the *backward map*: for each place in B the place
in A that it shows, in closed form. Pixel centres are at integers in both. What a trainer needs:

    warp = random_warp(batch, (width, height), difficulty, generator)      # a Warp; difficulty: 0 to 3, or a WarpRange (difficulty.py)
    xy_a = warp.source_positions(xy_b)                                     # (B, N, 2) -> (B, N, 2)
    xy_b, visible = warp.find(xy_a)                                        # its inverse: (B, N, 2), and (B, N) bool
    images_b, mask = render(images_a, background, warp)                    # rendering.py; (B, C, H, W), and (B, H, W) bool: shows A
    images_b = change_appearance(images_b, difficulty, generator)          # appearance.py
    pairs = random_pairs(photos, backgrounds, size, difficulty, generator) # pairs.py: all of the above at once

Everything is drawn from the torch.Generator given and lives on its device (`warp.to(device, dtype)` moves it).
Two warps w1, w2 of one photo correspond by `w2.find(w1.source_positions(xy_1))`.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from dalf_core.features.geometry import constant

from .bending import Bending, random_bending
from .difficulty import WarpRange, warp_range
from .folds import Folds
from .random_numbers import symmetric, uniform

FINE_CONTROL, COARSE_CONTROL = (9, 7), (4, 3)       # control points of the two bendings, along x and y
COARSE_MARGIN = 1.2         # the coarse one reaches beyond the image, for the fine one moves points out of it
CAMERA_DISTANCE = 2.2       # of the tilted plane, in half the longer side: a field of view of 49 degrees
FOLD_REACH = 0.6            # creases pass within this of the middle
FOLD_TAPER = 1.0            # a pleat may end one unit from the foot of its perpendicular
FOUND = 0.02                # pixels: what find() returns leads back this near, or it is not visible


@dataclass(frozen=True)
class Warp:
    """A batch of warps from image B back to image A: fine bending, coarse bending, homography, folds.

    In between, places are relative to the image's middle, in half its longer side.
    size, source_size: (width, height) in pixels of images B and A. homography: (B, 3, 3).
    """

    size: tuple[int, int]
    source_size: tuple[int, int]
    fine: Bending
    coarse: Bending
    homography: torch.Tensor
    folds: Folds

    def __len__(self) -> int:
        return len(self.homography)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None, non_blocking: bool = False) -> Warp:
        """The same warps on another device, or in another precision. non_blocking: do not wait for what that device has to do."""
        def moved(part: object) -> object:
            if isinstance(part, Bending | Folds):
                return replace(part, **{name: moved(value) for name, value in vars(part).items()})
            return part.to(device=device, dtype=dtype, non_blocking=non_blocking) if isinstance(part, torch.Tensor) else part

        return replace(self, **{name: moved(part) for name, part in vars(self).items()})

    def source_positions(self, xy: torch.Tensor) -> torch.Tensor:
        """The places in A (B, N, 2) that places in B show; pixels. xy: (B, N, 2), or (1, N, 2) for the same places in all.

        They may lie outside A: there B shows its background.
        """
        return self.unfolded(_project(self.homography, self.bent(xy)))

    def bent(self, xy: torch.Tensor) -> torch.Tensor:
        """The smooth first part of source_positions: pixels of B to places (B, N, 2) that the homography takes on."""
        return self.coarse.apply(self.fine.apply(_to_units(xy.to(self.homography), self.size)))

    def unfolded(self, places: torch.Tensor) -> torch.Tensor:
        """The last part of source_positions: what the homography gave to pixels of A. (B, N, 2)."""
        return _to_pixels(self.folds.unfold(places), self.source_size)

    def find(self, xy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The places in B (B, N, 2) that show places in A, and whether they do (B, N) bool; pixels. xy: (B, N, 2).

        Not visible are places hidden in a fold, outside of B, and those given outside of A; their position has no meaning, but is finite.
        """
        xy = xy.to(self.homography)
        sheet, hidden = self.folds.fold(_to_units(xy, self.source_size))
        bent = _project(torch.linalg.inv(self.homography), sheet)
        found = _to_pixels(self.fine.invert(self.coarse.invert(bent)), self.size)
        error = (self.source_positions(found) - xy).norm(dim=-1)
        visible = ~hidden & (error < FOUND) & inside(found, self.size) & inside(xy, self.source_size)
        return torch.nan_to_num(found, 0.0, 0.0, 0.0), visible


def random_warp(batch: int, size: tuple[int, int], difficulty: float | WarpRange, generator: torch.Generator,
                source_size: tuple[int, int] | None = None) -> Warp:
    """So many random warps. size: (width, height) of image B; source_size: of image A, the same by default.

    Unzoomed, the longer sides of A and B correspond. ValueError: a difficulty out of range.
    """
    bounds = warp_range(difficulty)
    width, height = size
    extent = (width / max(size), height / max(size))
    beyond = (extent[0] * COARSE_MARGIN, extent[1] * COARSE_MARGIN)
    fine, coarse = (uniform(generator, bounds.bend / 2, bounds.bend, batch) for _ in range(2))
    return Warp(size, source_size or size, random_bending(extent, FINE_CONTROL, fine, generator),
                random_bending(beyond, COARSE_CONTROL, coarse, generator),
                _random_homography(batch, bounds, generator), _random_folds(batch, bounds, generator))


def inside(xy: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Whether places (..., 2) lie between the outermost pixel centres of an image (width, height)."""
    return (xy[..., 0] >= 0) & (xy[..., 0] <= size[0] - 1) & (xy[..., 1] >= 0) & (xy[..., 1] <= size[1] - 1)


def _random_homography(batch: int, bounds: WarpRange, generator: torch.Generator) -> torch.Tensor:
    """(B, 3, 3): seen through a tilted camera, turned, scaled, shifted."""
    tilt = torch.deg2rad(uniform(generator, 0, bounds.tilt, batch))
    axis = symmetric(generator, math.pi, batch)
    turn = torch.deg2rad(symmetric(generator, bounds.rotation, batch))
    scale = torch.exp2(symmetric(generator, bounds.zoom, batch))
    similarity = _turned(turn) * torch.stack([scale, scale, torch.ones_like(scale)], dim=1)[:, None]
    similarity[:, :2, 2] = symmetric(generator, bounds.shift, batch, 2)
    return similarity @ _turned(axis) @ _tilted(tilt) @ _turned(-axis)


def _tilted(tilt: torch.Tensor) -> torch.Tensor:
    """(B, 3, 3): where the ray through image point (x, y) meets a plane tilted by (B,) about the y axis, its middle CAMERA_DISTANCE away.

    Plane point (a, b) is seen at x = D a cos / (D + a sin), y = D b / (D + a sin); this is solved for a and b.
    """
    cosine, sine = torch.cos(tilt), torch.sin(tilt)
    matrix = torch.zeros(len(tilt), 3, 3, dtype=tilt.dtype, device=tilt.device)
    matrix[:, 0, 0] = 1 / cosine
    matrix[:, 1, 1] = matrix[:, 2, 2] = 1
    matrix[:, 2, 0] = -sine / (CAMERA_DISTANCE * cosine)
    return matrix


def _turned(angle: torch.Tensor) -> torch.Tensor:
    """(B, 3, 3) rotations by angle (B,), radians, from x to y."""
    matrix = torch.zeros(len(angle), 3, 3, dtype=angle.dtype, device=angle.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = torch.cos(angle)
    matrix[:, 1, 0] = torch.sin(angle)
    matrix[:, 0, 1] = -matrix[:, 1, 0]
    matrix[:, 2, 2] = 1
    return matrix


def _random_folds(batch: int, bounds: WarpRange, generator: torch.Generator) -> Folds:
    most = math.ceil(bounds.folds)
    angle = symmetric(generator, math.pi, batch, most)
    width = uniform(generator, bounds.fold_width / 2, bounds.fold_width, batch, most)
    count = uniform(generator, 0, bounds.folds + 1, batch, 1).floor()
    used = torch.arange(most, device=count.device) < count
    return Folds(torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1), symmetric(generator, FOLD_REACH, batch, most),
                 torch.where(used, width, 0.0), symmetric(generator, FOLD_TAPER, batch, most))


def _project(homography: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Points (B, N, 2) under homographies (B, 3, 3): (B, N, 2). kornia's transform_points adds 1e-8 to what it divides by."""
    moved = points @ homography[:, :, :2].mT + homography[:, None, :, 2]
    return moved[..., :2] / moved[..., 2:]


def _to_units(xy: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return (xy - _middle(xy, size)) / (max(size) / 2)


def _to_pixels(points: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return points * (max(size) / 2) + _middle(points, size)


def _middle(like: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return constant((size[0] - 1, size[1] - 1), like) / 2
