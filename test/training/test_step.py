"""A whole step against a slow, literal one: loops over images and keypoints, the network called image by image."""
import math

import numpy as np
import pytest
import torch
from dalf_training.config import TrainingConfig, sheet_size
from dalf_training.data.difficulty import warp_range
from dalf_training.data.random_numbers import Share, seeded
from dalf_training.data.schedule import Difficulty
from dalf_training.data.views import Views, draw_warp, make_views
from dalf_training.losses.correspondence import mutual_nearest
from dalf_training.losses.descriptor_loss import TINY
from dalf_training.losses.fast_layers import make_fast
from dalf_training.losses.keypoint_sampling import sampling_numbers
from dalf_training.modes import MODES, prepare, train_parts
from dalf_training.step import MEASURES, batch_loss

from dalf_core.features.geometry import CORRECTED, heatmap_to_image, image_to_features, image_to_warper
from dalf_core.features.network import DalfNetwork, sample_map
from dalf_core.features.polar_grid import sample_patches

SIZE, PAIRS = (96, 80), 2


@pytest.fixture(scope="module")
def views() -> Views:
    random = np.random.default_rng(0)
    width, height = sheet_size(SIZE)
    sheets = random.integers(0, 256, (3, height // 4, width // 4, 3), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    difficulty = Difficulty(warp_range(0.5), 0.3, 1)
    warp = draw_warp(SIZE, difficulty, Share(seeded("cpu", 1), 2, 0, 2))
    made = make_views(torch.from_numpy(sheets), warp, difficulty, Share(seeded("cpu", 2), 2, 0, 2))
    return Views(made.gray_a.double(), made.gray_b.double(), made.warp.to(dtype=torch.float64), made.corner, made.covered)


def network_for(mode: str) -> tuple[DalfNetwork, list[torch.nn.Parameter]]:
    """In double precision, so that rounding does not decide which negative is the hardest. A small patch descriptor saves time."""
    torch.manual_seed(3)
    network = DalfNetwork()
    network.patch_descriptor = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten(), torch.nn.LayerNorm(64),
                                                   torch.nn.Linear(64, 64))
    network.double()
    network.backbone.keypoint_head[-1].bias.data.fill_(2.0)             # many keypoints
    for layer in network.warper.perceptron:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, 0, 0.05)
    parameters = prepare(network, MODES[mode], 0.0)
    train_parts(network, MODES[mode])
    return network, parameters


@pytest.mark.parametrize("mode", ["ts1", "ts-fl", "end2end-full"])
def test_step(views: Views, mode: str) -> None:
    config = TrainingConfig(mode=mode, crop_size=SIZE, pairs=PAIRS, negative_group=2, border=4, reward_radius=((0, 4.0),), matches=1000,
                            keypoint_cost=1e-3, dropout=0)
    gradients, losses = [], []
    for step in (fast_step, literal_step):
        network, parameters = network_for(mode)
        if step is fast_step:
            make_fast(network, None)
        loss, measures = step(network, views, config)
        loss.backward()
        losses.append((loss.item(), *measures))
        gradients.append([parameter.grad for parameter in parameters])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5, abs=1e-9)
    assert losses[0][1 + MEASURES.index("matches")] > 16 and losses[0][1 + MEASURES.index("descriptor_loss")] > 0.1
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients[1] if gradient is not None))
    for ours, theirs in zip(*gradients):
        ours, theirs = (torch.zeros(1) if gradient is None else gradient for gradient in (ours, theirs))
        assert (ours - theirs).norm() < 1e-5 * max(float(theirs.norm()), 0.01 * norm)


def fast_step(network: DalfNetwork, views: Views, config: TrainingConfig) -> tuple[torch.Tensor, list[float]]:
    outcome = batch_loss(network, views, config, 0.9, seeded("cpu", 7), (3, 1))
    return outcome.loss, outcome.measures.tolist()


def literal_step(network: DalfNetwork, views: Views, config: TrainingConfig) -> tuple[torch.Tensor, list[float]]:
    """The definition. Batch norms need the whole batch at once; all else goes one by one."""
    gray = torch.cat([views.gray_a, views.gray_b])
    heatmap, features = network(gray)
    chance = sampling_numbers(seeded("cpu", 7), PAIRS, SIZE, (3, 1))
    keypoints = [draw_one_by_one(heatmap[image, 0], chance[image], config.border) for image in range(2 * PAIRS)]
    matches = []
    for pair in range(PAIRS):
        a, b = keypoints[pair], keypoints[PAIRS + pair]
        in_a, shown = views.to_a(torch.stack([xy for xy, _ in b])[None].expand(PAIRS, -1, -1))
        matches.append(match_one_by_one([xy for xy, _ in a], in_a[pair], shown[pair], config.reward_radius[0][1]))
    descriptors = describe_one_by_one(network, gray, features, keypoints, matches, config.mode)
    mode, total, measures = MODES[config.mode], torch.zeros(()), []
    for pair in range(PAIRS):
        a, b = keypoints[pair], keypoints[PAIRS + pair]
        triplets = [triplets_one_by_one(descriptors[kind], keypoints, matches, pair, config) for kind in mode.descriptors]
        triplet = torch.stack(triplets).mean()
        first = descriptors[mode.descriptors[0]][pair]
        right = [int(torch.stack([a @ b for _, b in first]).argmax()) == i for i, (a, _) in enumerate(first)]
        gain = torch.zeros(())
        for (i, j), good in zip(matches[pair], right):
            reward = 1.0 if good or not mode.punished else -config.wrong_match_cost
            gain = gain + reward * (a[i][1] + b[j][1])
        cost = sum(torch.stack([log_probability for _, log_probability in side]).mean() for side in (a, b)) * config.keypoint_cost
        loss = cost - gain / (len(a) * len(b)) + config.descriptor_weight * triplet
        total = total + loss / PAIRS
        measures.append([loss.item(), triplet.item(), len(matches[pair]), np.mean(right) if right else 0, (len(a) + len(b)) / 2])
    return total, np.mean(measures, axis=0).tolist()


