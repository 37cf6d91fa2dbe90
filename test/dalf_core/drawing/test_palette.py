"""The colours that are to be told apart are so, with red-green blindness as well."""
from __future__ import annotations

import cv2
import numpy as np
import pytest

from dalf_core.drawing import palette

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009: severity 1, linear RGB
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def seen(bgr: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(N, 3) CIELAB of BGR colours (N, 3) as an eye with this matrix sees them."""
    share = np.asarray(bgr, float)[:, ::-1] / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ np.transpose(matrix)
    linear = linear.clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(encoded[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]


@pytest.mark.parametrize("eye", [*BLIND, "normal"])
def test_what_means_different_things_looks_different(eye):
    """A difference of 2.3 in CIELAB is just seen; these are ten times that."""
    matrix = np.array(BLIND.get(eye, np.eye(3)))
    for a, b in ((palette.GOOD, palette.BAD), (palette.GRID, palette.GRID_UNSEEN), (palette.GOOD, palette.DROPPED)):
        one, other = seen(np.array([a, b]), matrix)
        assert np.linalg.norm(one - other) > 23, (a, b)
    angles = np.arange(0, 2 * np.pi, np.pi / 12)
    here, there = (seen(palette.direction_colors(angles + turn, np.ones(len(angles))), matrix) for turn in (0, np.pi))
    assert np.linalg.norm(here - there, axis=1).min() > 23
    lightness = seen(palette.magnitude_colors(np.linspace(0, 1, 20)), matrix)[:, 0]
    assert (np.diff(lightness) > 0).all() and np.ptp(lightness) > 60


def test_directions_go_round_and_fade_to_white():
    right, left, again, still = palette.direction_colors(np.array([0, np.pi, 2 * np.pi, 1.0]), np.array([1.0, 1, 1, 0])).astype(int)
    assert right[0] < 50 < right[1] and left[0] > 150 > left[2] and (right == again).all() and (still == 255).all()
    ring = palette.direction_colors(np.linspace(0, 2 * np.pi, 721), np.ones(721)).astype(int)
    assert np.abs(np.diff(ring, axis=0)).max() <= 3


def test_quality_goes_from_blue_to_orange():
    good, middle, bad = palette.quality_colors(np.array([-1.0, 0.5, 2.0])).astype(int)
    assert tuple(good) == palette.GOOD and tuple(bad) == palette.BAD and (middle == np.rint((good + bad) / 2)).all()
    assert palette.hexadecimal((1, 171, 255)) == "#ffab01" and palette.rgb(palette.GOOD) == palette.GOOD[::-1]
