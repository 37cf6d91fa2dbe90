"""In which types the training computes."""
from __future__ import annotations

import torch
from torch import nn

from dalf_core.network import DalfNetwork


class Float32Conv2d(nn.Conv2d):
    """A convolution that stays in float32 within autocast."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def keep_logits_in_float32(network: DalfNetwork) -> None:
    """Compute the heatmap's last layer in float32, in place: bfloat16 has three digits, and heatmaps of 20 and more differ in the third."""
    head = network.backbone.keypoint_head
    old = head[-1]
    new = Float32Conv2d(old.in_channels, old.out_channels, old.kernel_size)
    new.weight, new.bias = old.weight, old.bias
    head[-1] = new


def autocast_type(precision: str, device: torch.device) -> torch.dtype | None:
    """The type of the convolutions, or None for float32. precision: of TrainingConfig."""
    if precision == "float32":
        return None
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported()
    else:
        supported = torch.backends.mkldnn.is_available() and "avx512_bf16" in _cpu_flags()
    if precision == "bfloat16" and not supported:
        raise ValueError(f"precision bfloat16 is not to be had on this machine's {device.type}; take auto or float32")
    return torch.bfloat16 if supported else None


def _cpu_flags() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return next((line for line in stream if line.startswith("flags")), "")
    except OSError:
        return ""
