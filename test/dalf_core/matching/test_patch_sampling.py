"""Patches sampled from packed images: the same values as OpenCV's bilinear interpolation."""
from __future__ import annotations

import cv2
import numpy as np
import pytest

from dalf_core.matching.patch_sampling import HALF, LEAST_CONTRAST, SIDE, SIZE, packed, sample, sampling_room

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 83), np.uint8)


def test_each_number_holds_a_pixel_and_its_three_neighbours() -> None:
    four = packed(IMAGE)
    corners = np.stack([(four >> shift) & 255 for shift in (0, 8, 16, 24)])[:, :-1, :-1]
    expected = np.stack([IMAGE[:-1, :-1], IMAGE[:-1, 1:], IMAGE[1:, :-1], IMAGE[1:, 1:]])
    assert np.array_equal(corners, expected)
    assert not four[-1].any() and not four[:, -1].any()


@pytest.mark.parametrize("affine", [[[1.0, 0.0], [0.0, 1.0]], [[0.8, -0.5], [0.4, 1.1]], [[-0.3, 1.2], [-1.0, 0.2]]])
def test_a_patch_is_what_opencv_interpolates(affine: list[list[float]]) -> None:
    x, y, matrix = 41.3, 28.6, np.array(affine, np.float32)
    offsets = np.stack(np.meshgrid(np.arange(SIDE) - HALF, np.arange(SIDE) - HALF), axis=-1).reshape(-1, 2).astype(np.float32)
    places = (offsets @ matrix.T + (x, y)).astype(np.float32)
    there = cv2.remap(IMAGE.astype(np.float32), places[:, 0], places[:, 1], cv2.INTER_LINEAR).ravel()
    patch = np.empty(SIZE, np.float32)
    contrast = sample(packed(IMAGE), np.float32(x), np.float32(y), matrix, sampling_room(), patch)
    assert contrast == pytest.approx(there.std(), rel=0.02)             # OpenCV rounds places to a 32nd of a pixel
    assert np.abs(patch * there.std() + there.mean() - there).max() < 255 / 32
    assert np.corrcoef(patch, there)[0, 1] > 0.9995
    assert patch.mean() == pytest.approx(0, abs=1e-5) and patch.std() == pytest.approx(1, abs=1e-4)


def test_beyond_the_image_or_without_texture_there_is_none() -> None:
    patch, straight = np.empty(SIZE, np.float32), np.eye(2, dtype=np.float32)

    def contrast(image: np.ndarray, x: float, y: float) -> float:
        return float(sample(packed(image), np.float32(x), np.float32(y), straight, sampling_room(), patch))

    height, width = IMAGE.shape
    assert contrast(IMAGE, HALF, HALF) > LEAST_CONTRAST and contrast(IMAGE, HALF - 0.1, 30) == 0 and contrast(IMAGE, 30, HALF - 0.1) == 0
    assert contrast(IMAGE, width - HALF - 1.1, 30) > LEAST_CONTRAST and contrast(IMAGE, width - HALF - 0.9, 30) == 0
    assert contrast(IMAGE, 30, height - HALF - 0.9) == 0
    assert contrast(np.full_like(IMAGE, 90), 30, 30) == 0
    assert contrast(IMAGE, np.nan, 30) == 0
