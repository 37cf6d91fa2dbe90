"""Two views of each photo for training: A, a part of the photo, and B, the same seen bent, turned and under another light.

From a photo a sheet is cut, 1.5 times as large as a view. A is the sheet's middle; B shows the sheet through a warp, so that around
what A shows, B mostly shows what lies beyond it. Where even the sheet ends, and behind occluders, the next photo of the batch is seen.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from dalf_core.features.geometry import constant

from ..config import sheet_size
from .appearance import change_appearance
from .dense_positions import dense_positions
from .occluders import random_blobs
from .random_numbers import Share, symmetric
from .rendering import sample, within_pixels
from .schedule import Difficulty
from .warps import Warp, inside, random_warp

COLOUR = 1.0            # octaves, +-: weight of each channel in a grey image
SAMPLES = 2             # along x and y, in each pixel of a sheet
LIGHT_OF_A = 0.5        # the light of A changes by this share of that of B


@dataclass(frozen=True)
class Views:
    """A batch of grey image pairs with the exact map between them.

    gray_a, gray_b: (B, 1, h, w) in 0 to 1. warp: from B back to the sheet. corner: x and y of A's first pixel in the sheet.
    covered: (B, h, w) bool, pixels of B that show an occluder.
    """

    gray_a: torch.Tensor
    gray_b: torch.Tensor
    warp: Warp
    corner: tuple[int, int]
    covered: torch.Tensor

    def to_a(self, xy_b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where in A lies what B shows at pixels xy_b (B, N, 2): positions (B, N, 2), and whether A shows it (B, N) bool."""
        xy_a = self.warp.source_positions(xy_b) - constant(self.corner, xy_b)
        return xy_a, inside(xy_a, self.warp.size) & ~self._is_covered(xy_b)

    def to_b(self, xy_a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The inverse, which takes longer: where in B pixels xy_a (B, N, 2) of A are seen, and whether they are (B, N) bool."""
        xy_b, visible = self.warp.find(xy_a + constant(self.corner, xy_a))
        return xy_b, visible & ~self._is_covered(xy_b)

    def to(self, device: torch.device) -> Views:
        """The same views on another device."""
        return Views(self.gray_a.to(device), self.gray_b.to(device), self.warp.to(device), self.corner, self.covered.to(device))

    def _is_covered(self, xy_b: torch.Tensor) -> torch.Tensor:
        width, height = self.warp.size
        column = xy_b[..., 0].round().long().clamp(0, width - 1)
        row = xy_b[..., 1].round().long().clamp(0, height - 1)
        return self.covered.flatten(1).gather(1, row * width + column)


def draw_warp(size: tuple[int, int], difficulty: Difficulty, share: Share) -> Warp:
    """The warps of a share of a batch, from views of this size (width, height) to their sheets; at no zoom both have the same scale."""
    source = sheet_size(size)
    warp = random_warp(len(share), size, difficulty.warp, share, source)
    scale = max(size) / max(source)
    return replace(warp, homography=warp.homography * warp.homography.new_tensor([scale, scale, 1.0])[:, None])


def make_views(sheets: torch.Tensor, warp: Warp, difficulty: Difficulty, share: Share) -> Views:
    """The views of a share of a batch.

    sheets: (B + 1, H, W, 3) uint8, those of the share and the one that follows. warp: draw_warp's, on the same device.
    The draws depend on the share's generator and rows alone, however the batch is divided.
    """
    (width, height), source = warp.size, warp.source_size
    grays = _mix_colours(sheets, Share(share.generator, share.total + 1, share.start, share.stop + 1))
    own, others = grays[:-1], grays[1:]
    left, top = (source[0] - width) // 2, (source[1] - height) // 2
    gray_a = own[:, :1, top:top + height, left:left + width]
    gray_b = _draw(own[:, 1:], others[:, 1:, :height, :width], warp)
    covered = random_blobs(len(own), warp.size, difficulty.occluders, share, sheets.device)
    gray_b = torch.where(covered[:, None], others[:, 1:, -height:, -width:], gray_b)
    return Views(change_appearance(gray_a, LIGHT_OF_A * difficulty.light, share),
                 change_appearance(gray_b, difficulty.light, share), warp, (left, top), covered)


def cut_sheet(photo: np.ndarray, size: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """A random part of a photo HxWx3 uint8 in random scale, half of the time mirrored: a sheet of size (width, height)."""
    height, width = photo.shape[:2]
    scale = random.uniform(1.0, min(width / size[0], height / size[1]))
    part_width, part_height = (round(length * scale) for length in size)
    left, top = random.integers(width - part_width + 1), random.integers(height - part_height + 1)
    sheet = cv2.resize(photo[top:top + part_height, left:left + part_width], size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(sheet[:, ::-1]) if random.random() < 0.5 else sheet


def _mix_colours(sheets: torch.Tensor, share: Share) -> torch.Tensor:
    """(B, 2, H, W) in 0 to 1: two random mixtures of the colours of each sheet (B, H, W, 3)."""
    mixture = torch.exp2(symmetric(share, COLOUR, len(sheets), 2, 3)).to(sheets.device)
    mixture = mixture / (255 * mixture.sum(dim=2, keepdim=True))
    return (sheets.flatten(1, 2).float() @ mixture.mT).mT.unflatten(2, sheets.shape[1:3]).contiguous()


def _draw(sheets: torch.Tensor, background: torch.Tensor, warp: Warp) -> torch.Tensor:
    """rendering.render for pictures alone: (B, 1, h, w)."""
    source = dense_positions(warp, SAMPLES)
    drawn, shown = sample(sheets, source), within_pixels(source, warp.source_size)[:, None]
    cover = F.avg_pool2d(shown.to(drawn), SAMPLES)
    return F.avg_pool2d(drawn * shown, SAMPLES) + background * (1 - cover)
