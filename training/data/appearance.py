"""Change of light and camera: exposure, gamma, colour, a smooth light field, a cast shadow, blur and noise. Nothing moves.

kornia.augmentation has most of these, but draws from PyTorch's global generator: pairs would change with how a batch is divided.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d

from .difficulty import LightRange, light_range
from .random_numbers import normal, symmetric, uniform

LIGHT_GRID = (3, 4)         # values of the light field, rows and columns
SHADOW_EDGE = 0.15          # width of a shadow's soft edge, in half the image


def change_appearance(images: torch.Tensor, difficulty: float | LightRange, generator: torch.Generator) -> torch.Tensor:
    """Images (B, C, H, W) in 0 to 1 as another camera would see them under other light; each its own way.

    The draws are made on the generator's device. ValueError: a difficulty out of range.
    """
    bounds = light_range(difficulty)
    batch, channels = images.shape[:2]

    def octaves(bound: float, *shape: int) -> torch.Tensor:
        return torch.exp2(symmetric(generator, bound, *shape)).to(images)

    images = images.clamp(0, 1) ** octaves(bounds.gamma, batch, 1, 1, 1)
    images = images * octaves(bounds.exposure, batch, 1, 1, 1) * octaves(bounds.colour, batch, channels, 1, 1)
    images = images * torch.exp2(_light_field(images, bounds.light, generator))
    images = images * (1 - _shadow(images, bounds.shadow, generator))
    images = _blurred(images, uniform(generator, 0, bounds.blur, batch).to(images), bounds.blur)
    deviation = uniform(generator, 0, bounds.noise, batch, 1, 1, 1)
    return (images + (deviation * normal(generator, *images.shape)).to(images)).clamp(0, 1)


def _light_field(images: torch.Tensor, bound: float, generator: torch.Generator) -> torch.Tensor:
    """(B, 1, H, W) octaves, smooth."""
    coarse = symmetric(generator, bound, len(images), 1, *LIGHT_GRID).to(images)
    return F.interpolate(coarse, size=images.shape[-2:], mode="bicubic", align_corners=True)


def _shadow(images: torch.Tensor, bound: float, generator: torch.Generator) -> torch.Tensor:
    """(B, 1, H, W) share of light that is missing on the dark side of a random line with a soft edge."""
    batch, height, width = len(images), *images.shape[-2:]
    angle, offset, depth = (value.to(images)[:, None, None] for value in
                            (symmetric(generator, torch.pi, batch), symmetric(generator, 0.8, batch), uniform(generator, 0, bound, batch)))
    y = torch.linspace(-1, 1, height, dtype=images.dtype, device=images.device)[:, None]
    x = torch.linspace(-1, 1, width, dtype=images.dtype, device=images.device)
    across = x * torch.cos(angle) + y * torch.sin(angle) - offset
    return (depth * torch.sigmoid(across * (4 / SHADOW_EDGE)))[:, None]


def _blurred(images: torch.Tensor, deviation: torch.Tensor, most: float) -> torch.Tensor:
    """Gaussian blur, one standard deviation an image (B,), pixels, at most `most`."""
    size = 2 * int(3 * most + 0.5) + 1
    if size == 1:
        return images
    return gaussian_blur2d(images, size, deviation.clamp_min(1e-3)[:, None].expand(-1, 2), border_type="reflect")
