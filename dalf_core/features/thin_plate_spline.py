"""Thin-plate splines in the reduced form that the warper network predicts, as one matrix product.

A spline with T control points c_t moves a point p by  [1, p] A + sum_t w_t U(|p - c_t|)  with  U(r) = r^2 log r.
The reduced form leaves w_0 out: the weights sum to zero, so w_0 = -(w_1 + ... + w_{T-1}).
"""
from __future__ import annotations

import torch

LOG_GUARD = 1e-6    # added inside the logarithm; the official weights were trained with it


def radial_kernel(points: torch.Tensor, control: torch.Tensor) -> torch.Tensor:
    """U(|p - c|) of every point (P, 2) and control point (T, 2): (P, T)."""
    distance = torch.cdist(points, control, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.square() * torch.log(distance + LOG_GUARD)


def reduced_basis(points: torch.Tensor, control: torch.Tensor) -> torch.Tensor:
    """The constant matrix (P, T + 2) whose product with parameters (T + 2, 2) is the displacement (P, 2) of every point.

    Rows of the parameters: w_1 .. w_{T-1}, then offset, x and y coefficients. points (P, 2) and control (T, 2) share one unit.
    """
    kernel = radial_kernel(points, control)
    return torch.cat([kernel[:, 1:] - kernel[:, :1], torch.ones_like(points[:, :1]), points], dim=1)
