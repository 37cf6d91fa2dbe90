"""Keypoints: the local maxima of the heatmap, placed between its samples."""
from __future__ import annotations

import torch
import torch.nn.functional as F

from .geometry import ALIGNED, CORRECTED, ORIGINAL, heatmap_to_image

# Heatmap samples at the rim without keypoints: there the network sees its zero padding as an edge, which never moves with the scene.
BORDER = {ORIGINAL: 0, CORRECTED: 2, ALIGNED: 10}


def peaks(heatmap: torch.Tensor, threshold: float, border: int = 0, plateaus: bool = False) -> torch.Tensor:
    """(..., H, W) bool, the 3x3 local maxima above threshold; a plateau counts once.

    heatmap: (..., H, W). border: width in samples of the rim without keypoints.
    plateaus: keep every sample of a plateau, as the official code does.
    """
    height, width = heatmap.shape[-2:]
    if border:
        searched = heatmap[..., border - 1:height - border + 1, border - 1:width - border + 1]
    else:
        searched = F.pad(heatmap, (1, 1, 1, 1), value=-torch.inf)
    # a pooling of one channel takes twenty times as long
    middle = searched[..., 1:-1, 1:-1]
    beside = torch.maximum(torch.maximum(searched[..., :-2], searched[..., 1:-1]), searched[..., 2:])
    highest = torch.maximum(torch.maximum(beside[..., :-2, :], beside[..., 1:-1, :]), beside[..., 2:, :])
    peak = F.pad((middle == highest) & (middle > threshold), (border,) * 4)
    if plateaus:
        return peak
    around = F.pad(peak, (1, 1, 1, 0))      # two peaks that touch are equal: keep the first in reading order
    earlier = around[..., 1:, :-2] | around[..., :-1, :-2] | around[..., :-1, 1:-1] | around[..., :-1, 2:]
    return peak & ~earlier


def find_keypoints(heatmap: torch.Tensor, threshold: float, geometry: str, bias: float = 0.0,
                   most: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """All keypoints of a heatmap (H, W), strongest first: positions (N, 2) in image pixels, and heatmap values (N,).

    bias: pixels by which the detector places keypoints too far right and down. most: no more than so many, the strongest.
    """
    height, width = heatmap.shape
    if geometry != ORIGINAL:
        index = peaks(heatmap, threshold, BORDER[geometry]).flatten().nonzero()[:, 0]
        score = heatmap.flatten()[index]
        score, order = score.sort(descending=True, stable=True)
        score, index = score[:most], index[order[:most]]
        return _places(heatmap, index, geometry, bias), score
    index = peaks(heatmap, threshold, plateaus=True).flatten().nonzero()[:, 0]
    score = heatmap.flatten()[index]
    order = torch.argsort(-score)[:most]        # the official order where scores are equal
    return _grid(index[order], width, heatmap.dtype), score[order]


def strongest_keypoints(heatmap: torch.Tensor, count: int, threshold: float, bias: float = 0.0,
                        geometry: str = CORRECTED) -> tuple[torch.Tensor, torch.Tensor]:
    """As find_keypoints with any geometry but the original, always `count` of them: nothing here waits for the GPU to learn how many there
    are.

    heatmap: (H, W), or several (B, H, W): then (B, N, 2) and (B, N), each by itself. Rows beyond the last keypoint have the score -inf
    and some place inside the image.
    """
    border = BORDER[geometry]
    score = torch.where(peaks(heatmap, threshold, border), heatmap, -torch.inf).flatten(-2)
    score, index = score.topk(min(count, score.shape[-1]))
    index = torch.where(score > -torch.inf, index, heatmap.shape[-1] * border + border)
    return _places(heatmap, index, geometry, bias), score


def _grid(index: torch.Tensor, width: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.stack([index % width, torch.div(index, width, rounding_mode="floor")], dim=-1).to(dtype)


def _places(heatmap: torch.Tensor, index: torch.Tensor, geometry: str, bias: float) -> torch.Tensor:
    """Flat indices (..., N) of maxima in each heatmap (..., H, W) to image pixels (..., N, 2)."""
    height, width = heatmap.shape[-2:]
    xy = _grid(index, width, heatmap.dtype) + quadratic_offset(heatmap, index)
    return heatmap_to_image(xy, (width, height), geometry) - bias


def quadratic_offset(heatmap: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Where a quadratic fitted to the 3x3 values around each peak has its top, relative to the peak: (..., N, 2), within half a sample.

    heatmap: (..., H, W). index: (..., N) flat indices of local maxima at least one sample inside the rim.
    """
    width = heatmap.shape[-1]
    flat = heatmap.flatten(-2)
    value = {(dx, dy): flat.gather(-1, index + (dy * width + dx)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    gx = (value[1, 0] - value[-1, 0]) / 2
    gy = (value[0, 1] - value[0, -1]) / 2
    gxx = value[1, 0] - 2 * value[0, 0] + value[-1, 0]
    gyy = value[0, 1] - 2 * value[0, 0] + value[0, -1]
    gxy = (value[1, 1] - value[1, -1] - value[-1, 1] + value[-1, -1]) / 4
    determinant = gxx * gyy - gxy * gxy
    usable = (determinant > 1e-6 * gxx * gyy) & (gxx < 0) & (gyy < 0)
    safe = torch.where(usable, determinant, torch.ones_like(determinant))
    offset = torch.stack([gxy * gy - gyy * gx, gxy * gx - gxx * gy], dim=-1) / safe[..., None]
    return torch.where(usable[..., None], offset.clamp(-0.5, 0.5), torch.zeros_like(offset))
