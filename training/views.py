"""Two views of each photo for training: A, a part of the photo, and B, the same seen bent, turned and under another light.

From a photo a sheet is cut, 1.5 times as large as a view. A is the sheet's middle; B shows the sheet through a warp, so that around
what A shows, B mostly shows what lies beyond it. Where even the sheet ends, and behind occluders, the next photo of the batch is seen.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from .appearance import change_appearance
from .draws import Share, symmetric, uniform
from .occluders import random_blobs
from .rendering import render, sample
from .schedule import Difficulty
from .warps import Warp, inside, random_warp

MARGIN = 1.5            # size of a sheet relative to a view
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
        xy_a = self.warp.source_positions(xy_b) - xy_b.new_tensor(self.corner)
        return xy_a, inside(xy_a, self.warp.size) & ~self._is_covered(xy_b)

    def to_b(self, xy_a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The inverse, which takes longer: where in B pixels xy_a (B, N, 2) of A are seen, and whether they are (B, N) bool."""
        xy_b, visible = self.warp.find(xy_a + xy_a.new_tensor(self.corner))
        return xy_b, visible & ~self._is_covered(xy_b)

    def to(self, device: torch.device) -> Views:
        """The same views on another device."""
        return Views(self.gray_a.to(device), self.gray_b.to(device), self.warp.to(device), self.corner, self.covered.to(device))

    def _is_covered(self, xy_b: torch.Tensor) -> torch.Tensor:
        width, height = self.warp.size
        column = xy_b[..., 0].round().long().clamp(0, width - 1)
        row = xy_b[..., 1].round().long().clamp(0, height - 1)
        return self.covered.flatten(1).gather(1, row * width + column)


def sheet_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the sheet that views of this size are cut from; its margins are whole pixels."""
    return tuple(length + 2 * round(length * (MARGIN - 1) / 2) for length in size)


def draw_warp(size: tuple[int, int], difficulty: Difficulty, share: Share) -> Warp:
    """The warps of a share of a batch, from views of this size (width, height) to their sheets; at no zoom both have the same scale."""
    source = sheet_size(size)
    warp = random_warp(len(share), size, difficulty.warp, share, source)
    scale = max(size) / max(source)
    return replace(warp, homography=warp.homography * warp.homography.new_tensor([scale, scale, 1.0])[:, None])


def make_views(photos: torch.Tensor, warp: Warp, difficulty: Difficulty, share: Share) -> Views:
    """The views of a share of a batch.

    photos: (B + 1, H, W, 3) uint8, those of the share and the one that follows. warp: draw_warp's, on the photos' device.
    The draws depend on the share's generator and rows alone, however the batch is divided.
    """
    size, source = warp.size, warp.source_size
    sheets = _cut_sheets(photos, source, Share(share.generator, share.total + 1, share.start, share.stop + 1))
    own, others = sheets[:-1], sheets[1:]
    left, top = (source[0] - size[0]) // 2, (source[1] - size[1]) // 2
    gray_a = own[:, :1, top:top + size[1], left:left + size[0]]
    gray_b, _ = render(own[:, 1:], others[:, 1:, :size[1], :size[0]], warp)
    covered = random_blobs(len(own), size, difficulty.occluders, share, photos.device)
    gray_b = torch.where(covered[:, None], others[:, 1:, -size[1]:, -size[0]:], gray_b)
    return Views(change_appearance(gray_a, LIGHT_OF_A * difficulty.light, share),
                 change_appearance(gray_b, difficulty.light, share), warp, (left, top), covered)


def _cut_sheets(photos: torch.Tensor, size: tuple[int, int], share: Share) -> torch.Tensor:
    """(B, 2, h, w): of each photo a random part in random scale, half of them mirrored, in two random mixtures of the colours."""
    batch, height, width, _ = photos.shape
    mixture = torch.exp2(symmetric(share, COLOUR, batch, 2, 3)).to(photos.device)
    mixture = mixture / (255 * mixture.sum(dim=2, keepdim=True))
    grays = torch.einsum("bhwc,bmc->bmhw", photos.float(), mixture)
    room = min(width / size[0], height / size[1])
    scale = uniform(share, 1.0, room, batch, 1, 1).to(photos.device)         # pixels of the photo for one of the sheet
    mirrored = torch.where(uniform(share, 0, 1, batch, 1, 1) < 0.5, -1.0, 1.0).to(photos.device)
    whole, part = grays.new_tensor([width, height]), grays.new_tensor(size)
    middle = (whole - 1) / 2 + symmetric(share, 0.5, batch, 1, 2).to(photos.device) * (whole - part * scale)
    x, y = ((torch.arange(length * SAMPLES, device=photos.device) + 0.5) / SAMPLES - length / 2 for length in size)
    grid = torch.stack([x[None].expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1).reshape(1, -1, 2)
    flip = torch.cat([mirrored, torch.ones_like(mirrored)], dim=2)
    places = (grid * flip * scale + middle).reshape(batch, len(y), len(x), 2)
    return F.avg_pool2d(sample(grays, places), SAMPLES)
