"""The backbone over a large image, tile by tile: the same maps to rounding, in bounded memory.

At full and half resolution the backbone's inner maps are many times larger than the image. Here they are made a tile at a time:
a band of rows as wide as the image, with the rows around it that its convolutions see. All tiles of a map have the same height, so that
what is compiled for a shape is compiled once. Only the maps that a later stage needs whole are kept whole.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import nn

TILE_PIXELS = 1 << 15      # of a tile at its own resolution: 4 MiB a map of 32 channels, where LEAST_ROWS are not more
LEAST_ROWS = 32             # of a tile
CUBIC_A = -0.75             # of PyTorch's bicubic kernel
_ENCODER_HALO = 2           # rows that two padded 3x3 convolutions see beyond a tile; even, since pooling follows
_HEAD_HALO = 1              # rows that one padded 3x3 convolution sees
_LOSS = 4                   # rows that two unpadded 3x3 convolutions lose

Layer = Callable[..., torch.Tensor]


class Blocks(Protocol):
    """What is needed of a network.Backbone."""

    norm: nn.Module
    encoder: nn.ModuleList
    decoder: nn.ModuleList
    keypoint_head: nn.Module
    feature_head: nn.Module


class JoinedTile(nn.Module):
    """A block of the decoder on a tile: `decoded`, whose rows are stretched already, is stretched to the columns of `skip` and joined."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, decoded: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """decoded (B, C, h, w), skip (B, C', h, W)."""
        return self.layers(torch.cat([F.interpolate(decoded, skip.shape[-2:], mode="bilinear", align_corners=True), skip], dim=1))


class KeypointTile(nn.Module):
    """The keypoint head on a tile: `decoded`, whose rows are stretched already, is stretched to the columns of the image."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, decoded: torch.Tensor, gray: torch.Tensor) -> torch.Tensor:
        """decoded (B, C, h, w), gray (B, 1, h, W): the image's tile, for its size alone."""
        return self.layers(F.interpolate(decoded, gray.shape[-2:], mode="bicubic", align_corners=True))


class TiledBackbone:
    """A backbone's blocks, each run over tiles."""

    def __init__(self, backbone: Blocks, run: Callable[[nn.Module], Layer] = lambda module: module) -> None:
        """run: turns a module into what runs it; it is called with tiles of one shape for each image size."""
        self._norm = backbone.norm
        self._dtype, self._head_dtype = (next(part.parameters()).dtype for part in (backbone.encoder, backbone.keypoint_head))
        self._encoder = [run(block) for block in backbone.encoder]
        self._decoder = [run(JoinedTile(block)) for block in backbone.decoder]
        self._keypoint_head, self._feature_head = run(KeypointTile(backbone.keypoint_head)), run(backbone.feature_head)

    def __call__(self, gray: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As Backbone.forward: gray (B, 1, H, W) to heatmap (B, 1, H, W) and features (B, 64, H//8, W//8)."""
        half = encode(self._encoder[0], self._norm(gray).to(self._dtype))
        quarter = encode(self._encoder[1], half)
        eighth = encode(self._encoder[2], quarter)
        decoded = decode(self._decoder[0], eighth, quarter)
        del quarter
        decoded = decode(self._decoder[1], decoded, half)
        del half
        heatmap = detect(self._keypoint_head, decoded.to(self._head_dtype), gray)
        return heatmap, self._feature_head(eighth).to(gray.dtype)


class Tile(NamedTuple):
    """Rows first to last - 1 are read; of what comes of them, rows start to end - 1 are right."""

    first: int
    last: int
    start: int
    end: int


def tiles(height: int, width: int, halo: int) -> Iterator[Tile]:
    """Tiles of equal height over a map; all begin at even rows, and their right parts cover it.

    halo: so many rows beside a cut are wrong after the convolutions; at the map's own borders none are.
    """
    rows = max(LEAST_ROWS, TILE_PIXELS // width // 2 * 2) + 2 * halo
    rows = min(rows + (height - rows) % 2, height)      # then the last one, too, begins at an even row
    step = max((rows - 2 * halo) // 2 * 2, 2)
    for first in [*range(0, height - rows, step), height - rows]:
        last = first + rows
        yield Tile(first, last, first + halo if first else 0, height if last == height else last - halo)


def encode(block: Layer, x: torch.Tensor) -> torch.Tensor:
    """Two padded 3x3 convolutions and a pooling by two, over x (B, C, H, W)."""
    height, width = x.shape[-2:]
    result = _Rows(height // 2)
    for tile in tiles(height, width, _ENCODER_HALO):
        first, start, end = tile.first // 2, tile.start // 2, tile.end // 2
        result.put(start, block(x[:, :, tile.first:tile.last])[:, :, start - first:end - first])
    return result.values


def decode(block: Layer, decoded: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """Stretch `decoded` to the size of `skip`, join them, and run two unpadded 3x3 convolutions. block: a JoinedTile."""
    height, width = skip.shape[-2:]
    result = _Rows(height - _LOSS)
    for tile in tiles(height - _LOSS, width, 0):
        rows = slice(tile.first, tile.last + _LOSS)
        result.put(tile.start, block(stretched_rows(decoded, height, rows, "bilinear"), skip[:, :, rows]))
    return result.values


def detect(head: Layer, decoded: torch.Tensor, gray: torch.Tensor) -> torch.Tensor:
    """Stretch `decoded` to the size of the image gray (B, 1, H, W) and run the keypoint head. head: a KeypointTile."""
    height, width = gray.shape[-2:]
    result = _Rows(height)
    for tile in tiles(height, width, _HEAD_HALO):
        rows = slice(tile.first, tile.last)
        response = head(stretched_rows(decoded, height, rows, "bicubic"), gray[:, :, rows])
        result.put(tile.start, response[:, :, tile.start - tile.first:tile.end - tile.first])
    return result.values


class _Rows:
    """A map that is filled some rows at a time."""

    values: torch.Tensor

    def __init__(self, height: int) -> None:
        self._height = height

    def put(self, start: int, rows: torch.Tensor) -> None:
        """rows (B, C, h, W) from row `start` on."""
        batch, channels, height, width = rows.shape
        if start == 0:
            self.values = rows.new_empty((batch, channels, self._height, width)).contiguous(memory_format=_memory_format(rows))
        self.values[:, :, start:start + height] = rows


def _memory_format(x: torch.Tensor) -> torch.memory_format:
    return torch.channels_last if x.shape[1] > 1 and x.stride(1) == 1 else torch.contiguous_format


def stretched_rows(x: torch.Tensor, height: int, rows: slice, mode: str) -> torch.Tensor:
    """Some rows of x (B, C, h, W) stretched to a height, corner to corner. mode: "bilinear" or "bicubic"."""
    source = torch.arange(rows.start, rows.stop, dtype=torch.float64) * ((x.shape[2] - 1) / (height - 1))
    below = source.floor()
    fraction = source - below
    taps = _linear(fraction) if mode == "bilinear" else _cubic(fraction)
    offsets = torch.arange(len(taps)) - (len(taps) // 2 - 1)
    index = (below.long()[None] + offsets[:, None]).clamp(0, x.shape[2] - 1)
    first, last = int(index.min()), int(index.max()) + 1
    matrix = torch.zeros(last - first, len(below), dtype=torch.float64).scatter_add_(0, index - first, taps)
    stretched = torch.tensordot(x[:, :, first:last], matrix.to(x.device, x.dtype), dims=([2], [0])).movedim(3, 2)
    return stretched.contiguous(memory_format=_memory_format(x))


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
