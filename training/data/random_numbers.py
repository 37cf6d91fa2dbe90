"""Random numbers from a torch.Generator. They are drawn on the generator's device.

The first dimension of every draw is the batch. Where several processes share a batch, each gives its Share in place of the generator:
numbers for the whole batch are drawn, and its rows returned. So the pairs do not depend on the number of processes.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Share:
    """Rows start to stop of a batch of `total`, drawn from a generator."""

    generator: torch.Generator
    total: int
    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop <= self.total:
            raise ValueError(f"rows {self.start} to {self.stop} are no part of a batch of {self.total}")

    def __len__(self) -> int:
        return self.stop - self.start


Source = torch.Generator | Share


def seeded(device: torch.device | str, *key: int) -> torch.Generator:
    """A generator that depends on all numbers of the key alone; keys that differ in any of them give unrelated draws."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1
    return torch.Generator(device).manual_seed(seed)


def uniform(source: Source, low: float, high: float, *shape: int) -> torch.Tensor:
    """Uniform in low to high, float32."""
    return low + (high - low) * _drawn(torch.rand, source, shape)


def symmetric(source: Source, bound: float, *shape: int) -> torch.Tensor:
    """Uniform within +-bound, float32."""
    return uniform(source, -bound, bound, *shape)


def normal(source: Source, *shape: int) -> torch.Tensor:
    """Standard normal, float32."""
    return _drawn(torch.randn, source, shape)


def _drawn(draw, source: Source, shape: tuple[int, ...]) -> torch.Tensor:
    if isinstance(source, torch.Generator):
        return draw(shape, generator=source, device=source.device)
    if shape[0] != len(source):
        raise ValueError(f"{shape[0]} rows were asked of a share of {len(source)}")
    whole = draw((source.total, *shape[1:]), generator=source.generator, device=source.generator.device)
    return whole[source.start:source.stop]
