"""Photos and settings small enough to train within a test."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from dalf_training.config import TrainingConfig
from dalf_training.data.photo_cache import PhotoCache, open_photos
from dalf_training.data.photos import held_out

SMALL = {
    "photo_size": (144, 96), "crop_size": (96, 64), "pairs": 2, "accumulate": 1, "negative_group": 1, "border": 4.0, "matches": 16,
    "steps": 4, "rotation": ((0, 10.0),), "reward_radius": ((0, 6.0),), "difficulty": ((0, 0.3),), "tensorboard": False,
    "validation_pairs": 3, "log_every": 1, "validate_every": 2, "save_every": 2, "picture_every": 100, "precision": "float32",
    "device": "cpu"}


def texture(seed: int, size: tuple[int, int]) -> np.ndarray:
    """HxWx3 uint8: smooth noise of several scales."""
    random = np.random.default_rng(seed)
    layers = [cv2.resize(random.random((n * 2, n * 3, 3), dtype=np.float32), size, interpolation=cv2.INTER_CUBIC) / n ** 0.5
              for n in (4, 9, 20)]
    total = np.sum(layers, axis=0)
    return np.clip(255 * (total - total.min()) / np.ptp(total), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photos to learn from and two kept for validation, in two folders."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    names = [f"p{number}.png" for number in range(100)]
    chosen = [name for name in names if not held_out(name)][:8] + [name for name in names if held_out(name)][:2]
    for number, name in enumerate(chosen):
        cv2.imwrite(str(folder / ("more" if number % 2 else ".") / name), texture(number, (180, 120)))
    return folder


@pytest.fixture(scope="session")
def photos(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PhotoCache:
    """The same at the size of small_config."""
    return open_photos(photo_folder, (144, 96), (96, 64), tmp_path_factory.mktemp("cache"), progress=False)


@pytest.fixture
def small_config() -> TrainingConfig:
    return TrainingConfig(**SMALL)


@pytest.fixture(name="texture")
def texture_fixture():
    return texture


@pytest.fixture
def tps_folders(tmp_path: Path) -> tuple[Path, Path]:
    """Images and truth of two deforming objects, 160x120, in the layout of tps_benchmark; all splines move by 8 px to the right.

    The object is right of x = 20 at rest; bent, it is below y = 20, and its map is trusted left of x = 140.
    """
    theta = np.zeros((1, 4 + 3, 2), np.float32)
    theta[0, -3] = 8 / 160, 0
    control = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    at_rest, bent, alike = (np.full((120, 160), 255, np.uint8) for _ in range(3))
    at_rest[:, :20], bent[:20], alike[:, 140:] = 0, 0, 60            # 60 / 255 < 0.25
    for name, numbers in {"Kinect1/shirt": (2, 10), "SimulationICCV/bag": (1,), "SimulationICCV/stone_1": ()}.items():
        images, truth = tmp_path / "images" / name, tmp_path / "truth" / name
        images.mkdir(parents=True)
        truth.mkdir(parents=True)
        cv2.imwrite(str(images / "cloud_master-rgb.png"), texture(0, (160, 120)))
        cv2.imwrite(str(truth / "cloud_master_objmask.png"), at_rest)
        for number in numbers:
            cv2.imwrite(str(images / f"cloud_{number}-rgb.png"), texture(number, (160, 120)))
            for kind, picture in (("objmask", bent), ("SSIM", alike)):
                cv2.imwrite(str(truth / f"cloud_{number}_{kind}.png"), picture)
            np.save(truth / f"cloud_{number}_theta.npy", theta)
            np.save(truth / f"cloud_{number}_ctrlpts.npy", control)
    return tmp_path / "images", tmp_path / "truth"
