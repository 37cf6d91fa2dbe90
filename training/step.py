"""The loss of a batch of views."""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dalf_core.features.network import Network

from .config import TrainingConfig
from .data.random_numbers import Source, normal, uniform
from .data.schedule import value_at
from .data.views import Views
from .losses.correspondence import Correspondence, mutual_nearest, sample_matches
from .losses.description import describe_slots
from .losses.descriptor_loss import triplet_loss, wrongly_described
from .losses.detector_loss import detector_loss
from .losses.keypoint_sampling import CELL, SampledKeypoints, cell_maxima, sample_keypoints, sampling_numbers
from .losses.teacher import Teacher, taught_loss
from .modes import MODES


@dataclass(frozen=True)
class Outcome:
    """What a batch gave. loss: scalar with gradient, the mean over the pairs.

    measures: (5,) means over the pairs: loss, descriptors' loss, matches, matches that the descriptors get right among those described
    (share), keypoints an image. See MEASURES.
    For pictures: heatmap (2B, 1, h, w), A's first; keypoints of A and B; found; patches (M, 1, 32, 32), the first half of A, or None.
    """

    loss: torch.Tensor
    measures: torch.Tensor
    heatmap: torch.Tensor
    a: SampledKeypoints
    b: SampledKeypoints
    found: Correspondence
    patches: torch.Tensor | None


MEASURES = ("loss", "descriptor_loss", "matches", "accuracy", "keypoints")


def batch_loss(network: Network, views: Views, config: TrainingConfig, progress: float, source: Source,
               cell_offset: tuple[int, int] = (0, 0), autocast: torch.dtype | None = None, teacher: Teacher | None = None) -> Outcome:
    """Loss of a batch at a progress of 0 to 1 of its stage. source: of the detector's draws. autocast: type of the convolutions, if any.
    teacher: for modes that are taught.

    Pairs do not influence each other's loss but for batch norms and, within a negative_group, the descriptors' negatives.
    """
    mode = MODES[config.mode]
    if mode.taught:
        assert teacher is not None
        return _taught(network, views, config, source, cell_offset, autocast, teacher)
    pairs, size = len(views.gray_a), (views.gray_a.shape[-1], views.gray_a.shape[-2])
    gray = torch.cat([views.gray_a, views.gray_b]).contiguous(memory_format=torch.channels_last)
    chance = sampling_numbers(source, pairs, size, cell_offset).to(gray.device)
    with torch.autocast(gray.device.type, autocast, enabled=autocast is not None):
        heatmap, features = network(gray)
        keypoints = sample_keypoints(heatmap, chance, config.border, cell_offset)
        a, b = keypoints.images(0, pairs), keypoints.images(pairs, 2 * pairs)
        found = _correspondence(a, b, views, value_at(config.reward_radius, progress))
        slots, valid = sample_matches(found.matched, uniform(source, 0, 1, *found.matched.shape).to(gray.device), config.matches)
        xy_a, xy_b = _taken(a.xy, slots), _taken(b.xy, found.partner.gather(1, slots))
        described, patches = describe_slots(network, gray, features, torch.cat([xy_a, xy_b]), torch.cat([valid, valid]), mode.descriptors)
    descriptors = {kind: (both[:pairs], both[pairs:]) for kind, both in described.items()}
    triplets = torch.stack([triplet_loss(ours, theirs, xy_a, valid, margin=config.margin, group=config.negative_group,
                                         least_apart=config.least_apart) for ours, theirs in descriptors.values()]).mean(dim=0)
    with torch.no_grad():
        wrong = wrongly_described(*descriptors[mode.descriptors[0]], valid)
        punished = torch.zeros_like(found.matched)
        if mode.punished and progress >= config.punish_from:
            punished = punished.scatter(1, slots, wrong)
    cost = config.keypoint_cost * min(1.0, progress / max(config.keypoint_cost_ramp, 1e-9))
    losses = detector_loss(a, b, found, punished, cost, config.wrong_match_cost) + config.descriptor_weight * triplets
    right = (valid & ~wrong).sum(dim=1) / valid.sum(dim=1).clamp_min(1)
    measures = torch.stack([losses.detach(), triplets.detach(), found.matched.sum(dim=1), right,
                            (a.accepted.sum(dim=1) + b.accepted.sum(dim=1)) / 2]).mean(dim=1)
    return Outcome(losses.mean(), measures, heatmap.detach(), a, b, found, patches)


