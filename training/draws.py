"""Random numbers from a torch.Generator. They are drawn on the generator's device."""
from __future__ import annotations

import torch


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    """Uniform in low to high, float32."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def symmetric(generator: torch.Generator, bound: float, *shape: int) -> torch.Tensor:
    """Uniform within +-bound, float32."""
    return uniform(generator, -bound, bound, *shape)


def normal(generator: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard normal, float32."""
    return torch.randn(shape, generator=generator, device=generator.device)
