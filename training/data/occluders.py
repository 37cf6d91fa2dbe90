"""Things in front of the surface: star-shaped blobs that show another picture."""
from __future__ import annotations

import math

import torch

from dalf_core.features.geometry import constant

from .random_numbers import Source, symmetric, uniform

SIZE = (0.08, 0.3)          # mean radius, in half the longer side of the image
WAVES = (2, 3, 5)           # around the outline, which modulate its radius
DEPTH = 0.25                # by up to this share, each


def random_blobs(batch: int, size: tuple[int, int], most: float, source: Source, device: torch.device) -> torch.Tensor:
    """Where blobs cover images of size (width, height): (B, h, w) bool. most: the largest number of blobs in an image, down to 0."""
    count = math.ceil(most)
    if count == 0:
        return torch.zeros(batch, size[1], size[0], dtype=torch.bool, device=device)
    half = max(size) / 2
    used = torch.arange(count, device=device) < uniform(source, 0, most + 1, batch, 1).floor().to(device)
    radius = torch.where(used, uniform(source, *SIZE, batch, count).to(device), 0.0)
    middle = symmetric(source, 1.0, batch, count, 2).to(device) * (constant(size, radius) / max(size))
    depth = uniform(source, 0, DEPTH, batch, count, len(WAVES)).to(device)
    phase = symmetric(source, math.pi, batch, count, len(WAVES)).to(device)
    x = ((torch.arange(size[0], device=device) - (size[0] - 1) / 2) / half)[None, None, None, :] - middle[..., 0, None, None]
    y = ((torch.arange(size[1], device=device) - (size[1] - 1) / 2) / half)[None, None, :, None] - middle[..., 1, None, None]
    angle = torch.atan2(y, x)
    outline = torch.ones_like(angle)
    for index, waves in enumerate(WAVES):
        outline = outline + depth[..., index, None, None] * torch.cos(waves * angle + phase[..., index, None, None])
    return (x.square() + y.square() < (radius[..., None, None] * outline).square()).any(dim=1)
