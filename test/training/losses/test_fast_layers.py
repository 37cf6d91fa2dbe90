"""The faster layers give the values and gradients of those they stand for."""
import copy

import pytest
import torch
import torch.nn.functional as F
from dalf_training.data.random_numbers import seeded
from dalf_training.losses.fast_layers import FastCircularRows, autocast_type, enlarge, make_fast

from dalf_core.features.network import CircularRows, DalfNetwork


@pytest.mark.parametrize(("small", "large"), [((13, 21), (30, 47)), ((46, 71), (100, 150)), ((1, 5), (7, 9))])
def test_enlarge(small: tuple[int, int], large: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *small, generator=seeded("cpu", 1), dtype=torch.float64, requires_grad=True)
    ours, theirs = enlarge(x, torch.Size(large)), F.interpolate(x, large, mode="bicubic", align_corners=True)
    assert torch.allclose(ours, theirs, atol=1e-9)
    weight = torch.randn(ours.shape, generator=seeded("cpu", 2), dtype=torch.float64)
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, theirs)]
    assert torch.allclose(*gradients, atol=1e-9)


def test_circular_rows() -> None:
    x = torch.randn(2, 3, 5, 4, generator=seeded("cpu", 3), requires_grad=True)
    ours, theirs = FastCircularRows()(x), CircularRows()(x)
    assert torch.equal(ours, theirs)
    weight = torch.randn(ours.shape, generator=seeded("cpu", 4))
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, theirs)]
    assert torch.allclose(*gradients)


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_the_network_stays_the_same(autocast: torch.dtype | None) -> None:
    torch.manual_seed(0)
    plain = DalfNetwork()
    fast = copy.deepcopy(plain)
    make_fast(fast, autocast)
    assert list(fast.state_dict()) == list(plain.state_dict())
    gray, patches = torch.rand(2, 1, 64, 96, generator=seeded("cpu", 5)), torch.rand(9, 1, 32, 32, generator=seeded("cpu", 6))
    gradients = []
    for network in (plain, fast):
        network.train()
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        heatmap, features = network(gray)
        described = network.patch_descriptor(patches)
        (heatmap.sin().mean() + features.sin().mean() + described.sin().mean()).backward()
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-6, rtol=1e-3), name
    assert torch.allclose(plain.backbone.keypoint_head[1].running_var, fast.backbone.keypoint_head[1].running_var, rtol=1e-4)


def test_precision() -> None:
    assert autocast_type("float32", torch.device("cpu")) is None
    assert autocast_type("auto", torch.device("cpu")) in (None, torch.bfloat16)


def test_a_gpu_that_emulates_bfloat16_takes_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is many times slower there."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert autocast_type("auto", torch.device("cuda")) is None
    with pytest.raises(ValueError, match="bfloat16 is not available"):
        autocast_type("bfloat16", torch.device("cuda"))


@pytest.mark.gpu
def test_precision_on_a_gpu() -> None:
    expected = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    assert autocast_type("auto", torch.device("cuda")) is expected
