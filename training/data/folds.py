"""Pleats: along a crease the sheet is folded under itself, so that a strip of it is hidden.

Seen from the flat sheet, a strip around the crease is cut out and both sides are pulled together by half its width. The strip
may narrow along the crease and end, as pleats in cloth do. Several pleats follow one another; each is exact in closed form.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Folds:
    """A batch of up to F pleats each; a pleat of width 0 is none.

    normal: (B, F, 2) unit vectors across the creases. offset: (B, F), a crease is where normal . p = offset.
    width: (B, F) of the strip nearest to the origin. taper: (B, F), its relative growth along the crease, per unit.
    """

    normal: torch.Tensor
    offset: torch.Tensor
    width: torch.Tensor
    taper: torch.Tensor

    def unfold(self, points: torch.Tensor) -> torch.Tensor:
        """Where points (B, N, 2) of the folded sheet lie on the flat one."""
        for index in range(self.offset.shape[1]):
            normal, across, half = self._crease(points, index)
            points = points + torch.where(across > 0, half, -half)[..., None] * normal
        return points

    def fold(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where points (B, N, 2) of the flat sheet lie on the folded one, and which are hidden in a pleat (B, N)."""
        hidden = torch.zeros_like(points[..., 0], dtype=torch.bool)
        for index in reversed(range(self.offset.shape[1])):
            normal, across, half = self._crease(points, index)
            hidden |= across.abs() < half
            points = points - torch.where(across > 0, half, -half)[..., None] * normal
        return points, hidden

    def _crease(self, points: torch.Tensor, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Normal (B, 1, 2), distance of the points across the crease (B, N), half width of its strip beside them (B, N)."""
        normal = self.normal[:, None, index]
        across = (points * normal).sum(-1) - self.offset[:, index, None]
        along = points[..., 1] * normal[..., 0] - points[..., 0] * normal[..., 1]
        half = 0.5 * self.width[:, index, None] * (1 + self.taper[:, index, None] * along).clamp_min(0.0)
        return normal, across, half
