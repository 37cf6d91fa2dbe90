"""Pictures that stand for a film."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_core.recordings.picture_sequence import PictureSequence, find_pictures


def write(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full((40, 48, 3), 10 * number, np.uint8))


def test_what_names_pictures(tmp_path: Path) -> None:
    """By number, 9 before 10; the pattern's digits are at least so many; a film is none."""
    write(tmp_path, "rgb_008.png", "rgb_009.png", "rgb_010.png", "rgb_7.png", "other.jpg")
    (tmp_path / "notes.txt").write_text("")
    names = lambda name: [path.name for path in find_pictures(tmp_path / name)]         # noqa: E731
    assert names("rgb_%03d.png") == ["rgb_008.png", "rgb_009.png", "rgb_010.png"]
    assert names("rgb_%d.png") == ["rgb_7.png", "rgb_008.png", "rgb_009.png", "rgb_010.png"]
    assert names("*.jpg") == ["other.jpg"]
    assert names(".") == ["rgb_7.png", "rgb_008.png", "rgb_009.png", "rgb_010.png", "other.jpg"]
    write(tmp_path / "RGB", "a1.png")
    assert names(".") == ["a1.png"]
    assert find_pictures(tmp_path / "film.mp4") is None
    for name in ("depth_%03d.png", "*.webp", "nowhere/%d.png", "nowhere/*.png"):
        with pytest.raises(ValueError, match="there are no pictures"):
            find_pictures(tmp_path / name)


def test_it_reads_like_a_film(tmp_path: Path) -> None:
    write(tmp_path, "1.png", "2.png", "3.png")
    with PictureSequence(find_pictures(tmp_path), fps=10) as clip:
        assert clip.frames == 3 and np.allclose(clip.times, [0, 0.1, 0.2]) and clip.fps == 10
        assert [int(picture[0, 0, 0]) for picture in clip] == [0, 10, 20] == [int(picture[0, 0, 0]) for picture in clip]
        assert clip.frame(2)[0, 0, 0] == 20
        with pytest.raises(ValueError, match="no frame 3"):
            clip.frame(3)
        (tmp_path / "2.png").write_bytes(b"cut")
        with pytest.raises(OSError, match="2.png is no picture"):
            list(clip)
