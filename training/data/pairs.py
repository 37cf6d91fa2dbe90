"""Random image pairs: photo and warped photo, under different light, with the map between them."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .appearance import change_appearance
from .difficulty import LightRange, WarpRange
from .rendering import render
from .warps import Warp, random_warp


@dataclass(frozen=True)
class Pairs:
    """A batch of image pairs.

    images_b: (B, C, H, W) in 0 to 1; images A are the photos. shows_a: (B, H, W) bool, pixels of B that show A and not the background.
    warp: the map from B back to A.
    """

    images_b: torch.Tensor
    shows_a: torch.Tensor
    warp: Warp


def random_pairs(photos: torch.Tensor, backgrounds: torch.Tensor | None, size: tuple[int, int], difficulty: float | WarpRange,
                 generator: torch.Generator, light: float | LightRange | None = None) -> Pairs:
    """Pairs from photos (B, C, H_A, W_A), with backgrounds (B, C, H, W) behind the warped ones; images in 0 to 1.

    size: (width, height) of image B. light: difficulty of the light, of B alone; by default that of the warp, which then must be a number.
    A is the photo as it is. The generator's and the photos' devices may differ.
    """
    if light is None:
        if isinstance(difficulty, WarpRange):
            raise ValueError("give light too (0 to 3, or a LightRange) where the difficulty is a WarpRange")
        light = difficulty
    warp = random_warp(len(photos), size, difficulty, generator, (photos.shape[-1], photos.shape[-2])).to(photos.device)
    images_b, shows_a = render(photos, backgrounds, warp)
    return Pairs(change_appearance(images_b, light, generator), shows_a, warp)


def to_tensor(images: list[np.ndarray]) -> torch.Tensor:
    """HxWx3 uint8 images of one size as (B, 3, H, W) float32 in 0 to 1; the order of the channels stays."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def to_image(image: torch.Tensor) -> np.ndarray:
    """The inverse for one image (3, H, W): HxWx3 uint8."""
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
