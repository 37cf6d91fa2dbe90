"""LoMa-B: keypoints of DaD, descriptors of DeDoDe-G, and a matcher like LightGlue (package lomatch)."""
from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from dalf_core import Features

from .tensors import features, pixels


@dataclass(frozen=True)
class LoMaMatcher:
    """model: loma.LoMa."""

    model: Any
    top_k: int

    def match_pair(self, image_a: np.ndarray, image_b: np.ndarray) -> tuple[Features, Features, np.ndarray]:
        """The features of both images, and which match: (K, 2) indices."""
        from loma.loma import filter_matches

        with torch.inference_mode():
            (a, described_a), (b, described_b) = (self._described(image) for image in (image_a, image_b))
            best = torch.full((a.shape[1],), -1)
            if a.shape[1] and b.shape[1]:
                scores = self.model(a, b, described_a, described_b)["scores"]
                best = filter_matches(scores, self.model.cfg.filter_threshold)[0][0].cpu()
        matched = torch.nonzero(best > -1)[:, 0]
        found = (features(image, pixels(xy[0], image), torch.ones(xy.shape[1]), described[0])
                 for image, xy, described in ((image_a, a, described_a), (image_b, b, described_b)))
        return *found, torch.stack([matched, best[matched]], dim=1).numpy()

    def _described(self, image: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Keypoints (1, N, 2), -1 to 1 from edge to edge, and descriptors (1, N, D). From a file, for which alone LoMa resizes images."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "image.png"
            cv2.imwrite(str(path), image)
            return self.model.detect_and_describe(str(path), self.top_k)[:2]


def make_loma(top_k: int) -> LoMaMatcher:
    """With LoMa-B's weights."""
    from loma import LoMa, LoMaB

    return LoMaMatcher(LoMa(LoMaB()), top_k)