def _taught(network: Network, views: Views, config: TrainingConfig, source: Source, cell_offset: tuple[int, int],
            autocast: torch.dtype | None, teacher: Teacher) -> Outcome:
    """The detector learns the teacher's heatmap. Matches are the heatmap's highest place in each cell of B and where A shows it, both a
    little misplaced: so there are as many from the first step on as later."""
    mode, pairs = MODES[config.mode], len(views.gray_a)
    gray = torch.cat([views.gray_a, views.gray_b]).contiguous(memory_format=torch.channels_last)
    taught = math.ceil(config.taught_share * pairs)
    wanted, known = teacher.answers(views, taught)
    with torch.autocast(gray.device.type, autocast, enabled=autocast is not None):
        heatmap, features = network(gray)
        xy_b, usable = cell_maxima(heatmap[pairs:].detach(), config.border, cell_offset)
        xy_a, shown = _true_places(xy_b, views, config.border)
        slots, valid = sample_matches(usable & shown, uniform(source, 0, 1, *usable.shape).to(gray.device), config.matches)
        taken = torch.cat([_taken(xy_a, slots), _taken(xy_b, slots)])
        moved = normal(source, pairs, 2, *slots.shape[1:], 2).transpose(0, 1).flatten(0, 1).to(gray.device)
        described, patches = describe_slots(network, gray, features, taken + config.jitter * moved, torch.cat([valid, valid]),
                                            mode.descriptors)
    descriptors = {kind: (both[:pairs], both[pairs:]) for kind, both in described.items()}
    triplets = torch.stack([triplet_loss(ours, theirs, taken[:pairs], valid, margin=config.margin, group=config.negative_group,
                                         least_apart=config.least_apart) for ours, theirs in descriptors.values()]).mean(dim=0)
    answered = torch.cat([heatmap[:taught], heatmap[pairs:pairs + taught]])
    detector = F.pad(taught_loss(answered, wanted, known, CELL), (0, pairs - taught)) * (pairs / taught)
    losses = detector + config.descriptor_weight * triplets
    with torch.no_grad():
        wrong = wrongly_described(*descriptors[mode.descriptors[0]], valid)
    right = (valid & ~wrong).sum(dim=1) / valid.sum(dim=1).clamp_min(1)
    matched = usable & shown
    measures = torch.stack([losses.detach(), triplets.detach(), matched.sum(dim=1), right, usable.sum(dim=1)]).mean(dim=1)
    own = torch.arange(usable.shape[1], device=gray.device).expand_as(usable)
    a, b = (SampledKeypoints(xy, torch.zeros_like(xy[..., 0]), usable) for xy in (xy_a, xy_b))
    return Outcome(losses.mean(), measures, heatmap.detach(), a, b, Correspondence(own, matched), patches)


@torch.no_grad()
def _true_places(xy_b: torch.Tensor, views: Views, border: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Where A shows what B shows at pixels (B, C, 2), and whether it does, away from the rim (B, C) bool."""
    with torch.autocast(xy_b.device.type, enabled=False):
        xy_a, shown = views.to_a(xy_b)
    far = xy_a.new_tensor([views.gray_a.shape[-1] - 1, views.gray_a.shape[-2] - 1]) - border
    return xy_a, shown & ((xy_a >= border) & (xy_a <= far)).all(dim=-1)


@torch.no_grad()
def _correspondence(a: SampledKeypoints, b: SampledKeypoints, views: Views, radius: float) -> Correspondence:
    with torch.autocast(a.xy.device.type, enabled=False):       # in half precision the truth would be off by a pixel
        b_in_a, shown = views.to_a(b.xy)
        return mutual_nearest(a.xy, a.accepted, b_in_a, b.accepted & shown, radius)


def _taken(xy: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Rows (B, K, 2) of xy (B, C, 2) by index (B, K)."""
    return xy.gather(1, index[..., None].expand(-1, -1, 2))
