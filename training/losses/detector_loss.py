"""The detector's loss: REINFORCE on how often keypoints are found again (Potje et al., CVPR 2023; Tyszkiewicz et al., NeurIPS 2020)."""
from __future__ import annotations

import torch

from .correspondence import Correspondence
from .keypoint_sampling import SampledKeypoints


def detector_loss(a: SampledKeypoints, b: SampledKeypoints, found: Correspondence, wrong: torch.Tensor, keypoint_cost: float,
                  wrong_match_cost: float) -> torch.Tensor:
    """(B,) loss of each pair.

    A match earns 1; where the descriptors get it wrong, (B, C) bool, it costs wrong_match_cost instead. Reward times the sum of the
    log-probabilities of its two keypoints is summed over the matches and divided by the number of all N_A x N_B combinations; each
    keypoint costs keypoint_cost, and that is averaged over the keypoints of each image.
    """
    both = a.log_probability + b.log_probability.gather(1, found.partner)
    reward = torch.where(wrong, -wrong_match_cost, 1.0) * found.matched
    count_a, count_b = (side.accepted.sum(dim=1).clamp_min(1) for side in (a, b))
    gain = (reward * both).sum(dim=1) / (count_a * count_b)
    mean_a, mean_b = ((side.log_probability * side.accepted).sum(dim=1) / count for side, count in ((a, count_a), (b, count_b)))
    return keypoint_cost * (mean_a + mean_b) - gain
