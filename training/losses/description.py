"""Descriptors of keypoints in many images at once: what a network's describe computes for one image, made for training.

Positions are read with the corrected geometry.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F

from dalf_core.features.geometry import CORRECTED, constant, image_to_features, image_to_warper
from dalf_core.features.light_network import LightNetwork
from dalf_core.features.network import DESCRIPTORS, DalfNetwork, Network
from dalf_core.features.polar_grid import PATCH_SIZE

from .fast_layers import full_precision

LEAST_ROWS = 2      # a batch norm needs two


def describe_slots(network: Network, gray: torch.Tensor, features: torch.Tensor, xy: torch.Tensor, valid: torch.Tensor,
                   kinds: tuple[str, ...]) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
    """Unit descriptors (B, K, D) of each kind, zero in slots that hold no keypoint; and the patches (M, 1, 32, 32 or, of the light
    network, 16) of those that do.

    gray: (B, 1, H, W). features: (B, 64, H//8, W//8). xy: (B, K, 2) pixels inside the image, in all slots. valid: (B, K) bool.
    kinds: of dalf_core.features.network.DESCRIPTORS. There are no patches where only "backbone" is asked for.
    """
    size = (gray.shape[-1], gray.shape[-2])
    rows = _rows(valid)
    found: dict[str, torch.Tensor] = {}
    patches = None
    if set(kinds) - {"polar"}:
        found["backbone"] = sample_maps(features, image_to_features(xy, size, CORRECTED), "bicubic").flatten(0, 1)[rows]
    image = torch.div(rows, xy.shape[1], rounding_mode="floor")
    if set(kinds) - {"backbone"} and isinstance(network, LightNetwork):
        patches = straight_patches(network, gray, xy.flatten(0, 1)[rows], image)
        found["polar"] = network.patch_descriptor(patches)
    elif set(kinds) - {"backbone"}:
        assert isinstance(network, DalfNetwork)
        sampled = sample_maps(network.warper(features), image_to_warper(xy, size, CORRECTED), "bilinear").flatten(0, 1)[rows]
        patches = bent_patches(network, gray, sampled, xy.flatten(0, 1)[rows], image)
        found["polar"] = network.patch_descriptor(patches)
    if "fused" in kinds:
        found["fused"] = network.fusion(found["polar"], found["backbone"])
    return {kind: _into_slots(found[kind], rows, valid, DESCRIPTORS[kind]) for kind in kinds}, patches


def sample_maps(maps: torch.Tensor, xy: torch.Tensor, mode: str) -> torch.Tensor:
    """Read maps (B, C, h, w) at samples xy (B, K, 2), the first being (0, 0), repeated beyond the rim: (B, K, C), float32 at least."""
    with torch.autocast(maps.device.type, enabled=False):
        size = constant((max(maps.shape[-1] - 1, 1), max(maps.shape[-2] - 1, 1)), xy)
        grid = xy / size * 2 - 1
        sampled = F.grid_sample(full_precision(maps), grid[:, :, None], mode=mode, padding_mode="border", align_corners=True)
    return sampled[..., 0].mT


def bent_patches(network: DalfNetwork, gray: torch.Tensor, sampled: torch.Tensor, xy: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Polar patches (M, 1, 32, 32) around pixels xy (M, 2) of the images with index `image` (M,) in gray (B, 1, H, W).

    sampled: (M, 128) the warper's map at the keypoints. None of it in half precision, which would move the samples.
    """
    with torch.autocast(gray.device.type, enabled=False):
        return sample_atlas(gray, image, xy[:, :, None] + network.polar_grid(network.warper.spline_parameters(sampled)))


def straight_patches(network: LightNetwork, gray: torch.Tensor, xy: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Log-polar patches (M, 1, 32, 16) of the light network, as bent_patches."""
    with torch.autocast(gray.device.type, enabled=False):
        return network.patches(gray, xy, lambda picture, positions, columns: sample_atlas(picture, image, positions, columns))


def sample_atlas(gray: torch.Tensor, image: torch.Tensor, positions: torch.Tensor, columns: int = PATCH_SIZE) -> torch.Tensor:
    """As dalf_core.features.polar_grid.sample_patches, but each patch from an image of its own: (M, 1, 32, columns).

    gray: (B, 1, H, W). image: (M,) index. positions: (M, 2, 32 * columns) pixels. The images, each in a frame of zeros, are stacked to one
    tall picture that is read in one go; positions are held within the frame, which is where an image reads as zero anyway.
    """
    batch, _, height, width = gray.shape
    atlas = F.pad(gray, (1, 1, 1, 1)).reshape(1, 1, batch * (height + 2), width + 2)
    x = positions[:, 0].clamp(-1, width) + 1
    y = positions[:, 1].clamp(-1, height) + 1 + (image * (height + 2))[:, None]
    grid = torch.stack([x * (2 / (width + 1)) - 1, y * (2 / (batch * (height + 2) - 1)) - 1], dim=-1)
    patches = F.grid_sample(atlas, grid.reshape(1, -1, PATCH_SIZE, 2), mode="bilinear", padding_mode="zeros", align_corners=True)
    return patches.reshape(len(positions), 1, -1, columns)


def _rows(valid: torch.Tensor) -> torch.Tensor:
    """Indices (M,) of the slots (flattened) to describe: those that hold a keypoint, or any two where too few do."""
    rows = valid.flatten().nonzero()[:, 0]
    return rows if len(rows) >= LEAST_ROWS else torch.arange(LEAST_ROWS, device=valid.device)


def _into_slots(described: torch.Tensor, rows: torch.Tensor, valid: torch.Tensor, length: int) -> torch.Tensor:
    """(M, D) to unit descriptors (B, K, D)."""
    unit = F.normalize(full_precision(described))
    slots = unit.new_zeros(valid.numel(), length).index_copy(0, rows, unit)
    return slots.reshape(*valid.shape, length) * valid[..., None]
