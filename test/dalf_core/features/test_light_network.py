"""The light network: what its patches show, that descriptors stand turns, and that extraction reads its maps where they belong."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dalf_core import DALF
from dalf_core.features.geometry import ALIGNED
from dalf_core.features.light_network import LEAST_RADIUS, MAX_RADIUS, LightNetwork, enlarge, log_polar_offsets
from dalf_core.features.network import DESCRIPTORS, DalfNetwork
from dalf_core.weights import WeightsError, load_network, save_weights

from ..feature_fixtures import textured


def random_network() -> LightNetwork:
    """Random weights with statistics of batch norms that belong to them."""
    torch.manual_seed(0)
    network = LightNetwork().train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.rand(2, 1, 64, 96))
            network.patch_descriptor(torch.rand(32, 1, 32, 16))
    return network.eval()


@pytest.fixture(scope="module")
def network() -> LightNetwork:
    return random_network()


@pytest.fixture(scope="module")
def weights(network: LightNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "light.safetensors"
    save_weights(network, path, metadata={"threshold": "-1e9", "keypoint_bias": "0.25"})
    return path


def gray_of(width: int, height: int) -> torch.Tensor:
    return torch.from_numpy(textured(width, height)).float().mean(dim=2)[None, None] / 255


def test_patches_of_a_ramp(network: LightNetwork) -> None:
    """Both halves are read where the samples lie: of an image whose values are its coordinates, patches hold those."""
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(160.0), indexing="ij")
    xy = torch.tensor([[60.3, 51.8], [90.0, 70.5]])
    for axis, picture in enumerate((x, y)):
        patches = network.patches(picture[None, None], xy)
        expected = xy[:, axis, None, None] + log_polar_offsets()[..., axis].float()
        assert patches.shape == (2, 1, 32, 16) and torch.allclose(patches[:, 0], expected, atol=1e-3)
    radius = log_polar_offsets().norm(dim=-1)
    assert radius[0, 0].item() == pytest.approx(LEAST_RADIUS) and radius[5, -1].item() == pytest.approx(MAX_RADIUS)


def test_turned_patches_have_the_same_descriptor(network: LightNetwork) -> None:
    patches = torch.rand(5, 1, 32, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = network.patch_descriptor(patches)
        for rows in (4, 12, 16):
            assert torch.allclose(network.patch_descriptor(patches.roll(rows, dims=2)), expected, atol=1e-4)
        assert not torch.allclose(network.patch_descriptor(patches.flip(2)), expected, atol=1e-1)         # a mirror image is another thing


def test_descriptors_of_a_turned_picture(network: LightNetwork) -> None:
    gray = gray_of(128, 96)
    xy = torch.tensor([[40.25, 50.0], [64.0, 47.5], [80.5, 40.75]])
    turned = torch.stack([xy[:, 1], 127 - xy[:, 0]], dim=1)         # where rot90 shows them
    with torch.inference_mode():
        before, after = (network.describe(image, network(image)[1], places, descriptor="polar")
                         for image, places in ((gray, xy), (gray.rot90(1, (2, 3)), turned)))
    assert (before * after).sum(dim=1).min() > 0.9999
    assert (before @ before.t() - torch.eye(3)).max() < 0.999


def test_enlarged_samples_stay_at_the_middle_of_what_they_stand_for() -> None:
    coarse = (4 * torch.arange(8.0) + 1.5).expand(1, 1, 8, 8)       # a quarter of the resolution: the places of the samples, pixels
    wanted = 2 * torch.arange(16.0) + 0.5
    assert torch.allclose(enlarge(coarse)[0, 0, 5, 1:-1], wanted[1:-1])


def test_maps_follow_the_image(network: LightNetwork) -> None:
    """Moved by 16 pixels, both maps move by as much, in what does not see the rim; sizes that are no multiples of 16 are filled up."""
    gray = gray_of(208, 176)
    with torch.inference_mode():
        network.backbone.norm.eval()
        part, shifted = (network(gray[:, :, y:y + 160, y:y + 192]) for y in (0, 16))
        odd = network(gray[:, :, :149, :181])
    assert odd[0].shape == (1, 1, 149, 181) and odd[1].shape == (1, 64, 20, 24)
    assert part[0].shape == (1, 1, 160, 192) and part[1].shape == (1, 64, 20, 24)
    ours, moved = part[0][0, 0, 80:96, 80:112], shifted[0][0, 0, 64:80, 64:96]
    assert np.corrcoef(ours.flatten(), moved.flatten())[0, 1] > 0.98        # but for the norm over the whole image
    off = shifted[0][0, 0, 65:81, 64:96]
    assert np.corrcoef(ours.flatten(), off.flatten())[0, 1] < 0.9


def test_folded(network: LightNetwork) -> None:
    gray, xy = gray_of(96, 64), torch.tensor([[20.0, 30.0], [70.5, 31.0]])
    folded = network.folded()
    with torch.inference_mode():
        for ours, expected in zip(folded(gray), network(gray)):
            assert torch.allclose(ours, expected, atol=1e-3)
        for kind, length in DESCRIPTORS.items():
            ours, expected = (one.describe(gray, one(gray)[1], xy, descriptor=kind) for one in (folded, network))
            assert ours.shape == (2, length) and torch.allclose(ours, expected, atol=1e-4)
            assert network.describe(gray, network(gray)[1], xy[:0], descriptor=kind).shape == (0, length)


@pytest.mark.parametrize("backend", ["pytorch", "openvino"])
def test_extraction(network: LightNetwork, weights: Path, backend: str) -> None:
    """DALF takes the network from the file; keypoints are the heatmap's maxima, at its own pixels, set right by the bias."""
    if backend == "openvino":
        pytest.importorskip("openvino")
    dalf = DALF(weights, "cpu", top_k=200, backend=backend, precision="float32")
    image = textured(181, 149)
    found, heatmap = dalf.extract(image), dalf.heatmap(image)
    assert dalf.architecture == "light" and dalf.geometry == ALIGNED and dalf.keypoint_bias == 0.25
    assert found.descriptors.shape == (200, 128) and heatmap.shape == (149, 181)
    strongest = np.unravel_index(heatmap[2:-2, 2:-2].argmax(), (145, 177))
    assert np.abs(found.keypoints[0] + 0.25 - (strongest[1] + 2, strongest[0] + 2)).max() <= 0.5 and found.scores[0] <= 1
    with torch.inference_mode():
        gray = gray_of(181, 149)
        expected = network.describe(gray, network(gray)[1], torch.from_numpy(found.keypoints))
    assert (found.descriptors * expected.numpy()).sum(axis=1).min() > 0.999


