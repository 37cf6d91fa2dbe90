"""How well a network in training does: its own keypoints matched between views of photos it never learns from."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dalf_core.features.keypoints import strongest_keypoints
from dalf_core.features.network import Network

from .config import TrainingConfig
from .data.difficulty import LEVELS, warp_range
from .data.photo_cache import PhotoCache
from .data.random_numbers import Share, seeded
from .data.schedule import Difficulty
from .data.views import Views, cut_sheet, draw_warp, make_views
from .losses.correspondence import mutual_nearest
from .losses.description import describe_slots
from .modes import MODES

SEED = 7                    # validation pairs are the same in every run
BATCH = 4                   # pairs at once
RADIUS = 3.0                # pixels, as in the benchmarks
KEYPOINT_AREA = 150         # pixels of the image for each keypoint: the strongest are taken


@dataclass(frozen=True)
class Validation:
    """Means over the pairs of each level, 0 to 1.

    matching_score: mutual nearest neighbours that are right within 3 px, over the smaller number of keypoints both images show.
    accuracy: share of the mutual nearest neighbours within 1 px. repeatability: keypoints found again within 3 px, over the same number.
    """

    matching_score: dict[str, float]
    accuracy: dict[str, float]
    repeatability: dict[str, float]

    @property
    def score(self) -> float:
        """The mean matching score, by which the best weights are chosen."""
        return float(np.mean(list(self.matching_score.values())))


def validation_views(cache: PhotoCache, indices: np.ndarray, config: TrainingConfig, device: torch.device) -> dict[str, list[Views]]:
    """Fixed views by level, in batches."""
    wanted = -(-config.validation_pairs // len(LEVELS))
    views: dict[str, list[Views]] = {}
    for level, value in LEVELS.items():
        difficulty = Difficulty(warp_range(value), value, 0)
        for first in range(0, wanted, BATCH):
            pairs = min(BATCH, wanted - first)
            share = Share(seeded("cpu", SEED, int(value), first), pairs, 0, pairs)
            warp = draw_warp(config.crop_size, difficulty, share)
            random = np.random.default_rng([SEED, int(value), first])
            chosen = indices[(np.arange(pairs + 1) + first) % len(indices)]
            sheets = np.stack([cut_sheet(cache.pixels[index], warp.source_size, random) for index in chosen])
            views.setdefault(level, []).append(make_views(torch.from_numpy(sheets), warp, difficulty, share).to(device))
    return views


@torch.no_grad()
def validate(network: Network, views: dict[str, list[Views]], mode: str) -> Validation:
    """Measure a network in evaluation mode, in which it is left. mode: whose first descriptor is taken."""
    network.eval()
    kind = MODES[mode].descriptors[0]
    measured = {level: torch.cat([_measure(network, batch, kind) for batch in batches]).mean(dim=0).tolist()
                for level, batches in views.items()}
    return Validation(*({level: row[index] for level, row in measured.items()} for index in range(3)))


def _measure(network: Network, views: Views, kind: str) -> torch.Tensor:
    """(B, 3) matching score, accuracy and repeatability of each pair."""
    pairs = len(views.gray_a)
    gray = torch.cat([views.gray_a, views.gray_b])
    heatmap, features = network(gray)
    xy, strong = strongest(heatmap, gray.shape[-1] * gray.shape[-2] // KEYPOINT_AREA, network.geometries[0])
    described = describe_slots(network, gray, features, xy, strong, (kind,))[0][kind]
    (a, b), (usable_a, usable_b), (ours, theirs) = (half.split(pairs) for half in (xy, strong, described))
    a_in_b, shown_a = views.to_b(a)
    shown_a, shown_b = shown_a & usable_a, views.to_a(b)[1] & usable_b
    covisible = torch.minimum(shown_a.sum(dim=1), shown_b.sum(dim=1)).clamp_min(1)
    similarity = (ours @ theirs.mT).masked_fill(~(usable_a[:, :, None] & usable_b[:, None]), -2)
    partner = similarity.argmax(dim=2)
    mutual = usable_a & (similarity.argmax(dim=1).gather(1, partner) == torch.arange(a.shape[1], device=a.device))
    error = (b.gather(1, partner[..., None].expand(-1, -1, 2)) - a_in_b).norm(dim=-1)
    right, exact = (mutual & shown_a & (error <= radius) for radius in (RADIUS, 1.0))
    again = mutual_nearest(a_in_b, shown_a, b, shown_b, RADIUS).matched
    accuracy = exact.sum(dim=1) / mutual.sum(dim=1).clamp_min(1)
    return torch.stack([right.sum(dim=1) / covisible, accuracy, again.sum(dim=1) / covisible], dim=1)


def strongest(heatmap: torch.Tensor, count: int, geometry: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The strongest keypoints of heatmaps (B, 1, H, W): positions (B, count, 2), and which rows hold one (B, count) bool."""
    found: Sequence[tuple[torch.Tensor, torch.Tensor]] = [
        strongest_keypoints(one[0], count, -torch.inf, geometry=geometry) for one in heatmap]
    return torch.stack([xy for xy, _ in found]), torch.stack([score > -torch.inf for _, score in found])
