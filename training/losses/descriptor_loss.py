"""The descriptors' loss: triplets with the hardest negative (Mishchuk et al., NeurIPS 2017)."""
from __future__ import annotations

import torch

from .fast_layers import full_precision

NEAR_DUPLICATE = 0.01       # descriptors nearer than this are taken for the same thing
LEAST_MATCHES = 16          # pairs with fewer matches teach no descriptors
FAR = 1e3                   # the distance of a negative that does not exist
TINY = 1e-8                 # squared distance; keeps the root's slope finite


def descriptor_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """L2 distances (B, K, K) of unit descriptors (B, K, D)."""
    return (2 - 2 * a @ b.mT).clamp_min(TINY).sqrt()


def triplet_loss(a: torch.Tensor, b: torch.Tensor, xy_a: torch.Tensor, valid: torch.Tensor, *, margin: float, group: int,
                 least_apart: float) -> torch.Tensor:
    """(B,) loss of each pair: the mean over its matches of max(0, margin + distance to the match - distance to the hardest negative).

    a, b: (B, K, D) unit descriptors; those in the same slot match. xy_a: (B, K, 2) pixels. valid: (B, K) bool, slots that hold a match.
    Negatives of a match are, both ways, the other matches of so many pairs: `group` of them, one after another; not those less than
    least_apart pixels away in the same image, and no near duplicates. A pair with fewer than 16 matches has no loss.
    """
    pairs, slots, length = a.shape
    valid = valid & (valid.sum(dim=1, keepdim=True) >= LEAST_MATCHES)
    a, b = (full_precision(side).reshape(pairs // group, group * slots, length) for side in (a, b))
    distance = descriptor_distance(a, b)
    usable = valid.reshape(len(a), -1)
    excluded = ~(usable[:, :, None] & usable[:, None]) | _neighbours(xy_a, group, least_apart) | (distance.detach() < NEAR_DUPLICATE)
    negative = distance.masked_fill(excluded, FAR)
    hardest = torch.minimum(negative.amin(dim=2), negative.amin(dim=1)).reshape(pairs, slots)
    positive = distance.diagonal(dim1=1, dim2=2).reshape(pairs, slots)
    loss = (margin + positive - hardest).clamp_min(0) * valid
    return loss.sum(dim=1) / valid.sum(dim=1).clamp_min(1)


def _neighbours(xy: torch.Tensor, group: int, least_apart: float) -> torch.Tensor:
    """(B / group, group * K, group * K) bool: slots of the same image less than least_apart pixels apart, and each slot with itself."""
    pairs, slots, _ = xy.shape
    near = torch.cdist(xy, xy, compute_mode="donot_use_mm_for_euclid_dist") < least_apart
    near = near | torch.eye(slots, dtype=torch.bool, device=xy.device)
    same = torch.eye(group, dtype=torch.bool, device=xy.device)
    blocks = near.reshape(-1, group, slots, 1, slots) & same[:, None, :, None]
    return blocks.reshape(pairs // group, group * slots, group * slots)


def wrongly_described(a: torch.Tensor, b: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """(B, K) bool: matches whose descriptor in A is nearer to that of another match of the pair in B. Shapes as for triplet_loss."""
    similarity = (full_precision(a) @ full_precision(b).mT).masked_fill(~valid[:, None], -2.0)
    return (similarity.argmax(dim=2) != torch.arange(a.shape[1], device=a.device)) & valid
