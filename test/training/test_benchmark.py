"""The fixed pairs."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from dalf_training import benchmark
from dalf_training.pairs import to_tensor
from dalf_training.photos import held_out
from dalf_training.rendering import pixel_grid, sample


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with three photos that are held out, and three that are not."""
    names = [f"photo_{index}.png" for index in range(200)]
    kept, trained = [name for name in names if held_out(name)][:3], [name for name in names if not held_out(name)][:3]
    for seed, name in enumerate(kept + trained):
        noise = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / name), cv2.resize(noise, (800, 600), interpolation=cv2.INTER_CUBIC))
    return tmp_path


def test_only_held_out_photos(photos: Path) -> None:
    found = benchmark.benchmark_photos(photos)
    assert len(found) == 3 and all(map(held_out, found))
    for path in found[1:]:
        path.unlink()
    with pytest.raises(ValueError, match="at least 2"):
        benchmark.benchmark_photos(photos)


def test_pairs_are_fixed_and_true(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SIZE", (160, 120))
    first, second = benchmark.benchmark_pairs(photos, "easy", 2)
    again, = benchmark.benchmark_pairs(photos, "easy", 1, first=1)
    assert np.array_equal(second.image_b, again.image_b) and second.photo == again.photo != first.photo
    source = first.warp.source_positions(pixel_grid((160, 120), first.warp.homography)).reshape(1, 120, 160, 2)
    there = sample(to_tensor([first.image_a]).double(), source)[0].mean(0)[30:90, 40:120]
    here = torch.from_numpy(first.image_b).double().mean(2)[30:90, 40:120]
    assert np.corrcoef(there.flatten(), here.flatten())[0, 1] > 0.7            # the light differs
    moved = torch.roll(there, 4, dims=1)
    assert abs(np.corrcoef(moved.flatten(), here.flatten())[0, 1]) < 0.5
    with pytest.raises(ValueError, match="level"):
        next(benchmark.benchmark_pairs(photos, "harder", 1))
