"""Losses against loops over pairs and keypoints."""
import math

import pytest
import torch
import torch.nn.functional as F
from dalf_training.data.random_numbers import seeded
from dalf_training.losses.correspondence import mutual_nearest, sample_matches
from dalf_training.losses.descriptor_loss import triplet_loss, wrongly_described
from dalf_training.losses.detector_loss import detector_loss
from dalf_training.losses.keypoint_sampling import SampledKeypoints


def test_mutual_nearest() -> None:
    generator = seeded("cpu", 1)
    xy_a, xy_b = (torch.rand(3, 40, 2, generator=generator) * 20 for _ in range(2))
    ok_a, ok_b = (torch.rand(3, 40, generator=generator) < 0.7 for _ in range(2))
    found = mutual_nearest(xy_a, ok_a, xy_b, ok_b, 1.5)
    count = 0
    for pair in range(3):
        for i in range(40):
            distances = [(float((xy_a[pair, i] - xy_b[pair, j]).norm()), j) for j in range(40) if ok_b[pair, j]]
            nearest, j = min(distances)
            back = min((float((xy_a[pair, k] - xy_b[pair, j]).norm()), k) for k in range(40) if ok_a[pair, k])[1]
            expected = bool(ok_a[pair, i]) and back == i and nearest <= 1.5
            assert bool(found.matched[pair, i]) == expected
            if expected:
                assert int(found.partner[pair, i]) == j
                count += 1
    assert count > 10
    nothing = mutual_nearest(xy_a, ok_a, xy_b, torch.zeros_like(ok_b), 1.5)
    assert not nothing.matched.any()


def test_sample_matches() -> None:
    matched = torch.rand(4, 50, generator=seeded("cpu", 2)) < 0.5
    slots, valid = sample_matches(matched, torch.rand(4, 50, generator=seeded("cpu", 3)), 30)
    for pair in range(4):
        taken = slots[pair][valid[pair]].tolist()
        assert len(set(taken)) == len(taken) == min(30, int(matched[pair].sum())) and matched[pair][taken].all()
    assert sample_matches(matched, torch.zeros(4, 50), 100)[1].sum() == matched.sum()      # all fit, even with the least chance


def drawn(generator: torch.Generator) -> SampledKeypoints:
    return SampledKeypoints(torch.zeros(2, 12, 2), -torch.rand(2, 12, generator=generator), torch.rand(2, 12, generator=generator) < 0.8)


def test_detector_loss() -> None:
    generator = seeded("cpu", 4)
    a, b = drawn(generator), drawn(generator)
    xy_a, xy_b = (torch.rand(2, 12, 2, generator=generator) for _ in range(2))
    found = mutual_nearest(xy_a, a.accepted, xy_b, b.accepted, 0.3)
    wrong = found.matched & (torch.rand(2, 12, generator=generator) < 0.5)
    assert wrong.any() and (found.matched & ~wrong).any()
    loss = detector_loss(a, b, found, wrong, 0.01, 0.25)
    for pair in range(2):
        accepted_a, accepted_b = ([i for i in range(12) if side.accepted[pair, i]] for side in (a, b))
        gain = 0.0
        for i in accepted_a:
            for j in accepted_b:
                if found.matched[pair, i] and found.partner[pair, i] == j:
                    reward = -0.25 if wrong[pair, i] else 1.0
                    gain += reward * float(a.log_probability[pair, i] + b.log_probability[pair, j])
        expected = -gain / (len(accepted_a) * len(accepted_b))
        for side, accepted in ((a, accepted_a), (b, accepted_b)):
            expected += 0.01 * sum(float(side.log_probability[pair, i]) for i in accepted) / len(accepted)
        assert float(loss[pair]) == pytest.approx(expected, rel=1e-5)


def test_the_detector_learns_to_repeat_itself() -> None:
    """A step down the loss makes rewarded keypoints likelier, unrewarded ones rarer."""
    log_probability = torch.full((1, 2), -1.0, requires_grad=True)
    side = SampledKeypoints(torch.tensor([[[0.0, 0.0], [9.0, 9.0]]]), log_probability, torch.ones(1, 2, dtype=torch.bool))
    other = SampledKeypoints(torch.tensor([[[0.5, 0.0], [90.0, 9.0]]]), torch.full((1, 2), -1.0), torch.ones(1, 2, dtype=torch.bool))
    found = mutual_nearest(side.xy, side.accepted, other.xy, other.accepted, 1.5)
    detector_loss(side, other, found, torch.zeros(1, 2, dtype=torch.bool), 0.01, 0).sum().backward()
    assert log_probability.grad[0, 0] < 0 < log_probability.grad[0, 1]


def described(generator: torch.Generator, pairs: int = 4, slots: int = 20) -> tuple[torch.Tensor, ...]:
    a = F.normalize(torch.randn(pairs, slots, 6, generator=generator), dim=2)
    b = F.normalize(a + 0.4 * torch.randn(pairs, slots, 6, generator=generator), dim=2)
    b[1, 5] = a[1, 3]                                  # a near duplicate of another keypoint's descriptor
    return a, b, torch.rand(pairs, slots, 2, generator=generator) * 30, torch.rand(pairs, slots, generator=generator) < 0.95


@pytest.mark.parametrize("group", [1, 2, 4])
def test_triplet_loss(group: int) -> None:
    a, b, xy, valid = described(seeded("cpu", 5))
    valid[3, 2:] = False                               # too few matches to teach anything
    loss = triplet_loss(a, b, xy, valid, margin=0.5, group=group, least_apart=3.0)
    assert loss[3] == 0 and (loss[:3] > 0).all()
    for pair in range(3):
        losses = []
        others = [other for other in range(pair - pair % group, pair - pair % group + group) if other != 3]
        for i in range(20):
            if not valid[pair, i]:
                continue
            negatives = []
            for other in others:
                for j in range(20):
                    if not valid[other, j] or other == pair and float((xy[pair, i] - xy[pair, j]).norm()) < 3.0:
                        continue
                    if other == pair and i == j:
                        continue
                    negatives += [distance for distance in (math.dist(a[pair, i], b[other, j]), math.dist(a[other, j], b[pair, i]))
                                  if distance >= 0.01]
            losses.append(max(0.0, 0.5 + math.dist(a[pair, i], b[pair, i]) - min(negatives)))
        assert float(loss[pair]) == pytest.approx(sum(losses) / len(losses), abs=1e-4)


def test_triplet_gradients_are_finite_and_pull_matches_together() -> None:
    a, b, xy, valid = described(seeded("cpu", 6))
    b = a.clone()                                      # equal descriptors: the root's slope is infinite at 0
    a.requires_grad_()
    triplet_loss(a, b, xy, valid, margin=0.5, group=2, least_apart=0).sum().backward()
    assert torch.isfinite(a.grad).all()


def test_wrongly_described() -> None:
    a, b, _, valid = described(seeded("cpu", 7))
    wrong = wrongly_described(a, b, valid)
    for pair in range(4):
        for i in range(20):
            nearest = min((math.dist(a[pair, i], b[pair, j]), j) for j in range(20) if valid[pair, j])[1]
            assert bool(wrong[pair, i]) == (bool(valid[pair, i]) and nearest != i)
    assert wrong.any()
