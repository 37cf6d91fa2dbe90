"""What is known of where keypoints are now, before anyone has looked: the one thing that flows back from the surface to the images."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prediction:
    """Where the followed surface has keypoints of the reference image and of keyframes, as of the image of stamp_ns.

    reference_stamp_ns: of the reference image that the keypoints' numbers belong to. view: (N,) int64, 0 for the reference image, else
    the keyframe. index: (N,) int64, row of that view's Features. xy: (N, 2) float32 pixels of the image. visible: (N,) bool, whether
    the surface was seen there.

    It tells where to look, and is no evidence: what is found there counts only where the image bears it out.
    """

    stamp_ns: int
    reference_stamp_ns: int
    view: np.ndarray
    index: np.ndarray
    xy: np.ndarray
    visible: np.ndarray

    def __len__(self) -> int:
        return len(self.index)