def test_what_does_not_fit(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="geometry='original' is DALF's.*'light'"):
        DALF(weights, "cpu", geometry="original")
    with pytest.raises(ValueError, match="aligned"):
        save_weights(LightNetwork(), tmp_path / "x.safetensors", geometry="corrected")
    with pytest.raises(ValueError, match="corrected"):
        save_weights(DalfNetwork(), tmp_path / "x.safetensors", geometry="aligned")
    other = DalfNetwork()
    other.architecture, other.geometries = "light", (ALIGNED,)
    save_weights(other, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="does not fit the network of kind 'light'"):
        load_network(tmp_path / "x.safetensors")
    other.architecture = "heavy"
    save_weights(other, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="does not describe a network of kind 'ts-fl' or 'light'"):
        load_network(tmp_path / "x.safetensors")


def test_a_white_margin_has_no_keypoints() -> None:
    """Where the shipped network sees its own padding beyond a white rim, it sees an edge: one that does not move with the scene."""
    picture = np.full((240, 320, 3), 255, np.uint8)
    picture[60:180, 80:240] = textured(160, 120)
    places = DALF(weights="light", top_k=2000).extract(picture).keypoints
    inner = (places[:, 0] > 60) & (places[:, 0] < 260) & (places[:, 1] > 40) & (places[:, 1] < 200)
    assert len(places) > 100 and inner.all(), places[~inner]
