"""Smooth bending of the plane: a thin-plate spline u -> u + w(u) that is one to one.

w interpolates displacements at a fixed grid of control points (Bookstein 1989): w(u) = sum_t c_t U(|u - p_t|) + a + A u with
U(r) = r^2 log r. Wherever the spectral norm of its derivative stays below 1, no two points of a convex region meet, so the map
can be inverted by Newton's method. kornia's spline has neither that bound nor an inverse.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch

from .random_numbers import normal

CHECKED = (49, 37)              # places at which the stretch is bounded, and from which the inverse starts
NEWTON_STEPS = 12
AT_ONCE = 1 << 13               # points on the CPU: their kernel fits its cache, which is three times as fast
TINY = 1e-12                    # squared distance; keeps the logarithm finite on a control point


@dataclass(frozen=True)
class Bending:
    """A batch of bendings of the rectangle |x| <= extent[0], |y| <= extent[1].

    control: (T, 2) control points. coefficients: (B, T + 3, 2), of the kernel, then offset, x, y. extent: half width and half height.
    """

    control: torch.Tensor
    coefficients: torch.Tensor
    extent: tuple[float, float]

    def apply(self, points: torch.Tensor) -> torch.Tensor:
        """Points (B or 1, N, 2) bent: (B, N, 2)."""
        at_once = max(1, AT_ONCE // len(points)) if points.device.type == "cpu" else points.shape[1]
        return torch.cat([part + _basis(part, self.control) @ self.coefficients for part in points.split(max(1, at_once), dim=1)], dim=1)

    def invert(self, bent: torch.Tensor) -> torch.Tensor:
        """Points (B, N, 2) of the rectangle that apply() sends to bent (B, N, 2). Where there is none, the result is meaningless."""
        start = _grid(*CHECKED, self.extent, like=self.control)[None]
        nearest = torch.cdist(bent, self.apply(start)).argmin(dim=2)
        points = start[0][nearest]
        longest = max(self.extent) / 4
        for _ in range(NEWTON_STEPS):
            jacobian = self.derivative(points)
            jacobian.diagonal(dim1=-2, dim2=-1).add_(1.0)
            error = (bent - self.apply(points))[..., None]
            # 2x2 by Cramer: a singular place far outside the rectangle gives infinity, which the clamp makes finite
            a, b, c, d = jacobian.flatten(-2).unbind(-1)
            determinant = a * d - b * c
            x, y = error[..., 0, 0], error[..., 1, 0]
            step = torch.stack([d * x - b * y, a * y - c * x], dim=-1) / determinant[..., None]
            points = points + torch.nan_to_num(step).clamp(-longest, longest)
        return points

    def derivative(self, points: torch.Tensor) -> torch.Tensor:
        """dw_i/du_j at points (B or 1, N, 2): (B, N, 2, 2)."""
        difference = points[:, :, None] - self.control                                   # (., N, T, 2)
        slope = (difference.square().sum(-1).clamp_min(TINY).log() + 1)[..., None] * difference
        kernel, affine = self.coefficients[:, :-3], self.coefficients[:, -2:]
        return torch.einsum("bntj,bti->bnij", slope.expand(len(kernel), -1, -1, -1), kernel) + affine.mT[:, None]


def random_bending(extent: tuple[float, float], control_points: tuple[int, int], stretch: torch.Tensor,
                   generator: torch.Generator) -> Bending:
    """Bendings of a rectangle by a grid of control points (columns, rows), each displaced by itself.

    stretch: (B,) the largest stretch of each (spectral norm of dw/du). ValueError: it is not below 1.
    """
    if bool((stretch >= 1).any()):
        raise ValueError(f"a bending stretched by {float(stretch.max()):g} would overlap itself; keep the stretch below 1")
    columns, rows = control_points
    moved = normal(generator, len(stretch), columns * rows, 2)
    control = _grid(columns, rows, extent, like=moved)
    unscaled = Bending(control, _interpolant(control) @ moved, extent)
    steepest = spectral_norm(unscaled.derivative(_grid(*CHECKED, extent, like=moved)[None])).amax(dim=1)
    return Bending(control, unscaled.coefficients * (stretch / steepest)[:, None, None], extent)


def spectral_norm(matrix: torch.Tensor) -> torch.Tensor:
    """The largest singular value of 2x2 matrices (..., 2, 2), in closed form; a decomposition of each takes far longer."""
    a, b, c, d = matrix.flatten(-2).unbind(-1)
    return (torch.hypot(a + d, b - c) + torch.hypot(a - d, b + c)) / 2


def _basis(points: torch.Tensor, control: torch.Tensor) -> torch.Tensor:
    """(., N, T + 3): the kernel to each control point, then 1, x, y. r^2 log r is half of r^2 log r^2."""
    squared = (points[..., 0, None] - control[:, 0]).square() + (points[..., 1, None] - control[:, 1]).square()
    kernel = 0.5 * squared * squared.clamp_min(TINY).log()
    return torch.cat([kernel, torch.ones_like(points[..., :1]), points], dim=-1)


def _interpolant(control: torch.Tensor) -> torch.Tensor:
    """(T + 3, T): displacements at the control points to coefficients."""
    count = len(control)
    basis = _basis(control.double(), control.double())
    system = basis.new_zeros(count + 3, count + 3)
    system[:count] = basis
    system[count:, :count] = basis[:, count:].mT
    return torch.linalg.inv(system)[:, :count].to(control.dtype)


def _grid(columns: int, rows: int, extent: tuple[float, float], like: torch.Tensor) -> torch.Tensor:
    """(rows * columns, 2) points over the rectangle, row by row."""
    x = torch.linspace(-extent[0], extent[0], columns, dtype=like.dtype, device=like.device)
    y = torch.linspace(-extent[1], extent[1], rows, dtype=like.dtype, device=like.device)
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([grid_x, grid_y], dim=-1).reshape(-1, 2)
