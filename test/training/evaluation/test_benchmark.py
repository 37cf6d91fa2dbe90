"""The fixed pairs."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from dalf_training.data.pairs import to_tensor
from dalf_training.data.photos import held_out
from dalf_training.data.rendering import pixel_grid, sample
from dalf_training.evaluation import benchmark


def test_only_held_out_photos(photo_files: Path) -> None:
    found = benchmark.benchmark_photos(photo_files)
    assert len(found) == 3 and all(map(held_out, found))
    tile = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    cv2.imwrite(str(found[0]), np.tile(cv2.GaussianBlur(tile, (0, 0), 2), (4, 4, 1)))
    assert benchmark.benchmark_photos(photo_files) == found[1:]     # of two copies none is the right one
    for path in found[1:2]:
        path.unlink()
    with pytest.raises(ValueError, match="at least 2"):
        benchmark.benchmark_photos(photo_files)


def test_pairs_are_fixed_and_true(photo_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SIZE", (160, 120))
    first, second = benchmark.benchmark_pairs(photo_files, "easy", 2)
    again, = benchmark.benchmark_pairs(photo_files, "easy", 1, first=1)
    assert np.array_equal(second.image_b, again.image_b) and second.photo == again.photo != first.photo
    source = first.warp.source_positions(pixel_grid((160, 120), first.warp.homography)).reshape(1, 120, 160, 2)
    there = sample(to_tensor([first.image_a]).double(), source)[0].mean(0)[30:90, 40:120]
    here = torch.from_numpy(first.image_b).double().mean(2)[30:90, 40:120]
    assert np.corrcoef(there.flatten(), here.flatten())[0, 1] > 0.7            # the light differs
    moved = torch.roll(there, 4, dims=1)
    assert abs(np.corrcoef(moved.flatten(), here.flatten())[0, 1]) < 0.5
    with pytest.raises(ValueError, match="level"):
        next(benchmark.benchmark_pairs(photo_files, "harder", 1))
