"""The network's layers in versions whose gradients are faster, and in what type they compute. Values and names in its state stay."""
from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dalf_core.features.network import CircularRows, DalfNetwork, Network


def make_fast(network: Network, autocast: torch.dtype | None) -> None:
    """Put the faster layers into a network, in place. autocast: the type its convolutions will compute in."""
    if isinstance(network, DalfNetwork):
        network.backbone.enlarge = enlarge
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True       # nothing before them needs its own output
        if isinstance(module, nn.Sequential):
            for position, layer in enumerate(module):
                if isinstance(layer, CircularRows):
                    module[position] = FastCircularRows()
                elif _is_slow(layer, autocast):
                    module[position] = _in_float32(layer)


def autocast_type(precision: str, device: torch.device) -> torch.dtype | None:
    """The type of the convolutions, or None for float32. precision: of TrainingConfig."""
    if precision == "float32":
        return None
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        supported = torch.backends.mkldnn.is_available() and "avx512_bf16" in _cpu_flags()
    if precision == "bfloat16" and not supported:
        raise ValueError(f"precision bfloat16 is not available on this machine's {device.type}; use auto or float32")
    return torch.bfloat16 if supported else None


def full_precision(x: torch.Tensor) -> torch.Tensor:
    """float32, for what is in half precision; all else stays."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def enlarge(x: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """(B, C, h, w) to (B, C, *size), as F.interpolate(x, size, mode="bicubic", align_corners=True), by two matrix products.

    PyTorch's own gradient adds up single values one by one; on a GPU by atomic additions, in no fixed order.
    """
    batch, channels, height, width = x.shape
    rows, columns = (_weights(length, wanted, x.dtype, x.device) for length, wanted in zip((height, width), size))
    last = x.permute(0, 2, 3, 1).reshape(batch, height, width * channels)           # channels last: no copy if x lies so
    tall = (rows @ last).reshape(batch * size[0], width, channels)
    return (columns @ tall).reshape(batch, *size, channels).permute(0, 3, 1, 2)


class FastCircularRows(nn.Module):
    """CircularRows with a gradient of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _CircularRows.apply(x)


class Float32Conv2d(nn.Conv2d):
    """A convolution that stays in float32 within autocast."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class _CircularRows(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :, -1:], x, x[:, :, :1]], dim=2)

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        inner = gradient[:, :, 1:-1].clone(memory_format=torch.preserve_format)
        inner[:, :, -1:] += gradient[:, :, :1]
        inner[:, :, :1] += gradient[:, :, -1:]
        return inner


def _is_slow(layer: nn.Module, autocast: torch.dtype | None) -> bool:
    """The weights' gradient of a strided convolution in bfloat16 takes a processor eight times as long as in float32."""
    return isinstance(layer, nn.Conv2d) and layer.stride != (1, 1) and autocast is not None and layer.weight.device.type == "cpu"


def _in_float32(layer: nn.Conv2d) -> nn.Conv2d:
    made = Float32Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, bias=layer.bias is not None)
    made.weight, made.bias = layer.weight, layer.bias
    return made


@lru_cache(maxsize=32)
def _weights(length: int, size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(size, length): what each sample contributes to each enlarged one."""
    with torch.autocast(device.type, enabled=False), torch.inference_mode(False), torch.no_grad():
        impulses = torch.eye(length, dtype=torch.float64)[None, :, :, None].expand(-1, -1, -1, 4)
        return F.interpolate(impulses, (size, 4), mode="bicubic", align_corners=True)[0, :, :, 0].T.to(device, dtype).contiguous()


def _cpu_flags() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return next((line for line in stream if line.startswith("flags")), "")
    except OSError:
        return ""
