"""Tiled textures are told from other pictures."""
import cv2
import numpy as np
import pytest
from dalf_training.evaluation.repetition import repeats_itself, self_correlation


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8), (0, 0), 2)


@pytest.mark.parametrize("step", [(150, 0), (0, 170), (120, 200)])
def test_tiled(step: tuple[int, int]) -> None:
    tile = noise(step[0] or 480, step[1] or 640)
    tiled = np.tile(tile, (5, 5, 1))[:480, :640]
    assert self_correlation(tiled) > 0.95
    grain = np.random.default_rng(1).normal(0, 3, tiled.shape)
    assert repeats_itself(np.clip(tiled + grain, 0, 255).astype(np.uint8))


def test_others() -> None:
    assert self_correlation(noise(480, 640)) < 0.2
    assert self_correlation(np.full((480, 640), 90, np.uint8)) == 0.0
    half = noise(480, 640)
    half[:, 320:] = 128                                  # nothing to compare there
    assert not repeats_itself(half)
