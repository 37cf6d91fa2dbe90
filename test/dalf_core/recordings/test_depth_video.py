"""Depth from 16-bit films beside colour: to the last digit, and what does not belong together."""
from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from dalf_core.image_registration.video import VideoWriter  # noqa: E402
from dalf_core.image_registration.video_reader import VideoReader  # noqa: E402
from dalf_core.recordings.depth_video import DepthFilm, DepthVideoError, PairedVideo, _as_depth, check_kinds  # noqa: E402

from .gray_film import write_gray  # noqa: E402

FPS, WIDTH, HEIGHT = 50, 64, 48


@pytest.fixture(scope="module")
def depth() -> list[np.ndarray]:
    """Every number that 16 bits have, in four pictures; the first pixel is the picture's own number."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16) for _ in range(4)]
    for number, picture in enumerate(pictures):
        picture[0, :3] = number, 0, 65535
    return pictures


@pytest.fixture(scope="module")
def color(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures, brighter by 60 each."""
    path = tmp_path_factory.mktemp("color") / "color.mp4"
    with VideoWriter(path, FPS) as film:
        for number in range(4):
            film.write(np.full((HEIGHT, WIDTH, 3), 20 + 60 * number, np.uint8))
    return path


def test_a_film_is_read_to_the_millimetre(depth, tmp_path):
    film = DepthFilm(write_gray(tmp_path / "depth.mkv", depth, FPS))
    for _ in range(2):              # from the start each time
        found = list(film)
        assert len(found) == 4 and all(np.array_equal(a, b) and a.dtype == np.uint16 for a, b in zip(found, depth))
    assert film.fps == pytest.approx(FPS) and np.array_equal(film.frame(0), depth[0])


def test_pictures_and_depth_of_the_same_number_come_together(depth, color, tmp_path):
    """Again and again; whatever is left out, since it is late, is left out of both."""
    with VideoReader(color) as seen, PairedVideo(seen, str(write_gray(tmp_path / "depth.mkv", depth, FPS))) as pair:
        assert pair.size == (WIDTH, HEIGHT) and pair.problem == ""
        numbers = []
        for picture, found in islice(pair, 9):
            number = int(found[0, 0])
            assert np.array_equal(found, depth[number]) and abs(int(picture[10, 10, 0]) - (20 + 60 * number)) < 8
            numbers.append(number)
        assert set(numbers) == {0, 1, 2, 3} and numbers.count(3) > 1


@pytest.mark.parametrize(("make", "why"), [
    (lambda depth, path: write_gray(path, [(picture >> 8).astype(np.uint8) for picture in depth], FPS), "8-bit pictures"),
    (lambda depth, path: write_gray(path, [picture[:, :32] for picture in depth], FPS), "32x48 pixels, colour 64x48"),
    (lambda depth, path: write_gray(path, depth, 25), "25 pictures a second, colour 50"),
    (lambda depth, path: path, "no such file"),
    (lambda depth, path: path.write_text("none") and path, "no film that can be read"),
])
def test_what_is_no_depth_of_that_film_is_told(make, why, depth, color, tmp_path):
    with VideoReader(color) as seen, pytest.raises(DepthVideoError, match=why):
        PairedVideo(seen, str(make(depth, tmp_path / "depth.mkv")))


@pytest.mark.parametrize(("a", "b"), [("a.mp4", "/dev/video2"), ("0", "depth.mkv")])
def test_a_camera_and_a_film_do_not_belong_together(a, b):
    check_kinds("0", "/dev/video2")
    with pytest.raises(DepthVideoError, match="one is live"):
        check_kinds(a, b)


def test_a_smaller_depth_of_one_shape_is_taken(depth, color, tmp_path):
    half = write_gray(tmp_path / "depth.mkv", [picture[::2, ::2] for picture in depth], FPS)
    with VideoReader(color) as seen, PairedVideo(seen, str(half)) as pair:
        assert next(iter(pair))[1].shape == (HEIGHT // 2, WIDTH // 2)


def test_bytes_of_a_format_that_opencv_does_not_know(depth):
    """They come as a row, lower byte first; of any other number they are refused, as colour is."""
    row = depth[1].astype("<u2").reshape(-1).view(np.uint8)
    assert np.array_equal(_as_depth(row[None], "camera", (WIDTH, HEIGHT)), depth[1])
    for wrong in (row[None, :-2], np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH), np.float32)):
        with pytest.raises(DepthVideoError, match="one channel of 16 bits"):
            _as_depth(wrong, "camera", (WIDTH, HEIGHT))
