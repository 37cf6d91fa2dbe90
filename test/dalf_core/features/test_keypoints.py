"""Keypoints from heatmaps whose maxima are known."""
from __future__ import annotations

import pytest
import torch

from dalf_core.features.geometry import CORRECTED
from dalf_core.features.keypoints import find_keypoints, peaks, quadratic_offset, strongest_keypoints


def maxima(*arguments, **options) -> torch.Tensor:
    return peaks(*arguments, **options).flatten().nonzero()[:, 0]


def test_quadratic_peak_is_found_exactly():
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(11.0), indexing="ij")
    heatmap = 50 - 2 * (x - 5.3) ** 2 - (y - 3.8) ** 2 + 0.5 * (x - 5.3) * (y - 3.8)
    index = maxima(heatmap, 0.0, 1)
    assert index.tolist() == [4 * 11 + 5]
    assert quadratic_offset(heatmap, index)[0].tolist() == pytest.approx([0.3, -0.2], abs=1e-5)


def test_plateaus_count_once_and_the_border_is_left_out():
    heatmap = torch.zeros(10, 12)
    heatmap[2, 3:6] = 5
    heatmap[6:8, 7:9] = 6
    heatmap[0, 0] = heatmap[9, 11] = 9
    assert maxima(heatmap, 1.0, 1).tolist() == [2 * 12 + 3, 6 * 12 + 7]
    assert len(maxima(heatmap, 1.0)) == 4
    assert len(maxima(heatmap, 1.0, plateaus=True)) == 9
    flat = quadratic_offset(torch.ones(5, 5), torch.tensor([12]))
    assert flat.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("count", [1, 50, 600])
def test_the_fixed_number_of_keypoints_begins_with_all_there_are(count):
    heatmap = torch.nn.functional.avg_pool2d(torch.rand(1, 100, 130, generator=torch.Generator().manual_seed(0)), 5, 1)[0]
    xy, score = find_keypoints(heatmap, 0.55, CORRECTED, 0.25)
    fixed_xy, fixed_score = strongest_keypoints(heatmap, count, 0.55, 0.25)
    assert 100 < len(xy) < 500 and fixed_xy.shape == (count, 2)
    found = min(count, len(xy))
    assert torch.equal(fixed_score[:found], score[:found]) and torch.equal(fixed_xy[:found], xy[:found])
    assert (fixed_score[found:] == -torch.inf).all() and ((fixed_xy >= 0) & (fixed_xy < 130)).all()
