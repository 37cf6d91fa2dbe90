"""The backbone in tiles against the whole one."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dalf_core import DALF
from dalf_core.features import acceleration, tiles
from dalf_core.features.acceleration import accelerate, openvino_fault
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


@pytest.mark.parametrize("halo", [0, 1, 2])
@pytest.mark.parametrize("height", [2, 31, 32, 33, 36, 37, 38, 71, 100, 2160, 2161])
def test_tiles_cover_a_map_and_are_all_alike(height, halo):
    found = list(tiles.tiles(height, 1 << 20, halo))
    assert len({tile.last - tile.first for tile in found}) == 1 and all(tile.first % 2 == 0 for tile in found)
    covered = 0
    for tile in found:
        assert 0 <= tile.first <= tile.start <= covered < tile.end <= tile.last <= height
        assert tile.start >= tile.first + (halo if tile.first else 0) and tile.end <= tile.last - (halo if tile.last < height else 0)
        covered = tile.end
    assert covered == height


@pytest.mark.skipif(bool(openvino_fault()), reason=openvino_fault())
def test_tiles_run_on_openvino_compiled_once_for_each_map(monkeypatch, network):
    compiled, plain = [], acceleration.compiled
    monkeypatch.setattr(tiles, "TILE_PIXELS", 1)
    monkeypatch.setattr(acceleration, "compiled", lambda module, shapes, *more: compiled.append(shapes) or plain(module, shapes, *more))
    gray = torch.rand(1, 1, 331, 257, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = network(gray)
        accelerated = network.folded()
        accelerate(accelerated, "float32")
        for _ in range(2):
            for reference, ours in zip(expected, accelerated(gray, tile_above=1)):
                assert (ours - reference).abs().max() < 1e-5 * reference.abs().max()
    assert len(compiled) == 7 and compiled[0] == ((1, 1, 37, 257),)      # three of the encoder, two of the decoder, two heads


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
    dalf = DALF(data_folder / "dalf" / "model_ts-fl_final.pth", "cpu", top_k=150, backend=backend, precision="float32")
    image = textured(301, 232)
    whole = dalf.extract(image)
    monkeypatch.setattr(tiles, "TILE_PIXELS", 1)
    dalf._pipeline = replace(dalf._pipeline, tile_above=1)
    parts = dalf.extract(image)
    assert len(whole) == 150
    assert abs(whole.keypoints - parts.keypoints).max() < 0.01 and (whole.descriptors * parts.descriptors).sum(axis=1).min() > 0.9999
