"""Layers as OpenVINO runs them against PyTorch; and that OpenVINO reports to nobody."""
from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from dalf_core.features import acceleration
from dalf_core.features.light_network import LightNetwork, PatchRows
from dalf_core.features.network import CircularRows, DalfNetwork
from dalf_core.features.openvino_graph import model_of
from dalf_core.features.tiles import JoinedTile, KeypointTile

pytestmark = pytest.mark.skipif(bool(acceleration.openvino_fault()), reason=acceleration.openvino_fault())
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture(scope="module")
def network() -> DalfNetwork:
    torch.manual_seed(0)
    return DalfNetwork().folded()


def check(module: nn.Module, *shapes: tuple[int, ...]) -> None:
    inputs = [torch.rand(shape, generator=torch.Generator().manual_seed(len(shape))) for shape in shapes]
    model = acceleration.compiled(module.eval(), shapes, acceleration.quiet_openvino().Core(), SETTINGS)
    with torch.inference_mode():
        expected = module(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    got = model([x.numpy() for x in inputs]).to_tuple()
    assert len(got) == len(expected)
    for ours, reference in zip(got, expected):
        assert ours.shape == reference.shape
        assert np.abs(ours - reference.numpy()).max() <= 2e-5 * reference.abs().max()


@pytest.mark.parametrize("layer", [
    nn.Conv2d(3, 5, 3, stride=2, padding=(0, 1)), nn.Conv2d(3, 5, (1, 2), dilation=2, bias=False), nn.ReLU(), nn.MaxPool2d(2),
    nn.MaxPool2d((3, 2), stride=1), nn.AvgPool2d((8, 1), stride=1), nn.InstanceNorm2d(3), CircularRows(), nn.Identity(),
    nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU())], ids=str)
def test_layers(layer):
    check(layer, (2, 3, 13, 11))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (61, 83), (96, 64)])
def test_the_network_s_parts(network, height, width):
    check(network.backbone, (1, 1, height, width))
    check(network.warper.convolutions, (1, 64, height // 8, width // 8))
    check(network.patch_descriptor, (3, 1, 32, 32))


@pytest.mark.parametrize("layer", [nn.PixelShuffle(2), nn.PixelUnshuffle(2)], ids=str)
def test_pixels_become_channels_and_back(layer):
    check(layer, (2, 8, 6, 10))


@pytest.mark.parametrize(("height", "width"), [(32, 48), (96, 64)])
def test_the_light_network_s_parts(height, width):
    torch.manual_seed(0)
    light = LightNetwork().folded()
    check(light.backbone, (1, 1, height, width))
    check(PatchRows(light.patch_descriptor.layers), (3, 1, 32, 16))


def test_tiles(network):
    check(JoinedTile(network.backbone.decoder[1]), (1, 64, 36, 27), (1, 32, 36, 62))
    check(KeypointTile(network.backbone.keypoint_head), (1, 32, 34, 58), (1, 1, 34, 125))


@pytest.mark.parametrize("layer", [nn.GELU(), nn.Sequential(nn.BatchNorm2d(3))], ids=str)
def test_a_layer_without_translation_is_named(layer):
    with pytest.raises(TypeError, match="(GELU|BatchNorm2d) has no translation"):
        model_of(layer, [(1, 3, 9, 9)])


def test_nothing_is_reported(tmp_path):
    """OpenVINO would start a process at its import that sends a message to its maker, and keep a file of its own at home."""
    program = ("import sys, numpy\n"
               "sent = []\n"
               "odd = 'subprocess.Popen', 'socket.connect', 'os.fork', 'os.posix_spawn', 'socket.getaddrinfo'\n"
               "sys.addaudithook(lambda event, args: sent.append((event, args)) if event in odd else None)\n"
               "from dalf_core import DALF\n"
               "image = numpy.random.default_rng(0).integers(0, 255, (64, 64), numpy.uint8)\n"
               "DALF(device='cpu', top_k=5, backend='openvino', threshold=-1e9).extract(image)\n"
               "import openvino\n"
               "print(sent, [name for name in sys.modules if 'openvino_telemetry' in name], callable(openvino.convert_model))")
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[] [] True"
    assert not (tmp_path / "intel").exists()
