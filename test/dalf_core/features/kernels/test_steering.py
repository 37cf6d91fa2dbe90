"""The patch descriptor's last part by the compiled loop against PyTorch's."""
from __future__ import annotations

import torch

from dalf_core.features.kernels.steering import CompiledPatchDescriptor
from dalf_core.features.light_network import LightNetwork, PatchRows


def test_descriptors_equal_those_of_pytorch() -> None:
    torch.manual_seed(0)
    descriptor = LightNetwork().folded().patch_descriptor
    patches = torch.rand(70, 1, 32, 16)
    with torch.inference_mode():
        expected = descriptor(patches)
        got = CompiledPatchDescriptor(descriptor, PatchRows(descriptor.layers))(patches)
        assert got.shape == expected.shape == (70, 64)
        assert torch.allclose(got, expected, atol=1e-5 * float(expected.abs().max()))
