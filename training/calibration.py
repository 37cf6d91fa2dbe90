"""Calibration of a trained detector: the heatmap threshold of a keypoint, and the average error of its places."""
from __future__ import annotations

import numpy as np
import torch

from dalf_core.features.keypoints import find_keypoints
from dalf_core.features.network import Network

KEYPOINT_AREA = 90          # pixels for each keypoint of an ordinary photo: about as many as the official weights and threshold find
NEAR = 3.0                  # pixels: the same keypoint in an image and its mirror image


@torch.no_grad()
def calibrate(network: Network, gray: torch.Tensor) -> dict[str, str]:
    """Metadata for save_weights: threshold and keypoint_bias. network: in evaluation mode. gray: (B, 1, H, W) ordinary photos."""
    threshold = _threshold(network(gray)[0], network.geometries[0])
    return {"threshold": f"{threshold:.3f}", "keypoint_bias": f"{_bias(network, gray, threshold):.3f}"}


def _threshold(heatmap: torch.Tensor, geometry: str) -> float:
    """The value above which there is one keypoint for KEYPOINT_AREA pixels, over all photos."""
    values = torch.cat([find_keypoints(one[0], -torch.inf, geometry)[1] for one in heatmap])
    count = min(heatmap.numel() // KEYPOINT_AREA, len(values))
    return float(values.topk(count).values[-1]) if count else 0.0


def _bias(network: Network, gray: torch.Tensor, threshold: float) -> float:
    """Pixels by which keypoints lie too far right and down: half of what they differ by in mirrored photos (median, both axes)."""
    offsets = []
    far = torch.tensor([gray.shape[-1] - 1, gray.shape[-2] - 1], dtype=gray.dtype, device=gray.device)
    for plain, turned in zip(network(gray)[0], network(gray.flip(-1, -2))[0]):
        first = find_keypoints(plain[0], threshold, network.geometries[0])[0]
        second = far - find_keypoints(turned[0], threshold, network.geometries[0])[0]
        if len(first) and len(second):
            distance, partner = torch.cdist(first, second).min(dim=1)
            offsets.append((first - second[partner])[distance < NEAR].flatten().cpu().numpy())
    found = np.concatenate(offsets) if offsets else np.zeros(0)
    return float(np.median(found) / 2) if len(found) else 0.0
