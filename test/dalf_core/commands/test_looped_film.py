"""A film as a camera: its own speed, from the start again, pictures left out for who is slow."""
from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

pytest.importorskip("av")

from dalf_core.commands.looped_film import LoopedFilm  # noqa: E402
from dalf_core.image_registration.video import VideoWriter  # noqa: E402

STEP, HZ = 20, 10


@pytest.fixture
def film(tmp_path):
    with LoopedFilm(written(tmp_path / "film.mp4", 10, STEP)) as opened:
        yield opened


def written(path, count: int, step: int):
    with VideoWriter(path, HZ) as writer:
        for number in range(count):
            writer.write(np.full((48, 64, 3), step * number, np.uint8), number / HZ)
    return path


def number_of(picture: np.ndarray, step: int = STEP) -> int:
    return round(float(picture.mean()) / step)


def test_its_own_speed_and_again(film):
    assert number_of(film.frame(0)) == 0 and film.frames is None
    began = time.monotonic()
    numbers = [number_of(picture) for picture in itertools.islice(film, 14)]
    assert time.monotonic() - began > 1.1           # 12 steps of 0.1 s, beside the one back to the start
    turn = numbers.index(9)
    assert numbers[:turn + 1] == sorted(set(numbers[:turn + 1])) and numbers[turn + 1] == 0


def test_who_is_slow_misses_pictures(tmp_path):
    numbers = []
    with LoopedFilm(written(tmp_path / "long.mp4", 60, 4)) as film:        # slower than meant, it does not come to the end either
        for picture in itertools.islice(film, 3):
            numbers.append(number_of(picture, 4))
            time.sleep(0.33)
    assert numbers[0] == 0 and min(np.diff(numbers)) >= 2
