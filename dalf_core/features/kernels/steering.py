"""The light network's patch descriptor behind its convolutions, in one pass. PyTorch's way (LightPatchDescriptor) is the reference."""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...compiled import njit
from ..light_network import HARMONICS, LightPatchDescriptor

KINDS = 3 * HARMONICS - 2           # numbers of a channel: the mean; of each harmonic both steered parts and the size


class CompiledPatchDescriptor(nn.Module):
    """Stands in for LightPatchDescriptor. rows: (N, 1, 32, 16) to (N, 8, 64), what stands in for light_network.PatchRows."""

    def __init__(self, descriptor: LightPatchDescriptor, rows: nn.Module) -> None:
        super().__init__()
        self.rows = rows
        self._waves, self._direction = descriptor.waves.numpy(), descriptor.direction.weight[0].numpy()
        projection = descriptor.projection
        self._weight = projection.weight.unflatten(1, (-1, KINDS)).transpose(1, 2).flatten(1).contiguous()      # kinds before channels
        self._bias = projection.bias

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        rows = self.rows(patches)
        joined = torch.empty((len(rows), KINDS, rows.shape[2]))
        _steer(rows.numpy(), self._waves, self._direction, joined.numpy())
        return F.linear(joined.flatten(1), self._weight, self._bias)


@njit(fastmath={"reassoc", "contract", "arcp"})
def _steer(rows, waves, direction, joined):
    """rows: (N, A, C) by angle. waves: (2 H, A), real before imaginary. direction: (2 C,). joined: (N, 3 H - 2, C), as in
    LightPatchDescriptor.forward."""
    angles, channels = rows.shape[1:]
    count = HARMONICS
    found = np.empty((2 * count, channels), np.float32)
    cosine, sine = np.empty(count, np.float32), np.empty(count, np.float32)
    for n in range(len(rows)):
        for k in range(2 * count):
            found[k] = 0.0
            for a in range(angles):
                wave = waves[k, a]
                for c in range(channels):
                    found[k, c] += wave * rows[n, a, c]
        x = y = np.float32(0.0)
        for c in range(channels):
            x += found[1, c] * direction[c] - found[count + 1, c] * direction[channels + c]
            y += found[1, c] * direction[channels + c] + found[count + 1, c] * direction[c]
        length = np.sqrt(x * x + y * y + np.float32(1e-8))
        cosine[1], sine[1] = x / length, y / length
        for h in range(2, count):
            cosine[h] = cosine[h - 1] * cosine[1] - sine[h - 1] * sine[1]
            sine[h] = sine[h - 1] * cosine[1] + cosine[h - 1] * sine[1]
        joined[n, 0] = found[0]
        for h in range(1, count):
            for c in range(channels):
                real, imaginary = found[h, c], found[count + h, c]
                joined[n, h, c] = real * cosine[h] + imaginary * sine[h]
                joined[n, count - 1 + h, c] = imaginary * cosine[h] - real * sine[h]
                joined[n, 2 * count - 2 + h, c] = np.sqrt(real * real + imaginary * imaginary + np.float32(1e-6))
