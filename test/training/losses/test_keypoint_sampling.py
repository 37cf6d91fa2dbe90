"""Drawing keypoints: places, probabilities, frequencies."""
import torch
from dalf_training.data.random_numbers import seeded
from dalf_training.losses.keypoint_sampling import cells, sample_keypoints, sampling_numbers

from dalf_core.features.geometry import CORRECTED, heatmap_to_image


def test_probabilities_are_those_of_torch_distributions() -> None:
    heatmap = torch.randn(2, 1, 40, 50, generator=seeded("cpu", 1)).requires_grad_()
    drawn = sample_keypoints(heatmap, torch.rand(2, cells((50, 40))[0] * cells((50, 40))[1], 2, generator=seeded("cpu", 2)), border=0)
    assert cells((50, 40)) == (6, 5) and drawn.xy.shape == (2, 30, 2)
    for image in range(2):
        for row in range(5):
            for column in range(6):
                logits = heatmap[image, 0, row * 8:row * 8 + 8, column * 8:column * 8 + 8].reshape(-1)
                places = torch.tensor([[column * 8.0 + x, row * 8.0 + y] for y in range(8) for x in range(8)])
                xy = heatmap_to_image(places, (50, 40), CORRECTED)
                choice = (xy - drawn.xy[image, row * 6 + column]).norm(dim=1).argmin()
                assert torch.equal(xy[choice], drawn.xy[image, row * 6 + column])
                expected = (torch.distributions.Categorical(logits=logits).log_prob(choice)
                            + torch.distributions.Bernoulli(logits=logits[choice]).log_prob(torch.tensor(1.0)))
                assert torch.allclose(drawn.log_probability[image, row * 6 + column], expected, atol=1e-5)
    assert drawn.log_probability.requires_grad and not drawn.xy.requires_grad


def test_frequencies() -> None:
    cell = torch.linspace(-2, 2, 64)
    heatmap = cell.reshape(1, 1, 8, 8).expand(20_000, -1, -1, -1)
    drawn = sample_keypoints(heatmap, torch.rand(20_000, 1, 2, generator=seeded("cpu", 3)), border=-100)
    places = heatmap_to_image(torch.tensor([[float(x), float(y)] for y in range(8) for x in range(8)]), (8, 8), CORRECTED)
    index = torch.cdist(drawn.xy[:, 0], places).argmin(dim=1)
    assert torch.allclose(torch.bincount(index, minlength=64) / 20_000, cell.softmax(0), atol=0.006)
    for few in (slice(0, 32), slice(32, 64)):
        chosen = (index >= few.start) & (index < few.stop)
        expected = (cell[few].softmax(0) * torch.sigmoid(cell[few])).sum()
        assert abs(drawn.accepted[chosen, 0].float().mean() - expected) < 0.02


def test_extreme_chances_stay_in_the_cell() -> None:
    heatmap = torch.full((1, 1, 16, 16), -30.0)
    heatmap[0, 0, ::8, ::8] = 50.0
    for chance in (0.0, 1 - 2 ** -24):
        drawn = sample_keypoints(heatmap, torch.full((1, 4, 2), chance), border=-100)
        first = heatmap_to_image(torch.tensor([[0.0, 0.0], [8, 0], [0, 8], [8, 8]]), (16, 16), CORRECTED)
        assert torch.equal(drawn.xy[0], first) and drawn.accepted.all()


def test_border_and_offset() -> None:
    heatmap = torch.full((3, 1, 64, 96), 9.0)
    for offset in ((0, 0), (3, 5)):
        columns, rows = cells((96, 64), offset)
        assert (columns, rows) == ((12, 8) if offset == (0, 0) else (11, 7))
        drawn = sample_keypoints(heatmap, sampling_numbers(seeded("cpu", 4), 3, (96, 64), offset)[:3], 16, offset)
        inner = (drawn.xy >= 16) & (drawn.xy <= torch.tensor([79.0, 47.0]))
        assert torch.equal(inner.all(dim=-1), drawn.accepted)
        assert drawn.xy.shape[1] == columns * rows and 20 < drawn.accepted.sum(dim=1).min()
    low, high = (heatmap_to_image(torch.tensor([[float(x), 0]]), (96, 64), CORRECTED)[0, 0] for x in (3, 3 + 88))
    assert drawn.xy[..., 0].min() >= low and drawn.xy[..., 0].max() <= high


def test_chance_is_by_pair() -> None:
    chance = sampling_numbers(seeded("cpu", 5), 3, (16, 8))
    again = torch.rand(3, 2, 2, 2, generator=seeded("cpu", 5))
    assert torch.equal(chance[:3], again[:, 0]) and torch.equal(chance[3:], again[:, 1])
