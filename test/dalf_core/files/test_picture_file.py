"""Pictures from files: what is decoded, and what is refused by its header alone."""
from __future__ import annotations

import cv2
import numpy as np
import pytest

from dalf_core.files import picture_file
from dalf_core.files.picture_file import decode_picture, read_picture

from ..feature_fixtures import textured


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_pictures_are_read(tmp_path, suffix):
    path, image = tmp_path / f"a{suffix}", textured(70, 50)
    cv2.imwrite(str(path), image)
    read = read_picture(path)
    assert read.shape == (50, 70, 3) and read.dtype == np.uint8
    assert abs(read.astype(int) - image).mean() < (8 if suffix in (".jpg", ".webp") else 0.01)


def test_flags_are_those_of_opencv():
    image = (np.arange(40 * 30).reshape(30, 40) * 50).astype(np.uint16)
    assert np.array_equal(decode_picture(cv2.imencode(".png", image)[1], cv2.IMREAD_UNCHANGED), image)


def test_what_would_fill_the_memory_is_never_decoded(tmp_path, blank_png, monkeypatch):
    path = tmp_path / "bomb.png"
    path.write_bytes(blank_png(30000, 30000))
    assert path.stat().st_size < 200_000
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(OSError, match=r"bomb.png has 30000x30000 pixels, more than the 250 million"):
        read_picture(path)


def test_the_bound_itself_is_decoded(monkeypatch, blank_png):
    monkeypatch.setattr(picture_file, "MOST_PIXELS", 64 * 48)
    assert decode_picture(np.frombuffer(blank_png(64, 48), np.uint8)).shape == (48, 64, 3)
    with pytest.raises(ValueError, match="64x49"):
        decode_picture(np.frombuffer(blank_png(64, 49), np.uint8))


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + bytes(60)])
def test_what_is_no_picture_is_told(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(OSError, match="a.png is no picture that can be read"):
        read_picture(path)
    with pytest.raises(OSError, match="no such file"):
        read_picture(tmp_path / "b.png")
    with pytest.raises(OSError, match="this is no file"):
        read_picture(tmp_path)
