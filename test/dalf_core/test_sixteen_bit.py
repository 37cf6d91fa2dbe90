"""16-bit images are used in full: by the network, and for pictures."""
from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_core import sixteen_bit
from dalf_core.features.image_input import to_gray
from dalf_core.files.picture_file import read_picture
from dalf_core.matching.nearest_neighbours import match
from dalf_core.matching.verification import verify
from dalf_core.sixteen_bit import equalised, to_eight_bit

from .feature_fixtures import textured


def test_what_no_pixel_has_takes_nothing_of_the_range() -> None:
    """A thermal image: 2000 numbers around 29 000, each of one pixel, with two dead pixels: they lie evenly in 0 to 1, in their order."""
    values = 29_000 + np.arange(2000, dtype=np.uint16).reshape(40, 50)
    values[0, 0], values[-1, -1] = 0, 65535
    gray = to_gray(values)
    assert gray.dtype == np.float32
    np.testing.assert_allclose(gray, np.arange(2000).reshape(40, 50) / 1999, atol=1e-6)
    np.testing.assert_array_equal(to_eight_bit(values), np.rint(255 * gray))


def test_a_range_gets_as_much_as_it_has_pixels_up_to_the_plateau() -> None:
    """10 000 pixels, of which 5 of one value are counted: background 7000 + 1000, a hot object of 20 values with 100 pixels each."""
    values = np.concatenate([np.full(7000, 500), np.full(1000, 501), np.repeat(40_000 + 10 * np.arange(20), 100)]).astype(np.uint16)
    expected = np.repeat(np.arange(22) / 21, [7000, 1000, *[100] * 20])
    np.testing.assert_allclose(equalised(values.reshape(100, 100)).reshape(-1), expected, atol=1e-6)
    sparse = np.concatenate([np.repeat(np.arange(500, 596), 104), 40_000 + np.arange(16)]).astype(np.uint16)     # 10 000 again
    got = equalised(sparse.reshape(100, 100)).reshape(-1)
    assert got[-17] == pytest.approx(95 * 5 / (95 * 5 + 16)) and got[-1] == 1


def test_colours_and_few_values() -> None:
    bgr = np.random.default_rng(0).integers(1000, 3000, (40, 50, 3)).astype(np.uint16)
    np.testing.assert_allclose(to_gray(bgr), equalised(bgr.mean(axis=2)), atol=1e-5)
    spot = np.full((40, 50), 700, np.uint16)
    spot[20, 20] = 900
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
        "16-bit images are equalised, each by itself: ranges of values that few pixels have are narrowed") == 1


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


def warped(image: np.ndarray) -> np.ndarray:
    """Turned by 6 degrees and waved, by the same smooth map whatever the image."""
    height, width = image.shape
    y, x = np.mgrid[:height, :width]
    dx, dy, turn = x - width / 2, y - height / 2, np.deg2rad(6)
    map_x = width / 2 + np.cos(turn) * dx - np.sin(turn) * dy + 7 * np.sin(8 * y / height)
    map_y = height / 2 + np.sin(turn) * dx + np.cos(turn) * dy + 5 * np.sin(7 * x / width + 0.5)
    return cv2.remap(image, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def thermal(grey: np.ndarray, hot: np.ndarray, seed: int) -> np.ndarray:
    """As a thermal camera sees it: the picture in 29 000 to 29 400, noise of one, a dozen dead pixels; hot (0 to 1) is 15 000 more."""
    rng = np.random.default_rng(seed)
    values = 29_000 + 400 / 255 * grey + rng.normal(0, 1, grey.shape) + 15_000 * hot
    values[rng.integers(0, grey.shape[0], 12), rng.integers(0, grey.shape[1], 12)] = rng.choice([0, 65535], 12)
    return np.rint(values).clip(0, 65535).astype(np.uint16)


@pytest.mark.parametrize("with_hot", [False, True], ids=["narrow", "with a hot object"])
def test_a_thermal_picture_matches_as_well_as_in_eight_bits(data_folder: Path, with_hot: bool) -> None:
    """A real picture and its warp: 8 bits of the 16, or of their range, lose a third of the matches, with a hot object two thirds."""
    from dalf_core import DALF

    dalf = DALF(device="cpu", top_k=512)

    def verified(first: np.ndarray, second: np.ndarray) -> int:
        a, b = dalf.extract(first), dalf.extract(second)
        return int(verify(a, b, match(a, b)).sum())

    grey = cv2.resize(cv2.imread(str(data_folder / "dalf" / "bag_000.png"), cv2.IMREAD_GRAYSCALE), (480, 270), interpolation=cv2.INTER_AREA)
    hot = np.zeros(grey.shape, np.float32)
    if with_hot:        # 2 % of the picture
        hot = cv2.GaussianBlur(cv2.circle(hot, (160, 135), 29, 1, -1), (0, 0), 5)
    pair = thermal(grey, hot, 1), thermal(warped(grey), warped(hot), 2)
    low = min(int(image.min()) for image in pair)
    naive = [((image.astype(float) - low) / (65535 - low) * 255).astype(np.uint8) for image in pair]
    original, full = verified(grey, warped(grey)), verified(*pair)
    assert original > 300 and full > 0.9 * original
    assert verified(*naive) < (0.4 if with_hot else 0.75) * full


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bit_photos_are_read_whole(suffix: str, tmp_path) -> None:
    photo = np.random.default_rng(0).integers(0, 65536, (40, 50, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"photo{suffix}"), photo)
    np.testing.assert_array_equal(read_picture(tmp_path / f"photo{suffix}"), photo)
    cv2.imwrite(str(tmp_path / f"grey{suffix}"), photo[:, :, 0])
    np.testing.assert_array_equal(read_picture(tmp_path / f"grey{suffix}"), np.repeat(photo[:, :, :1], 3, axis=2))
