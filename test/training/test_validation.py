"""Validation and calibration, with weights whose scores are known."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from dalf_training.calibration import KEYPOINT_AREA, calibrate
from dalf_training.config import TrainingConfig
from dalf_training.data.photo_cache import PhotoCache
from dalf_training.validation import validate, validation_views

from dalf_core.features.geometry import CORRECTED
from dalf_core.features.keypoints import find_keypoints
from dalf_core.features.network import DalfNetwork
from dalf_core.weights import load_network


@pytest.fixture(scope="module")
def official(data_folder: Path) -> DalfNetwork:
    return load_network(data_folder / "dalf" / "model_ts-fl_final.pth")[0]


@pytest.fixture(scope="module")
def pictures(data_folder: Path) -> np.ndarray:
    """(5, 240, 320, 3) uint8."""
    files = sorted((data_folder / "train_photos").glob("*.webp"))[:5]
    return np.stack([cv2.resize(cv2.imread(str(file)), (320, 240), interpolation=cv2.INTER_AREA) for file in files])


@pytest.fixture(scope="module")
def gray(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures[:3].mean(axis=3, dtype=np.float32))[:, None] / 255


def test_official_weights(official: DalfNetwork, pictures: np.ndarray) -> None:
    cache = PhotoCache(pictures, tuple("abcde"), (), "")
    config = TrainingConfig(photo_size=(320, 240), crop_size=(192, 144), validation_pairs=6)
    views = validation_views(cache, np.arange(5), config, torch.device("cpu"))
    assert {level: [len(batch.gray_a) for batch in batches] for level, batches in views.items()} == dict.fromkeys(views, [2])
    result = validate(official, views, "ts1")
    scores = list(result.matching_score.values())
    assert scores == sorted(scores, reverse=True) and 0.4 < scores[0] < 0.9 and scores[2] < 0.3        # the backbone fails under rotation
    assert result.score == pytest.approx(np.mean(scores))
    for level in views:
        assert result.matching_score[level] <= result.repeatability[level] + 0.02
    again = validation_views(cache, np.arange(5), config, torch.device("cpu"))
    assert all(torch.equal(one.gray_b, other.gray_b) for level in views for one, other in zip(views[level], again[level]))
    assert not any(module.training for module in official.modules())


def test_calibration(official: DalfNetwork, gray: torch.Tensor) -> None:
    told = calibrate(official, gray)
    assert float(told["keypoint_bias"]) == pytest.approx(0.25, abs=0.06)        # as measured on whole photos
    with torch.no_grad():
        counts = [len(find_keypoints(one[0], float(told["threshold"]), CORRECTED)[0]) for one in official(gray)[0]]
    assert sum(counts) == pytest.approx(gray.numel() / KEYPOINT_AREA, rel=0.01)


def test_calibration_of_a_symmetric_detector(gray: torch.Tensor) -> None:
    """A blob detector without a preferred side has no bias but that of reading the heatmap."""
    blurred = torch.nn.functional.avg_pool2d(gray, 9, 1, 4)

    class Detector(torch.nn.Module):
        geometries = (CORRECTED,)

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, None]:
            return torch.nn.functional.avg_pool2d(image, 9, 1, 4), None

    assert blurred.shape == gray.shape
    assert float(calibrate(Detector(), gray)["keypoint_bias"]) == pytest.approx(0.0, abs=0.02)
