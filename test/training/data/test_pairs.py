"""Pairs, appearance, photos."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from dalf_training.data.appearance import change_appearance
from dalf_training.data.difficulty import LightRange, WarpRange
from dalf_training.data.pairs import random_pairs, to_image, to_tensor
from dalf_training.data.photos import find_photos, read_photo


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_change_of_appearance() -> None:
    images = torch.rand(2, 3, 40, 50, generator=seeded())
    assert torch.equal(change_appearance(images, 0.0, seeded()), images)


def test_appearance_is_reproducible_and_stays_in_range() -> None:
    images = torch.rand(3, 3, 40, 50, generator=seeded())
    first, again, other = (change_appearance(images, 3.0, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.min() >= 0 and first.max() <= 1 and first.shape == images.shape
    assert change_appearance(images[:, :1], 2.0, seeded()).shape == (3, 1, 40, 50)


def test_blur_moves_nothing_and_keeps_the_light() -> None:
    dot = torch.zeros(4, 1, 41, 51)
    dot[:, :, 20, 25] = 0.8
    blurred = change_appearance(dot, LightRange(blur=2.0), seeded(3))[:, 0]
    assert torch.allclose(blurred.sum((1, 2)), torch.tensor(0.8), atol=1e-5)
    assert torch.allclose(blurred, blurred.flip(1, 2), atol=1e-6)
    assert blurred.amax((1, 2)).unique().numel() == 4           # each image its own


def test_exposure_gamma_and_noise_have_the_size_asked_for() -> None:
    grey = torch.full((200, 1, 8, 8), 0.25)
    exposed = change_appearance(grey, LightRange(exposure=1.0), seeded(4))[:, 0, 0, 0]
    assert 0.125 <= exposed.min() < 0.14 and 0.46 < exposed.max() <= 0.5
    raised = change_appearance(grey, LightRange(gamma=1.0), seeded(5))[:, 0, 0, 0]
    assert 0.0625 <= raised.min() < 0.08 and 0.45 < raised.max() <= 0.5
    noisy = change_appearance(torch.full((50, 1, 64, 64), 0.5), LightRange(noise=0.05), seeded(6))
    deviation = noisy.flatten(1).std(dim=1)
    assert deviation.min() < 0.01 and 0.04 < deviation.max() < 0.052


def test_pairs() -> None:
    photos = torch.rand(2, 3, 60, 80, generator=seeded())
    pairs = random_pairs(photos, photos.flip(0), (80, 60), 2.0, seeded(7))
    again = random_pairs(photos, photos.flip(0), (80, 60), 2.0, seeded(7))
    assert torch.equal(pairs.images_b, again.images_b) and torch.equal(pairs.shows_a, again.shows_a)
    assert pairs.images_b.shape == (2, 3, 60, 80) and pairs.shows_a.shape == (2, 60, 80)
    with pytest.raises(ValueError, match="light"):
        random_pairs(photos, None, (80, 60), WarpRange(tilt=5), seeded())


def test_images_round_trip() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    assert np.array_equal(to_image(to_tensor([image])[0]), image)


def test_photos(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder"):
        find_photos(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no photos"):
        find_photos(tmp_path)
    (tmp_path / "sub").mkdir()
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 100, axis=0).repeat(3, axis=2)
    cv2.imwrite(str(tmp_path / "sub" / "b.png"), ramp)
    cv2.imwrite(str(tmp_path / "a.PNG"), ramp)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "c.png").write_text("no picture")
    assert [path.name for path in find_photos(tmp_path)] == ["a.PNG", "c.png", "b.png"]
    photo = read_photo(tmp_path / "a.PNG", (50, 50))                # the middle half of the ramp, at half size
    assert photo.shape == (50, 50, 3) and abs(int(photo[0, 0, 0]) - 50) <= 1 and abs(int(photo[0, -1, 0]) - 149) <= 1
    with pytest.raises(OSError, match="c.png is no picture"):
        read_photo(tmp_path / "c.png", (50, 50))
