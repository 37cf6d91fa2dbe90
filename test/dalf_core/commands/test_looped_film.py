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
    path = tmp_path / "film.mp4"
    with VideoWriter(path, HZ) as writer:
        for number in range(10):
            writer.write(np.full((48, 64, 3), STEP * number, np.uint8), number / HZ)
    with LoopedFilm(path) as opened:
        yield opened


def number_of(picture: np.ndarray) -> int:
    return round(float(picture.mean()) / STEP)


def test_its_own_speed_and_again(film):
    assert number_of(film.frame(0)) == 0 and film.frames is None
    began = time.monotonic()
    numbers = [number_of(picture) for picture in itertools.islice(film, 14)]
    assert time.monotonic() - began > 1.1           # 12 steps of 0.1 s, beside the one back to the start
    turn = numbers.index(9)
    assert numbers[:turn + 1] == sorted(set(numbers[:turn + 1])) and numbers[turn + 1] == 0


def test_who_is_slow_misses_pictures(film):
    numbers = []
    for picture in itertools.islice(film, 3):
        numbers.append(number_of(picture))
        time.sleep(0.33)
    assert numbers[0] == 0 and min(np.diff(numbers)) >= 2
