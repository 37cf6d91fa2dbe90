"""Drawing image B from image A through a warp."""
from __future__ import annotations

import torch
import torch.nn.functional as F

from dalf_core.features.geometry import constant

from .warps import Warp

SAMPLES = 2         # along x and along y in each pixel of B: keeps shrunk texture from aliasing and edges from being jagged


def render(images: torch.Tensor, background: torch.Tensor | None, warp: Warp, samples: int = SAMPLES) -> tuple[torch.Tensor, torch.Tensor]:
    """Images B (B, C, H, W), and where they show A and not the background (B, H, W) bool.

    images: A, (B, C, H_A, W_A) of the warp's source_size. background: (B, C, H, W) of the warp's size; None is black.
    A is read bilinearly at samples x samples places in each pixel. ValueError: sizes that do not fit the warp.
    """
    width, height = warp.size
    _check(images, background, warp)
    grid = pixel_grid(warp.size, warp.homography)
    total = images.new_zeros(len(warp), images.shape[1], height, width)
    cover = images.new_zeros(len(warp), 1, height, width)
    places = [(index + 0.5) / samples - 0.5 for index in range(samples)]
    for dx in places:
        for dy in places:
            source = warp.source_positions(grid + grid.new_tensor([dx, dy])).to(images.dtype).reshape(len(warp), height, width, 2)
            shown = within_pixels(source, warp.source_size)[:, None].to(images.dtype)
            total += sample(images, source) * shown
            cover += shown
    cover /= samples ** 2
    total /= samples ** 2
    if background is not None:
        total += background * (1 - cover)
    return total, cover[:, 0] > 0.5


def sample(images: torch.Tensor, xy: torch.Tensor) -> torch.Tensor:
    """Images (B, C, H, W) read bilinearly at pixels xy (B, h, w, 2), pixel centres at integers: (B, C, h, w). Beyond the rim it repeats.

    kornia's remap does the same, from x and y apart, which it stacks again.
    """
    size = constant((images.shape[-1], images.shape[-2]), xy)
    return F.grid_sample(images, (xy * 2 + 1) / size - 1, mode="bilinear", padding_mode="border", align_corners=False)


def pixel_grid(size: tuple[int, int], like: torch.Tensor) -> torch.Tensor:
    """(1, H * W, 2) x and y of all pixels of an image (width, height), row by row."""
    y, x = torch.meshgrid(torch.arange(size[1], dtype=like.dtype, device=like.device),
                          torch.arange(size[0], dtype=like.dtype, device=like.device), indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(1, -1, 2)


def within_pixels(xy: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Whether places (..., 2) lie on the area of an image, its outermost pixels included to their edge."""
    return (xy[..., 0] >= -0.5) & (xy[..., 0] <= size[0] - 0.5) & (xy[..., 1] >= -0.5) & (xy[..., 1] <= size[1] - 0.5)


def _check(images: torch.Tensor, background: torch.Tensor | None, warp: Warp) -> None:
    for name, tensor, (width, height) in (("images", images, warp.source_size), ("background", background, warp.size)):
        if tensor is not None and (tensor.ndim != 4 or len(tensor) != len(warp) or tensor.shape[-2:] != (height, width)):
            raise ValueError(f"{name} must be {len(warp)} images of {width}x{height} pixels, (B, C, H, W), not {tuple(tensor.shape)}")
