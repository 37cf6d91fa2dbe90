"""The backbone in tiles against the whole one."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dalf_core import DALF
from dalf_core.features import tiles
from dalf_core.features.acceleration import openvino_fault
from dalf_core.features.network import DalfNetwork
from dalf_core.features.tiles import stretched_rows

from ..feature_fixtures import textured


@pytest.fixture(scope="module")
def network() -> DalfNetwork:
    torch.manual_seed(0)
    return DalfNetwork().folded()


@pytest.mark.parametrize(("height", "width"), [(331, 257), (200, 301), (130, 64), (33, 65), (32, 32)])
def test_tiles_give_the_whole_maps(monkeypatch, network, height, width):
    monkeypatch.setattr(tiles, "TILE_PIXELS", 1)          # the thinnest
    gray = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole, parts = network(gray), network(gray, tile_above=1)
    for expected, got in zip(whole, parts):
        assert got.shape == expected.shape
        assert (got - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_stretch_are_those_of_the_whole(mode):
    x = torch.rand(1, 3, 17, 9, dtype=torch.float64)
    whole = F.interpolate(x, (40, 9), mode=mode, align_corners=True)
    for rows in (slice(0, 1), slice(0, 40), slice(13, 22), slice(39, 40)):
        assert torch.allclose(stretched_rows(x, 40, rows, mode), whole[:, :, rows], atol=1e-12)


@pytest.mark.parametrize("backend", ["openvino", "pytorch"])
def test_a_large_image_gives_the_same_features(monkeypatch, data_folder, backend):
    if backend == "openvino":
        if fault := openvino_fault():
            pytest.skip(fault)
    dalf = DALF(data_folder / "dalf" / "model_ts-fl_final.pth", "cpu", top_k=150, backend=backend)
    image = textured(301, 232)
    whole = dalf.extract(image)
    monkeypatch.setattr(tiles, "TILE_PIXELS", 1)
    dalf._pipeline = replace(dalf._pipeline, tile_above=1)
    parts = dalf.extract(image)
    assert len(whole) == 150
    assert abs(whole.keypoints - parts.keypoints).max() < 0.01 and (whole.descriptors * parts.descriptors).sum(axis=1).min() > 0.9999
