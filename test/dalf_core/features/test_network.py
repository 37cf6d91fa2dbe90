"""The network: constant spline kernel, folded batch norms, where its maps lie in the image."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from dalf_core.features.geometry import CORRECTED, ORIGINAL, heatmap_to_image, image_to_features, image_to_heatmap, image_to_warper
from dalf_core.features.network import DESCRIPTORS, DalfNetwork, sample_map
from dalf_core.features.polar_grid import MAX_RADIUS, PATCH_SIZE, PolarGrid, polar_offsets, sample_patches
from dalf_core.features.thin_plate_spline import reduced_basis


def random_network(seed: int = 0) -> DalfNetwork:
    """Random weights and batch statistics, so that nothing is hidden by zeros."""
    torch.manual_seed(seed)
    network = DalfNetwork().eval()
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
    for parameter in network.warper.perceptron.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    return network.requires_grad_(False)


def test_spline_is_the_definition():
    generator = torch.Generator().manual_seed(0)
    points, control = (torch.rand(n, 2, generator=generator, dtype=torch.float64) for n in (50, 9))
    parameters = torch.randn(11, 2, generator=generator, dtype=torch.float64)
    moved = reduced_basis(points, control) @ parameters
    weights = torch.cat([-parameters[:8].sum(0, keepdim=True), parameters[:8]])
    for point, result in zip(points, moved):
        expected = parameters[8] + point[0] * parameters[9] + point[1] * parameters[10]
        for centre, weight in zip(control, weights):
            r = float((point - centre).norm())
            expected = expected + weight * r * r * np.log(r + 1e-6)
        assert torch.allclose(result, expected, atol=1e-12)


def test_unbent_grid_is_a_disc():
    offsets = polar_offsets()
    assert offsets.shape == (PATCH_SIZE, PATCH_SIZE, 2)
    radius = offsets.norm(dim=-1)
    assert torch.allclose(radius, ((torch.arange(PATCH_SIZE) + 0.5) * MAX_RADIUS / PATCH_SIZE).double().expand(PATCH_SIZE, -1))
    assert torch.allclose(PolarGrid()(torch.zeros(3, 66, 2))[1], offsets.reshape(-1, 2).t().float())


def test_an_offset_parameter_moves_the_whole_grid():
    parameters = torch.zeros(1, 66, 2)
    parameters[0, 63] = torch.tensor([0.3, -0.15])      # in units of the spline: the grid is 0.3 wide
    extent = 63 * np.cos(np.pi / 32)
    moved = PolarGrid()(parameters)[0] - PolarGrid().offsets
    assert torch.allclose(moved, torch.tensor([[extent], [-extent / 2]]).float().expand_as(moved), atol=1e-3)


def test_patches_read_pixel_centres_at_integers():
    gray = torch.arange(40 * 50, dtype=torch.float32).reshape(1, 1, 40, 50)
    positions = torch.zeros(1, 2, 1024)
    positions[0, 0, :3], positions[0, 1, :3] = torch.tensor([7.0, 7.5, -5.0]), 3.0
    patch = sample_patches(gray, positions).flatten()
    assert patch[:3].tolist() == pytest.approx([157, 157.5, 0], abs=1e-3)


@pytest.mark.parametrize("size", [(32, 32), (421, 637), (640, 480), (33, 47)])
def test_corrected_maps_lie_where_pooling_puts_them(size):
    """A column number, pooled like the network pools, is read back at the very pixel."""
    width, height = size
    columns = torch.arange(width, dtype=torch.float64).expand(1, 1, height, width)
    rows = torch.arange(height, dtype=torch.float64)[:, None].expand(1, 1, height, width)
    image = torch.cat([columns, rows], dim=1)
    half = torch.nn.functional.avg_pool2d(image, 2)
    eighth = torch.nn.functional.avg_pool2d(torch.nn.functional.avg_pool2d(half, 2), 2)
    xy = torch.tensor([[12.0, 12.5], [width / 2, height / 2], [width - 20.0, height - 20.0]], dtype=torch.float64)
    assert torch.allclose(sample_map(eighth, image_to_features(xy, size, CORRECTED), mode="bilinear", padding="border"), xy)
    if min(size) >= 64:
        inner = eighth[:, :, 1:-1, 1:-1]
        assert torch.allclose(sample_map(inner, image_to_warper(xy, size, CORRECTED), mode="bilinear", padding="border"), xy)
    decoded = half[:, :, 2:-2, 2:-2]
    heatmap = torch.nn.functional.interpolate(decoded, size=(height, width), mode="bilinear", align_corners=True)
    u = torch.tensor([[3, 4], [width // 2, height // 2], [width - 2, height - 4]])
    read = torch.stack([heatmap[0, :, y, x] for x, y in u.tolist()])
    assert torch.allclose(heatmap_to_image(u.double(), size, CORRECTED), read)
    assert torch.allclose(image_to_heatmap(heatmap_to_image(u.double(), size, CORRECTED), size, CORRECTED), u.double())


def test_original_maps_span_the_image_corner_to_corner():
    xy = torch.tensor([[0.0, 0.0], [636.0, 420.0]])
    assert torch.equal(heatmap_to_image(xy, (637, 421), ORIGINAL), xy)
    assert torch.allclose(image_to_features(xy, (637, 421), ORIGINAL), torch.tensor([[0.0, 0.0], [78.0, 51.0]]))
    assert torch.allclose(image_to_warper(xy, (637, 421), ORIGINAL), torch.tensor([[0.0, 0.0], [76.0, 49.0]]))


@pytest.mark.parametrize("descriptor", list(DESCRIPTORS))
def test_folding_and_chunks_change_nothing(descriptor):
    network = random_network()
    folded = network.folded()
    assert not any(isinstance(m, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.Dropout)) for m in folded.modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    gray, xy = torch.rand(1, 1, 75, 91), torch.rand(37, 2) * 70
    maps, maps_folded = network(gray), folded(gray)
    assert maps[0].shape == (1, 1, 75, 91) and maps[1].shape == (1, 64, 9, 11)
    for plain, quick in zip(maps, maps_folded):
        assert torch.allclose(plain, quick, atol=1e-4)
    whole = network.describe(gray, maps[1], xy, descriptor=descriptor)
    chunked = folded.describe(gray, maps[1], xy, descriptor=descriptor, chunk=8)
    assert whole.shape == (37, DESCRIPTORS[descriptor]) and torch.allclose(whole, chunked, atol=1e-4)
    assert torch.allclose(whole.norm(dim=1), torch.ones(37))
    assert network.describe(gray, maps[1], xy[:0], descriptor=descriptor).shape == (0, DESCRIPTORS[descriptor])


def test_a_batch_gives_what_single_images_give():
    network = random_network().folded()
    images = torch.rand(3, 1, 64, 80)
    heatmap, features = network(images)
    for index in range(3):
        one = network(images[index:index + 1])
        assert torch.allclose(heatmap[index], one[0][0], atol=1e-5) and torch.allclose(features[index], one[1][0], atol=1e-5)


def test_gradients_reach_every_part():
    network = random_network().train().requires_grad_(True)
    gray = torch.rand(1, 1, 64, 64)
    heatmap, features = network(gray)
    (network.describe(gray, features, torch.rand(20, 2) * 60)[:, ::2].sum() + heatmap.mean()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
