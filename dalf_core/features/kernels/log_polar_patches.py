"""The light network's patches, read and normalised in one pass. PyTorch's way (light_network.LightPatches) is the reference."""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...compiled import njit
from ..light_network import FAR_STEP, LightPatches

EPSILON = np.float32(1e-5)          # of the norm, nn.InstanceNorm2d's
_ONE = np.float32(1.0)


class NormalisedPatches(nn.Module):
    """Stands in for LightPatches: gray (1, 1, H, W) and pixels xy (N, 2) to patches (N, 1, 32, 16) of zero mean and unit variance."""

    def __init__(self, patches: LightPatches) -> None:
        super().__init__()
        self._near, self._far = patches.near.numpy(), patches.far.numpy() / FAR_STEP
        self._shape = patches.shape

    def forward(self, gray: torch.Tensor, xy: torch.Tensor) -> torch.Tensor:
        angles, radii = self._shape
        coarse = F.avg_pool2d(gray, FAR_STEP)
        halves = np.empty((2, len(xy), self._near.shape[1]), np.float32)
        _read(gray[0, 0].contiguous().numpy(), xy.contiguous().numpy(), self._near, halves[0])
        _read(coarse[0, 0].contiguous().numpy(), ((xy - (FAR_STEP - 1) / 2) / FAR_STEP).numpy(), self._far, halves[1])
        out = torch.empty((len(xy), 1, angles, radii))
        _join(halves, out.numpy().reshape(len(xy), angles, 2, radii // 2))
        return out


@njit(fastmath={"reassoc", "contract", "arcp"})
def _read(image, xy, offsets, out):
    """image (H, W) at xy (N, 2) + offsets (2, P): out (N, P) float32. Bilinear; beyond the image it is zero."""
    height, width = image.shape
    pixels = image.reshape(height * width)
    left, right = offsets[0].min(), offsets[0].max()
    top, bottom = offsets[1].min(), offsets[1].max()
    count = offsets.shape[1]
    place, u, v = np.empty(count, np.int32), np.empty(count, np.float32), np.empty(count, np.float32)
    for n in range(len(xy)):
        x, y = xy[n]
        if not (x + left >= 0 and y + top >= 0 and x + right < width - 1.01 and y + bottom < height - 1.01):
            for k in range(count):
                out[n, k] = _at(image, x + offsets[0, k], y + offsets[1, k])
            continue
        for k in range(count):
            at_x, at_y = x + offsets[0, k], y + offsets[1, k]
            column, row = np.int32(at_x), np.int32(at_y)
            u[k], v[k] = at_x - np.float32(column), at_y - np.float32(row)
            place[k] = row * np.int32(width) + column
        for k in range(count):
            first = np.uint32(place[k])
            second = np.uint32(place[k] + width)
            upper = pixels[first] + u[k] * (pixels[first + np.uint32(1)] - pixels[first])
            lower = pixels[second] + u[k] * (pixels[second + np.uint32(1)] - pixels[second])
            out[n, k] = upper + v[k] * (lower - upper)


@njit
def _at(image, x, y):
    """One sample near the rim."""
    height, width = image.shape
    column, row = int(np.floor(x)), int(np.floor(y))
    u, v = np.float32(x - column), np.float32(y - row)
    value = np.float32(0.0)
    for below in range(2):
        for right in range(2):
            if 0 <= row + below < height and 0 <= column + right < width:
                value += image[row + below, column + right] * (u if right else _ONE - u) * (v if below else _ONE - v)
    return value


@njit(fastmath={"reassoc", "contract", "arcp"})
def _join(halves, out):
    """halves: (2, N, P) of near and far samples. out: (N, A, 2, P / A) float32, each of zero mean and unit variance."""
    _, angles, _, radii = out.shape
    count = np.float32(halves.shape[2] * 2)
    for n in range(len(out)):
        total = squares = np.float32(0.0)
        for half in range(2):
            for k in range(halves.shape[2]):
                total += halves[half, n, k]
        mean = total / count
        for half in range(2):
            for k in range(halves.shape[2]):
                halves[half, n, k] -= mean
                squares += halves[half, n, k] * halves[half, n, k]
        scale = _ONE / np.sqrt(squares / count + EPSILON)
        for a in range(angles):
            for half in range(2):
                for k in range(radii):
                    out[n, a, half, k] = halves[half, n, a * radii + k] * scale
