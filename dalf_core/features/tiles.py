"""The backbone over a large image, tile by tile: the same maps to rounding, in bounded memory.

At full and half resolution the backbone's inner maps are many times larger than the image. Here they are made a tile at a time:
a band of rows as wide as the image, with the rows around it that its convolutions see. Only the maps that a later stage needs whole
are kept whole.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

TILE_PIXELS = 1 << 17      # of a tile at its own resolution: 16 MiB a map of 32 channels
CUBIC_A = -0.75             # of PyTorch's bicubic kernel
_HALO = 2                   # rows that two padded 3x3 convolutions see beyond a tile; even, since pooling follows
_LOSS = 4                   # rows that two unpadded 3x3 convolutions lose

Layer = Callable[[torch.Tensor], torch.Tensor]


class Blocks(Protocol):
    """What is needed of a network.Backbone."""

    norm: nn.Module
    encoder: nn.ModuleList
    decoder: nn.ModuleList
    keypoint_head: nn.Module
    feature_head: nn.Module


class TiledBackbone:
    """A backbone's blocks, each run over tiles."""

    def __init__(self, backbone: Blocks) -> None:
        self._norm = backbone.norm
        self._dtype, self._head_dtype = (next(part.parameters()).dtype for part in (backbone.encoder, backbone.keypoint_head))
        self._encoder, self._decoder = backbone.encoder, backbone.decoder
        self._keypoint_head, self._feature_head = backbone.keypoint_head, backbone.feature_head

    def __call__(self, gray: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As Backbone.forward: gray (B, 1, H, W) to heatmap (B, 1, H, W) and features (B, 64, H//8, W//8)."""
        half = encode(self._encoder[0], self._norm(gray).to(self._dtype))
        quarter = encode(self._encoder[1], half)
        eighth = self._encoder[2](quarter)
        decoded = decode(self._decoder[0], eighth, quarter)
        del quarter
        decoded = decode(self._decoder[1], decoded, half)
        del half
        heatmap = detect(self._keypoint_head, decoded.to(self._head_dtype), (gray.shape[-2], gray.shape[-1]))
        return heatmap, self._feature_head(eighth).to(gray.dtype)


def tiles(height: int, width: int) -> Iterator[tuple[int, int]]:
    """First and last-but-one row of each tile; all begin at even rows."""
    rows = max(32, TILE_PIXELS // width // 2 * 2)
    for start in range(0, height, rows):
        yield start, min(start + rows, height)


def encode(block: Layer, x: torch.Tensor) -> torch.Tensor:
    """Two padded 3x3 convolutions and a pooling by two, over x (B, C, H, W)."""
    height, width = x.shape[-2:]
    parts = []
    for start, end in tiles(height // 2 * 2, width):
        first = max(start - _HALO, 0)
        # an odd last row is not pooled, but the convolutions see it
        last = height if end + _HALO >= height else end + _HALO
        pooled = block(x[:, :, first:last])
        parts.append(pooled[:, :, (start - first) // 2:(end - first) // 2])
    return torch.cat(parts, dim=2)


def decode(block: Layer, decoded: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """Stretch `decoded` to the size of `skip`, join them, and run two unpadded 3x3 convolutions."""
    height, width = skip.shape[-2:]
    parts = []
    for start, end in tiles(height - _LOSS, width):
        rows = slice(start, end + _LOSS)
        stretched = stretch(decoded, (height, width), rows, "bilinear")
        parts.append(block(torch.cat([stretched, skip[:, :, rows]], dim=1)))
    return torch.cat(parts, dim=2)


def detect(head: Layer, decoded: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Stretch `decoded` to the image's size (H, W) and run the keypoint head, which sees one row beyond a tile."""
    height, width = size
    parts = []
    for start, end in tiles(height, width):
        first, last = max(start - 1, 0), min(end + 1, height)
        response = head(stretch(decoded, size, slice(first, last), "bicubic"))
        parts.append(response[:, :, start - first:end - first])
    return torch.cat(parts, dim=2)


def stretch(x: torch.Tensor, size: tuple[int, int], rows: slice, mode: str) -> torch.Tensor:
    """Some rows of F.interpolate(x, size, mode=mode, align_corners=True). mode: "bilinear" or "bicubic"."""
    height, width = size
    source = torch.arange(rows.start, rows.stop, dtype=torch.float64) * ((x.shape[2] - 1) / (height - 1))
    below = source.floor()
    fraction = source - below
    taps = _linear(fraction) if mode == "bilinear" else _cubic(fraction)
    offsets = torch.arange(len(taps)) - (len(taps) // 2 - 1)
    index = (below.long()[None] + offsets[:, None]).clamp(0, x.shape[2] - 1)
    first, last = int(index.min()), int(index.max()) + 1
    wide = F.interpolate(x[:, :, first:last], size=(last - first, width), mode=mode, align_corners=True)
    weights = taps.to(x.device, x.dtype)[:, :, None]
    index = (index - first).to(x.device)
    result = wide[:, :, index[0]] * weights[0]
    for tap, row in zip(weights[1:], index[1:]):
        result.addcmul_(wide[:, :, row], tap)
    return result


def _linear(t: torch.Tensor) -> torch.Tensor:
    return torch.stack([1 - t, t])


def _cubic(t: torch.Tensor) -> torch.Tensor:
    """Weights (4, N) of the samples at -1, 0, 1 and 2 for places t in 0 to 1 (Keys 1981, with PyTorch's a)."""
    a = CUBIC_A

    def near(s: torch.Tensor) -> torch.Tensor:
        return ((a + 2) * s - (a + 3)) * s * s + 1

    def far(s: torch.Tensor) -> torch.Tensor:
        return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a

    return torch.stack([far(t + 1), near(t), near(1 - t), far(2 - t)])
