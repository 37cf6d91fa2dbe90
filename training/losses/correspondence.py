"""Which keypoints of two images show the same place."""
from __future__ import annotations

from typing import NamedTuple

import torch


class Correspondence(NamedTuple):
    """partner: (B, C) for each keypoint of A its nearest one of B. matched: (B, C) bool, whether they show the same place."""

    partner: torch.Tensor
    matched: torch.Tensor


def mutual_nearest(xy_a: torch.Tensor, usable_a: torch.Tensor, xy_b_in_a: torch.Tensor, usable_b: torch.Tensor,
                   radius: float) -> Correspondence:
    """Pairs that are each other's nearest, at most `radius` pixels of A apart. Batched: (B, C, 2) positions, (B, C) bool."""
    distance = torch.cdist(xy_a, xy_b_in_a, compute_mode="donot_use_mm_for_euclid_dist")
    distance = distance.masked_fill(~(usable_a[:, :, None] & usable_b[:, None]), torch.inf)
    nearest, partner = distance.min(dim=2)
    back = distance.argmin(dim=1).gather(1, partner)
    own = torch.arange(xy_a.shape[1], device=xy_a.device)
    return Correspondence(partner, (back == own) & (nearest <= radius))


def sample_matches(matched: torch.Tensor, chance: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """At most `most` matches of each pair, at random: their keypoints in A (B, K), and which of these slots hold a match (B, K) bool.

    matched: (B, C) bool. chance: (B, C) uniform in 0 to 1.
    """
    rank, slots = torch.where(matched, chance, chance - 2).topk(min(most, matched.shape[1]), dim=1)
    return slots, rank >= 0
