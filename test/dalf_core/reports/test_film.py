"""The film of a run in its report."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_core.image_registration.video import VideoWriter
from dalf_core.image_registration.video_reader import VideoError, VideoReader
from dalf_core.reports import film as films
from dalf_core.reports.film import film_frames, read_film, thumbnail

from .scene import frame


def make_film(path: Path, pictures: int, size: tuple[int, int] = (96, 64), noise: int = 0) -> Path:
    """Picture k has the grey value 40 + 5 k, and noise."""
    rng = np.random.default_rng(0)
    with VideoWriter(path, fps=10.0) as writer:
        for number in range(pictures):
            picture = np.full((size[1], size[0], 3), 40 + 5 * number) + rng.integers(0, noise + 1, (size[1], size[0], 3))
            writer.write(picture.clip(0, 255).astype(np.uint8))
    return path


def test_the_film_is_taken_as_it_is(tmp_path: Path) -> None:
    path = make_film(tmp_path / "video.mp4", 12)
    found = read_film(path, [frame(number) for number in range(12)], most=600)
    assert found.data == path.read_bytes() and found.pictures == 12 and found.fps == pytest.approx(10) and not found.note
    assert found.frames == list(range(12))


def test_a_large_film_is_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_film(tmp_path / "video.mp4", 8, (400, 200), noise=60)
    monkeypatch.setattr(films, "MAX_BYTES", path.stat().st_size - 1)
    monkeypatch.setattr(films, "SMALL_WIDTH", 200)
    found = read_film(path, [frame(number) for number in range(8)], most=600)
    assert len(found.data) < path.stat().st_size / 2 and "video.mp4" in found.note and found.pictures == 8
    (tmp_path / "small.mp4").write_bytes(found.data)
    with VideoReader(tmp_path / "small.mp4") as small:
        pictures = list(small)
    assert len(pictures) == 8 and pictures[0].shape == (100, 200, 3) and pictures[7].mean() == pytest.approx(40 + 35 + 30, abs=4)


def test_what_browsers_do_not_play_is_told(tmp_path: Path) -> None:
    """OpenCV's mp4v, as films are where there is no libx264."""
    path = tmp_path / "video.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    with pytest.raises(VideoError, match="encoded as mpeg4, which browsers do not play"):
        read_film(path, [frame(number) for number in range(3)], most=600)
    path.write_bytes(b"no film")
    with pytest.raises(VideoError):
        read_film(path, [], most=600)


def test_which_frame_a_picture_shows() -> None:
    """Every frame; every third of a long run; without those that were not processed."""
    frames = [frame(number) for number in range(1500)]
    assert film_frames(frames[:7], 7, 600) == list(range(7))
    assert film_frames(frames, 500, 600) == list(range(0, 1500, 3))
    unread = {"milliseconds": {}, "status": "unreadable"}
    frames[0], frames[3] = frame(0, **unread), frame(3, **unread)
    assert film_frames(frames, 498, 600) == list(range(6, 1500, 3))
    assert film_frames(frames[:7], 5, 600) == [1, 2, 4, 5, 6]


def test_a_run_that_ended_early_has_a_thinner_film() -> None:
    """600 of 1800 frames that the recording promised: every third all the same. A number that nothing explains: None."""
    frames = [frame(number) for number in range(600)]
    assert film_frames(frames, 200, 600) == list(range(0, 600, 3))
    assert film_frames(frames, 123, 600) is None


def test_thumbnails(tmp_path: Path) -> None:
    film, sheet = make_film(tmp_path / "video.mp4", 21), tmp_path / "sheet.png"
    rows = np.zeros((600, 840, 3), np.uint8)
    rows[:100] = (0, 0, 200)
    cv2.imwrite(str(sheet), rows)
    middle = cv2.imdecode(np.frombuffer(thumbnail(film, sheet), np.uint8), cv2.IMREAD_COLOR)
    assert middle.shape == (280, 420, 3) and middle.mean() == pytest.approx(40 + 5 * 10, abs=6)
    top = cv2.imdecode(np.frombuffer(thumbnail(tmp_path / "none.mp4", sheet), np.uint8), cv2.IMREAD_COLOR)
    assert top.shape == (50, 420, 3) and top[..., 2].mean() > 180
    film.write_bytes(b"no film")
    assert thumbnail(film, sheet) and thumbnail(film, tmp_path / "none.png") is None
