"""Descriptors of many images at once are those that the network gives image by image."""
import pytest
import torch
from dalf_training.data.random_numbers import seeded
from dalf_training.losses.description import describe_slots, sample_atlas

from dalf_core.features.network import DESCRIPTORS, DalfNetwork
from dalf_core.features.polar_grid import sample_patches


@pytest.fixture(scope="module")
def network() -> DalfNetwork:
    torch.manual_seed(0)
    network = DalfNetwork().eval()
    for layer in network.warper.perceptron:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, 0, 0.08)         # so that the grids bend
    return network


def test_as_one_by_one(network: DalfNetwork) -> None:
    gray = torch.rand(3, 1, 72, 104, generator=seeded("cpu", 1))
    xy = torch.rand(3, 7, 2, generator=seeded("cpu", 2)) * torch.tensor([103.0, 71.0])
    valid = torch.rand(3, 7, generator=seeded("cpu", 3)) < 0.7
    with torch.no_grad():
        features = network(gray)[1]
        described, patches = describe_slots(network, gray, features, xy, valid, tuple(DESCRIPTORS))
        for kind in DESCRIPTORS:
            assert described[kind].shape == (3, 7, DESCRIPTORS[kind])
            assert not described[kind][~valid].any()
            for image in range(3):
                one = network.describe(gray[image:image + 1], features[image:image + 1], xy[image][valid[image]], descriptor=kind)
                assert (described[kind][image][valid[image]] - one).abs().max() < 2e-4
    assert patches is not None and patches.shape == (int(valid.sum()), 1, 32, 32)


def test_atlas(network: DalfNetwork) -> None:
    gray = torch.rand(3, 1, 40, 60, generator=seeded("cpu", 4))
    positions = torch.rand(9, 2, 1024, generator=seeded("cpu", 5)) * 200 - 80      # far outside as well
    image = torch.arange(9) % 3
    patches = sample_atlas(gray, image, positions)
    for row in range(9):
        assert torch.allclose(patches[row], sample_patches(gray[row % 3][None], positions[row:row + 1])[0], atol=1e-4)


def test_no_keypoints(network: DalfNetwork) -> None:
    gray = torch.rand(2, 1, 64, 96, generator=seeded("cpu", 6))
    network.train()
    described, _ = describe_slots(network, gray, network(gray)[1], torch.full((2, 4, 2), 30.0), torch.zeros(2, 4, dtype=torch.bool),
                                  ("fused",))
    network.eval()
    assert not described["fused"].any()
    described["fused"].sum().backward()


def test_gradients_reach_every_part(network: DalfNetwork) -> None:
    gray = torch.rand(2, 1, 64, 96, generator=seeded("cpu", 7))
    features = network(gray)[1]
    described, _ = describe_slots(network, gray, features, torch.full((2, 3, 2), 30.0), torch.ones(2, 3, dtype=torch.bool), ("fused",))
    described["fused"].square().mul(torch.linspace(0, 1, 128)).sum().backward()
    for part in (network.backbone.encoder, network.backbone.feature_head, network.warper, network.patch_descriptor, network.fusion):
        assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in part.parameters())
        assert any(parameter.grad.abs().sum() > 0 for parameter in part.parameters())
    network.zero_grad()
