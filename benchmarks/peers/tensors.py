"""Images and keypoints between OpenCV's conventions and those of the peers."""
from __future__ import annotations

import cv2
import numpy as np
import torch

from dalf_core import Features


def rgb_tensor(image: np.ndarray) -> torch.Tensor:
    """HxWx3 uint8 BGR to (1, 3, H, W) float32 RGB, 0 to 1."""
    return torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)[None].float() / 255


def features(image: np.ndarray, xy: torch.Tensor, scores: torch.Tensor, descriptors: torch.Tensor) -> Features:
    """Features from tensors on any device. xy: (N, 2) pixels, centres at integers. scores: (N,). descriptors: (N, D)."""
    arrays = (tensor.detach().float().cpu().numpy() for tensor in (xy, scores, descriptors))
    return Features(*arrays, (image.shape[1], image.shape[0]))


def pixels(xy: torch.Tensor, image: np.ndarray) -> torch.Tensor:
    """Places (N, 2) that are -1 to 1 from edge to edge of an image, in its pixels; the centre of the first one is 0, not half a pixel."""
    size = torch.tensor([image.shape[1], image.shape[0]], dtype=xy.dtype, device=xy.device)
    return (xy + 1) / 2 * size - 0.5
