"""Several processes that train one network together, started by torchrun. One process is the same with nothing to do.

Every process works on its share of each batch. Batch norms take the statistics of the whole batch and gradients are averaged, so the
result is that of one process with the whole batch, but for rounding and dropout.
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

PATIENCE = timedelta(hours=2)       # of processes that wait for one that makes the photos' cache or validates; NCCL's own is ten minutes


@dataclass(frozen=True)
class World:
    """rank: of this process, from 0. processes: how many there are. device: this process's."""

    rank: int
    processes: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    @property
    def makes_caches(self) -> bool:
        """Whether this is the first process of its machine."""
        return int(os.environ.get("LOCAL_RANK", 0)) == 0

    def barrier(self) -> None:
        """Wait for the others."""
        if self.processes > 1:
            dist.barrier()


@contextmanager
def join_world(device: torch.device) -> Iterator[World]:
    """The processes that torchrun started, connected by NCCL on GPUs, by gloo on CPUs; or this process alone."""
    processes = int(os.environ.get("WORLD_SIZE", 1))
    if processes > 1 and device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)       # else pinned memory and questions about the GPU go to the first one
    if processes == 1:
        yield World(0, 1, device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield World(dist.get_rank(), processes, device)
    finally:
        dist.destroy_process_group()


def average(values: list[torch.Tensor], world: World) -> None:
    """Replace tensors by their mean over all processes, in place, in one exchange."""
    if world.processes == 1:
        return
    flat = torch.cat([value.flatten().float() for value in values])
    dist.all_reduce(flat)
    for value, mean in zip(values, (flat / world.processes).split([value.numel() for value in values])):
        value.copy_(mean.view_as(value))


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient, for what each computes from the sum depends on all."""

    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _Sum.forward(ctx, gradient)


class _WholeBatchNorm(nn.modules.batchnorm._BatchNorm):
    """A batch norm without scale and shift that takes the statistics of the batch of all processes."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.dim() not in (2, 4):
            raise ValueError(f"expected 2 or 4 dimensions, not {input.dim()}")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, eps=self.eps)
        mean, variance, count = _whole_statistics(x)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            self.running_var.lerp_((variance * count / (count - 1).clamp_min(1)).to(self.running_var), self.momentum)
        shape = (1, -1) + (1,) * (x.dim() - 2)
        scale = torch.rsqrt(variance + self.eps).view(shape)
        return ((x - mean.view(shape)) * scale).to(x.dtype)


def _whole_statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean (C,), biased variance (C,) and count of x (N, C, ...) over all processes, differentiable."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    count = x.numel() / x.shape[1]
    variance, mean = (value.double() for value in torch.var_mean(x.float(), axes, correction=0))
    sums = _Sum.apply(torch.cat([count * mean, count * (variance + mean.square()), mean.new_full((1,), count)]))
    first, second, total = sums[:len(mean)], sums[len(mean):-1], sums[-1]
    mean = first / total
    return mean.float(), (second / total - mean.square()).clamp_min(0).float(), total.float().detach()


def share_batch_norms(network: nn.Module, world: World) -> None:
    """Make every batch norm take the statistics of the whole batch, in place; the names in its state stay."""
    if world.processes == 1:
        return
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
                shared = _WholeBatchNorm(child.num_features, child.eps, child.momentum, affine=False)
                shared.load_state_dict(child.state_dict())
                setattr(module, name, shared.train(child.training).to(child.running_mean.device))
