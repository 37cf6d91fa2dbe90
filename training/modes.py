"""What learns in each mode of training. The names are those of the original trainer."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from dalf_core.features.light_network import LightNetwork
from dalf_core.features.network import DalfNetwork, Network

_DETECTOR = ("backbone.decoder", "backbone.keypoint_head")
_FEATURES = ("backbone.encoder", "backbone.feature_head")
_POLAR = ("warper", "patch_descriptor")


@dataclass(frozen=True)
class Mode:
    """summary: in words. parts: of the network, that learn; the rest stays as it is, batch norms included.

    descriptors: whose triplet losses are averaged; the first decides which matches are right. concatenated: fusion is held at a plain
    concatenation. punished: matches that the descriptors get wrong cost something in the last part of the training.
    second: needs the weights of a first stage. architecture: of the network. taught: the detector learns from another network's heatmap,
    and matches are drawn by the true map.
    """

    summary: str
    parts: tuple[str, ...]
    descriptors: tuple[str, ...]
    concatenated: bool = False
    punished: bool = True
    second: bool = False
    architecture: str = DalfNetwork.architecture
    taught: bool = False


MODES = {
    "ts1": Mode("first stage: detector and backbone descriptors", _FEATURES + _DETECTOR, ("backbone",), punished=False),
    "ts2": Mode("second stage: detector, warper, polar descriptor; both halves concatenated; encoder and feature head stay",
                _DETECTOR + _POLAR, ("fused", "polar"), concatenated=True, second=True),
    "ts-fl": Mode("second stage: detector, warper, polar descriptor, fusion; encoder and feature head stay",
                  (*_DETECTOR, *_POLAR, "fusion"), ("fused", "polar"), second=True),
    "end2end-backbone": Mode("all at once: detector and backbone descriptors", _FEATURES + _DETECTOR, ("backbone",)),
    "end2end-tps": Mode("all at once: detector, warper, polar descriptor", ("backbone.encoder", *_DETECTOR, *_POLAR), ("polar",)),
    "end2end-full": Mode("all at once: detector and both halves, concatenated", _FEATURES + _DETECTOR + _POLAR, ("fused", "polar"),
                         concatenated=True),
    "end2end-fl": Mode("all at once: detector, both halves, fusion (the original has no such mode)",
                       (*_FEATURES, *_DETECTOR, *_POLAR, "fusion"), ("fused", "polar", "backbone")),
    "light": Mode("the light network: all of it, the detector from a teacher's heatmap", ("backbone", "patch_descriptor", "fusion"),
                  ("fused", "polar", "backbone"), architecture=LightNetwork.architecture, taught=True),
}


def prepare(network: Network, mode: Mode, dropout: float) -> list[nn.Parameter]:
    """Freeze and thaw the network's parts for a mode, in place; the parameters that learn."""
    network.requires_grad_(False).eval()
    for name in mode.parts:
        network.get_submodule(name).requires_grad_(True)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    if mode.concatenated:
        concatenate(network)
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def train_parts(network: Network, mode: Mode) -> None:
    """Set the parts that learn to training mode (batch norms take the batch's statistics, dropout drops), the others to evaluation."""
    network.eval()
    for name in mode.parts:
        network.get_submodule(name).train()


@torch.no_grad()
def concatenate(network: DalfNetwork) -> None:
    """Make the fusion a plain concatenation: all gates are one half, which the normalisation of the descriptor takes away."""
    last = network.fusion.gate[2]
    last.weight.zero_()
    last.bias.zero_()
