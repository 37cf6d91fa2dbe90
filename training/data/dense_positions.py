"""Where all pixels of an image come from under a warp, fast: its smooth part is interpolated, its folds are exact.

Bending and homography are evaluated every few pixels, in homogeneous coordinates, and interpolated by cubic convolution (Keys 1981,
a = -1/2) as two matrix products. That is off by some thousandths of a pixel, which is good for pictures; correspondences are computed
by Warp.source_positions.
"""
from __future__ import annotations

from functools import lru_cache

import torch

from .warps import Warp

STEP = 4            # pixels between the places of evaluation


def dense_positions(warp: Warp, samples: int) -> torch.Tensor:
    """The places in A of samples x samples places in each pixel of B: (B, h * samples, w * samples, 2) pixels."""
    width, height = warp.size
    like = warp.homography
    rows, columns = (_weights(length, samples, like.dtype, like.device) for length in (height, width))
    y, x = torch.meshgrid(_nodes(height, like), _nodes(width, like), indexing="ij")
    bent = warp.bent(torch.stack([x, y], dim=-1).reshape(1, -1, 2))
    places = warp.homography[:, :, :2] @ bent.mT + warp.homography[:, :, 2:]
    places = places.reshape(len(warp), 3, len(y), -1)
    dense = (rows @ (places @ columns.T)).flatten(2)
    return warp.unfolded((dense[:, :2] / dense[:, 2:]).mT.contiguous()).reshape(len(warp), height * samples, width * samples, 2)


def _nodes(length: int, like: torch.Tensor) -> torch.Tensor:
    """Places of evaluation, two beyond what is asked for on either side."""
    return torch.arange(-2 * STEP, length + 2 * STEP, STEP, dtype=like.dtype, device=like.device)


@lru_cache(maxsize=32)
def _weights(length: int, samples: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(length * samples, nodes): the weight of each node for each place."""
    nodes = _nodes(length, torch.empty(0, dtype=torch.float64))
    places = (torch.arange(length * samples, dtype=torch.float64) + 0.5) / samples - 0.5
    t = (places[:, None] - nodes).abs() / STEP
    near = 1.5 * t ** 3 - 2.5 * t ** 2 + 1
    far = -0.5 * t ** 3 + 2.5 * t ** 2 - 4 * t + 2
    return torch.where(t < 1, near, torch.where(t < 2, far, 0.0)).to(device, dtype)
