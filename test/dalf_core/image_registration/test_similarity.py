"""Likeness of pictures whose relation is known."""
from __future__ import annotations

import cv2
import numpy as np
import pytest

from dalf_core.image_registration.similarity import local_zncc


def noisy(seed: int) -> np.ndarray:
    """(90, 120) float32 with contrast everywhere."""
    return cv2.GaussianBlur(np.random.default_rng(seed).uniform(0, 255, (90, 120)).astype(np.float32), (0, 0), 1.0)


def test_light_does_not_count_but_sign_does():
    picture = noisy(0)
    assert local_zncc(picture, picture).min() > 0.999
    assert local_zncc(picture, 0.5 * picture + 40).min() > 0.999
    assert local_zncc(picture, 255 - picture).max() < -0.999


def test_what_is_unrelated_or_plain_is_not_alike():
    one, other = noisy(1), noisy(2)
    assert np.abs(local_zncc(one, other)).mean() < 0.4
    assert np.abs(local_zncc(np.full((90, 120), 7, np.uint8), one)).max() < 1e-3
    rng = np.random.default_rng(0)
    faint = [rng.normal(100, 0.3, (90, 120)) for _ in range(2)]
    assert np.abs(local_zncc(*faint)).max() < 0.05


def test_pixels_outside_the_mask_do_not_count():
    one = noisy(0)
    other = one.copy()
    other[:, 60:] = 255 - other[:, 60:]
    left = np.zeros(one.shape, bool)
    left[:, :60] = True
    assert local_zncc(one, other, left)[:, :60].min() > 0.999
    assert local_zncc(one, other)[:, 55:60].mean() < 0.5


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="alike|like them"):
        local_zncc(np.zeros((4, 5)), np.zeros((5, 4)))
