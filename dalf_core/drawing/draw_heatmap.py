"""Pictures of the detector's heatmap."""
from __future__ import annotations

import cv2
import numpy as np
import torch

from ..features.geometry import CORRECTED, image_to_heatmap
from .draw import as_bgr


def draw_heatmap(image: np.ndarray, heatmap: np.ndarray, opacity: float = 0.6, *, geometry: str = CORRECTED,
                 keypoint_bias: float = 0.0) -> np.ndarray:
    """The detector's positive response laid over the image (BGR), where it lies in the image: its peaks are the keypoints.

    heatmap: (H, W) of DALF.heatmap. geometry, keypoint_bias: the extractor's attributes of that name.
    """
    picture = as_bgr(image)
    if heatmap.shape != picture.shape[:2]:
        raise ValueError(f"the heatmap is of shape {heatmap.shape}, but the image is {picture.shape[1]}x{picture.shape[0]} pixels")
    response = heatmap_in_image(np.clip(heatmap, 0, None), geometry, keypoint_bias)
    response /= max(float(response.max()), 1e-9)
    color = cv2.applyColorMap((np.sqrt(response) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return cv2.addWeighted(picture, 1 - opacity, color, opacity, 0)


def heatmap_in_image(heatmap: np.ndarray, geometry: str = CORRECTED, keypoint_bias: float = 0.0) -> np.ndarray:
    """(H, W) float32, the heatmap (H, W) resampled to the pixels of the image it belongs to; 0 at the rim that it does not cover."""
    height, width = heatmap.shape
    line = torch.arange(max(width, height), dtype=torch.float64)
    at = image_to_heatmap(torch.stack([line, line], dim=1) + keypoint_bias, (width, height), geometry).numpy().astype(np.float32)
    x, y = np.meshgrid(at[:width, 0], at[:height, 1])
    return cv2.remap(heatmap.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
