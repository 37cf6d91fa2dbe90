"""Keypoints sampled from a heatmap, with their log-probabilities: what the detector learns from."""
from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dalf_core.features.geometry import CORRECTED, constant, heatmap_to_image

from ..data.random_numbers import Source, uniform
from .fast_layers import full_precision

CELL = 8        # heatmap samples; one keypoint at most is drawn from each cell


@dataclass(frozen=True)
class SampledKeypoints:
    """One candidate a cell, C cells an image.

    xy: (B, C, 2) image pixels. log_probability: (B, C), of drawing this place and accepting it; carries the gradient.
    accepted: (B, C) bool, whether it is a keypoint.
    """

    xy: torch.Tensor
    log_probability: torch.Tensor
    accepted: torch.Tensor

    def images(self, start: int, stop: int) -> SampledKeypoints:
        """Those of some of the images."""
        return SampledKeypoints(self.xy[start:stop], self.log_probability[start:stop], self.accepted[start:stop])


def sample_keypoints(heatmap: torch.Tensor, chance: torch.Tensor, border: float, offset: tuple[int, int] = (0, 0)) -> SampledKeypoints:
    """From each cell one place by a categorical draw over its values, then accepted or not by a Bernoulli draw on the value itself.

    heatmap: (B, 1, H, W) logits. chance: (B, C, 2) uniform in 0 to 1, see sampling_numbers.
    border: pixels at the image's rim without keypoints.
    offset: x and y of the first cell, below CELL; what is left over at the rims belongs to no cell.
    """
    batch, _, height, width = heatmap.shape
    columns, rows = cells((width, height), offset)
    logits = _by_cell(full_precision(heatmap)[:, 0, offset[1]:, offset[0]:], columns, rows)
    choice = _categorical(logits.detach(), chance[..., 0])
    value = logits.gather(2, choice[..., None])[..., 0]
    accepted = chance[..., 1] < torch.sigmoid(value.detach())
    xy = heatmap_to_image(_cell_places(choice, columns, offset).to(value.dtype), (width, height), CORRECTED)
    limit = constant((width - 1, height - 1), xy) - border
    accepted = accepted & ((xy >= border) & (xy <= limit)).all(dim=-1)
    log_probability = value - torch.logsumexp(logits, dim=2) + F.logsigmoid(value)
    return SampledKeypoints(xy, log_probability, accepted)


def cell_maxima(heatmap: torch.Tensor, border: float, offset: tuple[int, int] = (0, 0)) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest place of each cell of heatmaps (B, 1, H, W) of aligned geometry: pixels (B, C, 2), and whether it lies inside the rim."""
    columns, rows = cells((heatmap.shape[-1], heatmap.shape[-2]), offset)
    choice = _by_cell(heatmap[:, 0, offset[1]:, offset[0]:], columns, rows).argmax(dim=2)
    xy = _cell_places(choice, columns, offset).float()
    limit = constant((heatmap.shape[-1] - 1, heatmap.shape[-2] - 1), xy) - border
    return xy, ((xy >= border) & (xy <= limit)).all(dim=-1)


def _cell_places(choice: torch.Tensor, columns: int, offset: tuple[int, int]) -> torch.Tensor:
    """Heatmap positions (B, C, 2) of the samples `choice` (B, C) of their cells."""
    cell = torch.arange(choice.shape[1], device=choice.device)
    x = (cell % columns) * CELL + choice % CELL + offset[0]
    y = torch.div(cell, columns, rounding_mode="floor") * CELL + torch.div(choice, CELL, rounding_mode="floor") + offset[1]
    return torch.stack([x, y], dim=-1)


def sampling_numbers(source: Source, pairs: int, size: tuple[int, int], offset: tuple[int, int] = (0, 0)) -> torch.Tensor:
    """Uniform numbers for sample_keypoints on both images of `pairs` pairs: (2 * pairs, C, 2), first those of all images A."""
    columns, rows = cells(size, offset)
    return uniform(source, 0, 1, pairs, 2, columns * rows, 2).transpose(0, 1).flatten(0, 1)


def cells(size: tuple[int, int], offset: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """Columns and rows of whole cells in an image (width, height)."""
    return (size[0] - offset[0]) // CELL, (size[1] - offset[1]) // CELL


def _by_cell(heatmap: torch.Tensor, columns: int, rows: int) -> torch.Tensor:
    """(B, H, W) to (B, C, 64): cells row by row, the values of each row by row."""
    cut = heatmap[:, :rows * CELL, :columns * CELL]
    return cut.reshape(-1, rows, CELL, columns, CELL).transpose(2, 3).reshape(-1, rows * columns, CELL * CELL)


def _categorical(logits: torch.Tensor, chance: torch.Tensor) -> torch.Tensor:
    """The index (B, C) drawn from the softmax of logits (B, C, K) by uniform numbers (B, C)."""
    cumulative = logits.softmax(dim=2).cumsum(dim=2)
    return (cumulative < chance[..., None] * cumulative[..., -1:]).sum(dim=2).clamp_max(logits.shape[2] - 1)
