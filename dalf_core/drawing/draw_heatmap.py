"""Pictures of the detector's heatmap."""
from __future__ import annotations

import cv2
import numpy as np
import torch

from ..features.geometry import CORRECTED, image_to_heatmap
from .draw import as_bgr
from .palette import magnitude_colors

RIM = 8             # heatmap samples a side that answer to the network's zero padding, not to the picture
FADED = 0.4         # brightness and contrast left of the picture below


def draw_heatmap(image: np.ndarray, heatmap: np.ndarray, opacity: float = 0.9, *, geometry: str = CORRECTED,
                 keypoint_bias: float = 0.0) -> np.ndarray:
    """The detector's positive response laid over the image (BGR, faded to grey), where it lies in the image: its peaks are the keypoints.

    heatmap: (H, W) of DALF.heatmap; its rim, which answers to the network's padding, shows what lies inside of it. opacity: 0..1, of the
    greatest response. geometry, keypoint_bias: the extractor's attributes of that name.
    """
    picture = as_bgr(image)
    if heatmap.shape != picture.shape[:2]:
        raise ValueError(f"the heatmap is of shape {heatmap.shape}, but the image is {picture.shape[1]}x{picture.shape[0]} pixels")
    response = heatmap_in_image(_without_rim(np.clip(heatmap, 0, None)), geometry, keypoint_bias)
    share = np.sqrt(response / max(float(response.max()), 1e-9))
    gray = FADED * cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.float32)
    return np.rint(gray + opacity * share[..., None] * (magnitude_colors(share) - gray)).astype(np.uint8)


def _without_rim(heatmap: np.ndarray) -> np.ndarray:
    """The map with its outermost samples replaced by the nearest inside."""
    rows, columns = (min(RIM, (side - 1) // 2) for side in heatmap.shape)
    return np.pad(heatmap[rows:len(heatmap) - rows, columns:heatmap.shape[1] - columns], ((rows, rows), (columns, columns)), mode="edge")


def heatmap_in_image(heatmap: np.ndarray, geometry: str = CORRECTED, keypoint_bias: float = 0.0) -> np.ndarray:
    """(H, W) float32, the heatmap (H, W) resampled to the pixels of its image; the rim that it does not cover is as beside."""
    height, width = heatmap.shape
    line = torch.arange(max(width, height), dtype=torch.float64)
    at = image_to_heatmap(torch.stack([line, line], dim=1) + keypoint_bias, (width, height), geometry).numpy().astype(np.float32)
    x, y = np.meshgrid(at[:width, 0], at[:height, 1])
    return cv2.remap(heatmap.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
