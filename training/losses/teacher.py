"""What the light network's detector learns: another network's heatmap of view A, asked for in both views."""
from __future__ import annotations

import copy

import torch
import torch.nn.functional as F

from dalf_core.features.acceleration import accelerate, openvino_fault
from dalf_core.features.geometry import constant, image_to_heatmap
from dalf_core.weights import load_network

from ..data.dense_positions import dense_positions
from ..data.views import Views

BUILT_IN = "built-in"
KNEE = 20.0         # of the teacher's values; beyond it they are compressed: peaks of textured places are many times those of others


class Teacher:
    """A trained network in evaluation mode that answers for image pairs. weights: "built-in", or as for DALF. Raises WeightsError."""

    def __init__(self, weights: str, device: torch.device) -> None:
        network, loaded = load_network(None if weights == BUILT_IN else weights)
        self._geometry, self._bias, self.source = network.geometries[0], loaded.keypoint_bias, loaded.source
        self._network = copy.deepcopy(network).folded().to(device, memory_format=torch.channels_last)
        if device.type == "cpu" and not openvino_fault():
            accelerate(self._network, "float32")

    @torch.no_grad()
    def answers(self, views: Views, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The wanted heatmap of the first N = count pairs at every pixel of both views (2N, 1, h, w), A's first, and where there is an
        answer (2N, 1, h, w) bool.

        B's answer is A's at the place that it shows: what does not hold still under the warp is not learned from.
        """
        size = (views.gray_a.shape[-1], views.gray_a.shape[-2])
        with torch.inference_mode():
            heatmap = self._network(views.gray_a[:count])[0]
        heatmap = torch.asinh(heatmap.float().clone() / KNEE)
        y, x = torch.meshgrid(torch.arange(size[1]), torch.arange(size[0]), indexing="ij")
        pixels = torch.stack([x, y], dim=-1).to(heatmap)[None].expand(len(heatmap), -1, -1, -1)
        in_a = dense_positions(views.warp, 1)[:count] - constant(views.corner, heatmap)
        far = constant((size[0] - 1, size[1] - 1), heatmap)
        shown = ((in_a >= 0) & (in_a <= far)).all(dim=-1) & ~views.covered[:count]
        places = torch.cat([pixels, in_a])
        at = image_to_heatmap(places.reshape(-1, 2) + self._bias, size, self._geometry).reshape(places.shape)
        wanted = F.grid_sample(heatmap.repeat(2, 1, 1, 1), at / far * 2 - 1, mode="bilinear", padding_mode="border", align_corners=True)
        return wanted, torch.cat([torch.ones_like(shown), shown])[:, None]


def taught_loss(heatmap: torch.Tensor, wanted: torch.Tensor, known: torch.Tensor, border: int) -> torch.Tensor:
    """(N,) for each pair, the mean squared error over the teacher's variance, where there is an answer and not at the rim.

    heatmap, wanted, known: (2N, 1, h, w), A's first. border: pixels, the width of the rim.
    """
    inner = (..., slice(border, heatmap.shape[-2] - border), slice(border, heatmap.shape[-1] - border))
    heatmap, wanted, known = heatmap[inner].float(), wanted[inner], known[inner]
    variance = wanted[known].var().clamp_min(1e-6)
    error = (heatmap - wanted).square() * known
    a, b = (error.flatten(1).sum(dim=1) / known.flatten(1).sum(dim=1).clamp_min(1) / variance).chunk(2)
    return (a + b) / 2
