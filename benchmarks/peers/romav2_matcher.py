"""RoMa v2, a dense matcher (package romav2). It has no keypoints: the matches that it samples from its warp stand for them."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from dalf_core import Features

from .tensors import features, pixels

SEED = 0            # of each pair: the matches are drawn at random


@dataclass(frozen=True)
class RomaMatcher:
    """model: romav2.RoMaV2. top_k: matches drawn."""

    model: Any
    top_k: int

    def match_pair(self, image_a: np.ndarray, image_b: np.ndarray) -> tuple[Features, Features, np.ndarray]:
        """The ends of the matches as features of both images, and which match: row by row."""
        with torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(SEED)
            warp = self.model.match(*(cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in (image_a, image_b)))
            matches, overlap = self.model.sample(warp, self.top_k)[:2]
        found = (features(image, pixels(ends, image), overlap, torch.zeros(len(matches), 1))
                 for image, ends in ((image_a, matches[:, :2]), (image_b, matches[:, 2:])))
        return *found, np.stack([np.arange(len(matches))] * 2, axis=1)


def make_romav2(top_k: int) -> RomaMatcher:
    """With its weights, at its setting "precise"."""
    from romav2 import RoMaV2

    return RomaMatcher(RoMaV2(), top_k)