def draw_one_by_one(heatmap: torch.Tensor, chance: torch.Tensor, border: float) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Accepted keypoints of an image: position, log-probability. Cells begin at (3, 1)."""
    found = []
    columns = (SIZE[0] - 3) // 8
    for cell, (first, second) in enumerate(chance.tolist()):
        left, top = 3 + cell % columns * 8, 1 + cell // columns * 8
        logits = heatmap[top:top + 8, left:left + 8].reshape(-1)
        choice = int(torch.searchsorted(logits.detach().softmax(0).cumsum(0), torch.tensor(first, dtype=torch.float64)).clamp_max(63))
        if second >= float(torch.sigmoid(logits.detach()[choice])):
            continue
        xy = heatmap_to_image(torch.tensor([[left + choice % 8.0, top + choice // 8.0]], dtype=torch.float64), SIZE, CORRECTED)[0]
        if border <= xy[0] <= SIZE[0] - 1 - border and border <= xy[1] <= SIZE[1] - 1 - border:
            found.append((xy, logits.log_softmax(0)[choice] + torch.nn.functional.logsigmoid(logits[choice])))
    return found


def match_one_by_one(xy_a: list[torch.Tensor], b_in_a: torch.Tensor, shown: torch.Tensor, radius: float) -> list[tuple[int, int]]:
    distance = np.array([[math.dist(a.tolist(), b) if ok else np.inf for b, ok in zip(b_in_a.tolist(), shown)] for a in xy_a])
    return [(i, j) for i, j in enumerate(distance.argmin(axis=1)) if distance[i, j] <= radius and distance[:, j].argmin() == i]


def describe_one_by_one(network: DalfNetwork, gray: torch.Tensor, features: torch.Tensor, keypoints: list, matches: list,
                        mode: str) -> dict[str, list[list[tuple[torch.Tensor, torch.Tensor]]]]:
    """Descriptors by kind, pair and match: in A, in B."""
    backbone, patches = [], []
    warper_map = network.warper(features) if mode != "ts1" else None
    sampled = []
    for view in range(2):
        for pair in range(PAIRS):
            for match in matches[pair]:
                image = PAIRS * view + pair
                xy = keypoints[image][match[view]][0][None]
                backbone.append(sample_map(features[image][None], image_to_features(xy, SIZE, CORRECTED), mode="bicubic", padding="border"))
                if warper_map is not None:
                    place = image_to_warper(xy, SIZE, CORRECTED)
                    sampled.append((image, xy, sample_map(warper_map[image][None], place, mode="bilinear", padding="border")))
    found = {"backbone": torch.cat(backbone)}
    if sampled:
        offsets = network.polar_grid(network.warper.spline_parameters(torch.cat([row for _, _, row in sampled])))
        patches = [sample_patches(gray[image][None], xy[:, :, None] + offset) for (image, xy, _), offset in zip(sampled, offsets)]
        found["polar"] = network.patch_descriptor(torch.cat(patches))
        found["fused"] = network.fusion(found["polar"], found["backbone"])
    ordered = {}
    for kind, rows in found.items():
        a, b = torch.nn.functional.normalize(rows).chunk(2)
        pairs = [list(zip(x, y)) for x, y in zip(*(side.split([len(some) for some in matches]) for side in (a, b)))]
        ordered[kind] = pairs
    return ordered


def triplets_one_by_one(descriptors: list, keypoints: list, matches: list, pair: int, config: TrainingConfig) -> torch.Tensor:
    """The pair's triplet loss; negatives come from two pairs."""
    if len(matches[pair]) < 16:
        return torch.zeros(())
    losses = []
    for index, (a, b) in enumerate(descriptors[pair]):
        negatives = []
        for other in (pair, pair ^ 1):
            if len(matches[other]) < 16:
                continue
            for number, (other_a, other_b) in enumerate(descriptors[other]):
                places = [keypoints[pair][matches[pair][index][0]][0], keypoints[other][matches[other][number][0]][0]]
                if other == pair and (number == index or math.dist(*(place.tolist() for place in places)) < config.least_apart):
                    continue
                negatives += [distance for distance in ((a - other_b).norm(), (other_a - b).norm()) if distance >= 0.01]
        losses.append((config.margin + (a - b).norm().clamp_min(TINY ** 0.5) - torch.stack(negatives).min()).clamp_min(0))
    return torch.stack(losses).mean()


def test_half_precision_leaves_the_truth_alone(views: Views) -> None:
    """Which keypoints show the same place is computed in full precision: in bfloat16 they would be off by a pixel."""
    torch.manual_seed(3)
    network = DalfNetwork()
    network.backbone.keypoint_head[-1].bias.data.fill_(2.0)
    single = Views(views.gray_a.float(), views.gray_b.float(), views.warp.to(dtype=torch.float32), views.corner, views.covered)
    config = TrainingConfig(mode="ts1", crop_size=SIZE, pairs=PAIRS, negative_group=2, border=4, reward_radius=((0, 4.0),))
    outcome = batch_loss(network, single, config, 0.5, seeded("cpu", 7), autocast=torch.bfloat16)
    there, shown = single.to_a(outcome.b.xy)
    expected = mutual_nearest(outcome.a.xy, outcome.a.accepted, there, outcome.b.accepted & shown, 4.0)
    assert expected.matched.sum() > 30
    assert torch.equal(outcome.found.matched, expected.matched) and torch.equal(outcome.found.partner, expected.partner)
