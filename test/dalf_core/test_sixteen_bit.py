"""16-bit images are used in full: by the network, and for pictures."""
from __future__ import annotations

import logging

import cv2
import numpy as np
import pytest

from dalf_core import sixteen_bit
from dalf_core.features.image_input import to_gray
from dalf_core.files.picture_file import read_picture
from dalf_core.matching.nearest_neighbours import match
from dalf_core.matching.verification import verify
from dalf_core.sixteen_bit import stretched, to_eight_bit

from .feature_fixtures import textured


def test_the_used_part_of_the_range_fills_it() -> None:
    """A thermal image: 2000 numbers around 29 000, in order, with two dead pixels."""
    values = 29_000 + np.arange(2000, dtype=np.uint16).reshape(40, 50)
    values[0, 0], values[-1, -1] = 0, 65535
    low, high = np.percentile(values, (0.1, 99.9))
    expected = np.clip((values.astype(float) - low) / (high - low), 0, 1)
    gray = to_gray(values)
    assert gray.dtype == np.float32 and (gray[0, 0], gray[-1, -1]) == (0, 1)
    np.testing.assert_allclose(gray, expected, atol=1e-6)
    assert len(np.unique(gray)) > 1990          # in 8 bits: 8 of the whole range, 256 at best
    np.testing.assert_array_equal(to_eight_bit(values), np.rint(255 * gray))


def test_colours_and_few_values() -> None:
    bgr = np.random.default_rng(0).integers(1000, 3000, (40, 50, 3)).astype(np.uint16)
    np.testing.assert_allclose(to_gray(bgr), stretched(bgr.mean(axis=2)), atol=1e-5)
    spot = np.full((40, 50), 700, np.uint16)
    spot[20, 20] = 900                          # both percentiles are 700
    assert sorted(np.unique(to_gray(spot))) == [0, 1]
    with pytest.raises(ValueError, match="constant"):
        to_gray(np.full((40, 50), 700, np.uint16))
    with pytest.raises(ValueError, match="uint8, uint16 or float"):
        to_gray(np.ones((40, 50), np.int32))


def test_eight_bits_are_left_as_they_are() -> None:
    image = textured(64, 48)
    np.testing.assert_array_equal(to_eight_bit(image), image)
    np.testing.assert_array_equal(to_gray(image[:, :, 0]), image[:, :, 0].astype(np.float32) / 255)


def test_it_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    sixteen_bit._tell.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            to_gray(np.arange(1600, dtype=np.uint16).reshape(40, 40))
    assert [record.getMessage() for record in caplog.records].count(
        "16-bit images are stretched, each by itself: their percentiles 0.1 and 99.9 become black and white") == 1


def test_a_faint_image_matches_as_well_as_a_bright_one() -> None:
    """The same two views in 8 bits and as 1000 of 65536 levels, of which 8 bits would keep 4: nearly as many matches."""
    from dalf_core import DALF

    dalf = DALF(device="cpu", top_k=400)
    first = cv2.cvtColor(textured(320, 240), cv2.COLOR_BGR2GRAY)
    second = cv2.warpAffine(first, cv2.getRotationMatrix2D((160, 120), 8, 1.02), (320, 240), borderMode=cv2.BORDER_REFLECT)
    counts = []
    for levels in (None, 1000):
        a, b = (dalf.extract(image if levels is None else np.rint(30_000 + image.astype(float) / 255 * levels).astype(np.uint16))
                for image in (first, second))
        counts.append(int(verify(a, b, match(a, b)).sum()))
    assert counts[0] > 100 and counts[1] > 0.9 * counts[0]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bit_photos_are_read_whole(suffix: str, tmp_path) -> None:
    photo = np.random.default_rng(0).integers(0, 65536, (40, 50, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"photo{suffix}"), photo)
    np.testing.assert_array_equal(read_picture(tmp_path / f"photo{suffix}"), photo)
    cv2.imwrite(str(tmp_path / f"grey{suffix}"), photo[:, :, 0])
    np.testing.assert_array_equal(read_picture(tmp_path / f"grey{suffix}"), np.repeat(photo[:, :, :1], 3, axis=2))
