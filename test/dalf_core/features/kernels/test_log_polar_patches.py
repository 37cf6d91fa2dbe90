"""Patches by the compiled loop against PyTorch's, also where they reach beyond the image."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dalf_core.features.kernels.log_polar_patches import NormalisedPatches
from dalf_core.features.light_network import LightPatches


@pytest.mark.parametrize(("width", "height"), [(160, 120), (83, 61), (32, 32)])
def test_patches_equal_those_of_pytorch(width: int, height: int) -> None:
    """Every position, from 40 px beyond the rim to the middle; sizes that the averaging does not divide."""
    random = torch.Generator().manual_seed(width)
    gray = torch.rand(1, 1, height, width, generator=random)
    xy = torch.rand(400, 2, generator=random) * torch.tensor([width + 80.0, height + 80.0]) - 40
    xy = torch.cat([xy, torch.tensor([[0.0, 0.0], [width - 1.0, height - 1.0], [33.0, 33.0], [width - 34.0, height - 34.0]])])
    patches = LightPatches()
    expected, got = patches(gray, xy), NormalisedPatches(patches)(gray, xy)
    assert got.shape == expected.shape == (404, 1, 32, 16)
    assert torch.allclose(got, F.layer_norm(expected, (1, 32, 16)), atol=2e-3)
    inside = ((xy > 34) & (xy < torch.tensor([width - 35.0, height - 35.0]))).all(dim=1)
    assert inside.any() == (width > 70 and height > 70)


def test_a_patch_of_one_grey_is_zero() -> None:
    assert NormalisedPatches(LightPatches())(torch.full((1, 1, 96, 96), 0.5), torch.tensor([[48.0, 47.5]])).abs().max() < 1e-3
