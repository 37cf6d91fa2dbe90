"""Pictures of a batch in training, for TensorBoard: heatmaps, matches, bent patches. All HxWx3 uint8 BGR."""
from __future__ import annotations

import cv2
import numpy as np
import torch

from dalf_core.drawing.draw import draw_matches
from dalf_core.drawing.draw_heatmap import draw_heatmap
from dalf_core.types import Features, Matches

from .data.views import Views
from .step import Outcome

PATCHES = 16        # columns of the picture of patches


def batch_pictures(outcome: Outcome, views: Views) -> dict[str, np.ndarray]:
    """The first pair of a batch."""
    pairs = len(views.gray_a)
    a, b = (_bytes(gray[0, 0]) for gray in (views.gray_a, views.gray_b))
    heatmaps = [draw_heatmap(image, outcome.heatmap[index, 0].float().cpu().numpy()) for image, index in ((a, 0), (b, pairs))]
    pictures = {"heatmap": np.hstack(heatmaps), "matches": _matches(outcome, a, b)}
    if outcome.patches is not None and len(outcome.patches) >= 2 * PATCHES:
        pictures["patches"] = _patches(outcome.patches.detach())
    return pictures


def _matches(outcome: Outcome, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Both images, with a line for each pair of keypoints that earned a reward."""
    here = torch.nonzero(outcome.found.matched[0])[:, 0]
    there = outcome.found.partner[0][here]
    sides = [_features(keypoints.xy[0], image) for keypoints, image in ((outcome.a, a), (outcome.b, b))]
    count = len(here)
    matches = Matches(here.cpu().numpy(), there.cpu().numpy(), np.zeros(count, np.float32), np.ones(count, bool))
    return draw_matches(a, b, *sides, matches)


def _patches(patches: torch.Tensor) -> np.ndarray:
    """Polar patches of matching keypoints, A's above B's; each row an angle, each column a radius. Twice their size."""
    half = len(patches) // 2
    rows = [np.hstack([np.pad(_bytes(patch[0]), 1) for patch in patches[start:start + PATCHES]]) for start in (0, half)]
    return cv2.cvtColor(cv2.resize(np.vstack(rows), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2BGR)


def _features(xy: torch.Tensor, image: np.ndarray) -> Features:
    count = len(xy)
    return Features(xy.cpu().numpy(), np.ones(count, np.float32), np.zeros((count, 0), np.float32), (image.shape[1], image.shape[0]))


def _bytes(gray: torch.Tensor) -> np.ndarray:
    return (gray.float().clamp(0, 1) * 255).round().byte().cpu().numpy()
