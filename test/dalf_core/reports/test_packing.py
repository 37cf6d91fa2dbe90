"""Numbers as few bytes, and back."""
from __future__ import annotations

import zlib

import numpy as np
import pytest

from dalf_core.reports.packing import SHADES, pack, quantise, shade

from .page_reader import unpack


def test_positions_are_off_by_half_a_step_at_most():
    rng = np.random.default_rng(0)
    positions = rng.uniform((-0.2, 0.1, 0.5), (0.3, 0.2, 0.9), (7, 40, 3))
    numbers, low, step = quantise(positions)
    assert numbers.dtype == np.uint16 and numbers.shape == positions.shape
    assert step < 0.5 / 16000
    np.testing.assert_allclose(low + step * numbers, positions, atol=0.5001 * step)


def test_a_surface_of_one_point():
    numbers, low, step = quantise(np.full((2, 3, 3), 0.7))
    np.testing.assert_allclose(low + step * numbers, 0.7)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_everything_comes_back(kind: type):
    """All values, the ends of the range beside each other included, so that differences wrap around."""
    rng, top = np.random.default_rng(1), np.iinfo(kind).max
    values = rng.integers(0, top + 1, (5, 3, 50)).astype(kind)
    values[1, :, ::2], values[1, :, 1::2], values[2] = 0, top, top
    other = rng.integers(0, 2, (5, 50)).astype(np.uint8)
    back, also = unpack(zlib.decompress(pack([values, other])), 5, 50, [(3, np.dtype(kind).itemsize), (1, 1)])
    np.testing.assert_array_equal(back, values)
    np.testing.assert_array_equal(also[:, 0], other)


def test_a_smooth_motion_takes_few_bytes():
    """A waving sheet of 60 x 40: less than a sixth of the two bytes a coordinate."""
    x, y, t = np.meshgrid(np.linspace(0, 0.4, 60), np.linspace(0, 0.3, 40), np.arange(32) / 30, indexing="ij")
    sheet = np.stack([x, y, 0.6 + 0.02 * np.sin(15 * x + 3 * t)]).transpose(3, 2, 1, 0).reshape(32, -1, 3)
    numbers, _, _ = quantise(sheet)
    assert len(pack([numbers.transpose(0, 2, 1)])) < numbers.nbytes / 6


def test_shades_span_the_scale():
    np.testing.assert_array_equal(shade(np.array([-9, -2, 0, 2, 9, np.nan]), -2, 2), [0, 0, SHADES // 2, SHADES, SHADES, SHADES + 1])
