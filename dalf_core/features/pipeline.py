"""Tensors in, tensors out: from a batch of grey images to keypoints and descriptors on the device."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from .geometry import ORIGINAL
from .keypoints import find_keypoints, strongest_keypoints
from .network import Network

CHUNK = {"cpu": 64, "cuda": 1024}                   # patches described at once: fits a processor's cache, fills a GPU
OPENVINO_CHUNK = 1024           # it makes its own small batches
TILE_ABOVE = {"cpu": 2_100_000, "cuda": 9_000_000}      # pixels of an image; tiles are slower; 2.1 million: full HD
LEAST_CHUNK, LEAST_TILE_ABOVE = 32, 300_000


class Found(NamedTuple):
    """keypoints (N, 2) pixels; scores (N,) heatmap values over the heatmap's maximum, strongest first; descriptors (N, D)."""

    keypoints: torch.Tensor
    scores: torch.Tensor
    descriptors: torch.Tensor


@dataclass(frozen=True)
class Pipeline:
    """The network with how its maps are read. See DALF for the arguments. It never changes, so a CUDA graph may hold all of it.

    bias: see find_keypoints. chunk: patches described at once. tile_above: images with more pixels are worked on in tiles.
    """

    network: Network
    device: torch.device
    geometry: str
    threshold: float
    descriptor: str
    bias: float
    chunk: int
    tile_above: int

    def smaller(self) -> Pipeline | None:
        """The same in smaller steps; None when they cannot get smaller."""
        if self.chunk <= LEAST_CHUNK and self.tile_above <= LEAST_TILE_ABOVE:
            return None
        return replace(self, chunk=max(self.chunk // 4, LEAST_CHUNK), tile_above=max(self.tile_above // 4, LEAST_TILE_ABOVE))

    def tiles(self, height: int, width: int) -> bool:
        """Whether images of this size are worked on in tiles."""
        return height * width > self.tile_above

    def maps(self, gray: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Heatmap and features of gray (B, 1, H, W). The original geometry takes one CPU thread, so that its rounding does not depend
        on their number, and the whole image at once."""
        if self.geometry != ORIGINAL:
            return self.network(gray, self.tile_above)
        threads = torch.get_num_threads()
        if self.device.type != "cpu" or threads == 1:
            return self.network(gray)
        torch.set_num_threads(1)
        try:
            return self.network(gray)
        finally:
            torch.set_num_threads(threads)

    def run(self, gray: torch.Tensor, allowed: list[torch.Tensor | None], top_k: int) -> list[Found]:
        """gray: (B, 1, H, W). allowed: for each image (H', W') bool, where keypoints may lie, at any resolution; or None."""
        heatmaps, features = self.maps(gray)
        found = []
        for image, heatmap, feature, mask in zip(gray.split(1), heatmaps, features.split(1), allowed):
            xy, score = find_keypoints(heatmap[0], self.threshold, self.geometry, self.bias, None if mask is not None else top_k)
            if mask is not None:
                inside = _inside(xy, mask, heatmap.shape[-2:])
                xy, score = xy[inside], score[inside]
            xy, score = xy[:top_k], score[:top_k]
            found.append(Found(xy, score / heatmap.max(), self.describe(image, feature, xy)))
        return found

    def run_fixed(self, gray: torch.Tensor, top_k: int) -> Found:
        """As run for one image (1, 1, H, W) without a mask, with any geometry but the original, always top_k rows: those beyond the last
        keypoint have a score of -inf. The image is never worked on in tiles. Nothing in here waits for the GPU, so that it can be captured
        as one graph."""
        return Found(*(values[0] for values in self.run_fixed_batch(gray, top_k, self.chunk)))

    def run_fixed_batch(self, gray: torch.Tensor, top_k: int, chunk: int | None = None) -> Found:
        """As run_fixed for images (B, 1, H, W): keypoints (B, top_k, 2), scores (B, top_k), descriptors (B, top_k, D).

        chunk: patches described at once, for one image only.
        """
        assert self.geometry != ORIGINAL
        heatmap, features = self.network(gray)
        xy, score = strongest_keypoints(heatmap[:, 0], top_k, self.threshold, self.bias, self.geometry)
        descriptors = self.network.describe(gray, features, xy.flatten(0, 1), geometry=self.geometry, descriptor=self.descriptor,
                                            chunk=chunk)
        return Found(xy, score / heatmap.amax((2, 3)), descriptors.unflatten(0, xy.shape[:2]))

    def describe(self, gray: torch.Tensor, features: torch.Tensor, xy: torch.Tensor) -> torch.Tensor:
        """Descriptors (N, D) of pixels xy (N, 2) of gray (1, 1, H, W), whose features are (1, 64, H//8, W//8)."""
        return self.network.describe(gray, features, xy, geometry=self.geometry, descriptor=self.descriptor, chunk=self.chunk)


def _inside(xy: torch.Tensor, mask: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """(N,) bool: which pixels xy (N, 2) of an image of size (H, W) the mask (H', W') of the same view allows."""
    mask = mask.to(xy.device)
    place = []
    for column, length, ours in ((0, mask.shape[1], size[1]), (1, mask.shape[0], size[0])):
        ratio = length / ours
        place.append(((xy[:, column] + 0.5) * ratio - 0.5).round().long().clamp(0, length - 1))
    return mask[place[1], place[0]]
