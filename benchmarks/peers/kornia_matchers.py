"""ALIKED with LightGlue, and XFeat with mutual nearest neighbours, both from kornia (0.9 or later)."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from dalf_training.evaluation.extractor_scores import Extractor, mutual_matches

from dalf_core import Features

from .tensors import features, rgb_tensor


def make_aliked_lightglue(top_k: int) -> Extractor:
    """ALIKED-N16, for which LightGlue was trained, and LightGlue."""
    from kornia.feature import ALIKED, LightGlue

    detector = ALIKED.from_pretrained("aliked-n16", max_num_keypoints=top_k)
    matcher = LightGlue("aliked").eval()

    def extract(image: np.ndarray) -> Features:
        with torch.inference_mode():
            found, = detector(rgb_tensor(image))
        return features(image, found.keypoints, found.keypoint_scores, found.descriptors)

    return Extractor(extract, lambda a, b: light_glue_matches(matcher, a, b))


def light_glue_matches(matcher: torch.nn.Module, a: Features, b: Features) -> np.ndarray:
    """(K, 2) indices of what LightGlue matches."""
    if not len(a) or not len(b):
        return np.zeros((0, 2), np.int64)

    def side(one: Features) -> dict[str, torch.Tensor]:
        return {"keypoints": torch.from_numpy(one.keypoints)[None], "descriptors": torch.from_numpy(one.descriptors)[None],
                "image_size": torch.tensor([one.image_size])}

    with torch.inference_mode():
        found: dict[str, Any] = matcher({"image0": side(a), "image1": side(b)})
    return found["matches"][0].cpu().numpy().reshape(-1, 2)


def make_xfeat(top_k: int) -> Extractor:
    """XFeat's sparse features."""
    from kornia.feature import XFeat

    network = XFeat.from_pretrained(top_k=top_k)

    def extract(image: np.ndarray) -> Features:
        found, = network.detectAndCompute(rgb_tensor(image))
        return features(image, found["keypoints"], found["scores"], found["descriptors"])

    return Extractor(extract, mutual_matches)
