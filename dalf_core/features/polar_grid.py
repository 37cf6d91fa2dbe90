"""Polar patches around keypoints: rows are angles, columns are radii. Bent by the warper's thin-plate spline.

Relative to its keypoint the grid is the same for every keypoint, so grid, control points and spline kernel are constants
and the bending of all patches is one matrix product.
"""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from .geometry import constant
from .thin_plate_spline import reduced_basis

PATCH_SIZE = 32                 # angles and radii
MAX_RADIUS = 32.0               # pixels; the outermost samples lie half a step inside
CONTROL_STEP = 4                # every fourth angle and radius is a control point: 8 x 8 of them
NORMALISED_SPAN = 0.3           # the grid fills this part of the unit square in which the spline lives


def polar_offsets(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """(32, 32, 2) x and y offsets of the unbent grid from its keypoint, pixels; [angle, radius]."""
    centre = (torch.arange(PATCH_SIZE, dtype=dtype) + 0.5) / PATCH_SIZE
    angle, radius = torch.meshgrid(centre * 2 * math.pi, centre * MAX_RADIUS, indexing="ij")
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)


class PolarGrid(nn.Module):
    """Constants of the polar grid: turns warper parameters into sampling offsets, and offsets into patches."""

    offsets: torch.Tensor
    basis: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        offsets = polar_offsets()
        extent = offsets.amax((0, 1)) - offsets.amin((0, 1))                 # pixels, the same along x and y
        unit = 0.5 + offsets / extent * NORMALISED_SPAN
        control = unit[::CONTROL_STEP, ::CONTROL_STEP].reshape(-1, 2)
        basis = reduced_basis(unit.reshape(-1, 2), control) * (extent[0] / NORMALISED_SPAN)
        self.register_buffer("offsets", offsets.reshape(-1, 2).t().contiguous().float(), persistent=False)
        self.register_buffer("basis", basis.float(), persistent=False)

    def forward(self, parameters: torch.Tensor) -> torch.Tensor:
        """Spline parameters (N, 66, 2) to offsets of the bent grid from its keypoint (N, 2, 1024), pixels."""
        bent = parameters.transpose(1, 2).flatten(0, 1) @ self.basis.t()        # one product for all, which is far quicker than many
        return self.offsets + bent.view(-1, 2, self.basis.shape[0])


def sample_patches(gray: torch.Tensor, positions: torch.Tensor, columns: int = PATCH_SIZE) -> torch.Tensor:
    """Read an image bilinearly at positions; beyond the image it is zero.

    gray: (1, 1, H, W). positions: (N, 2, 32 * columns) pixels, x then y, row by row, pixel centres at integers. Returns
    (N, 1, 32, columns). Of a batch (B, 1, H, W) each image is read by the next N / B of them.
    """
    height, width = gray.shape[-2:]
    grid = ((positions.transpose(1, 2) * 2 + 1) / constant((width, height), positions) - 1).reshape(gray.shape[0], -1, PATCH_SIZE, 2)
    patches = F.grid_sample(gray, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return patches.reshape(-1, 1, PATCH_SIZE, columns)
