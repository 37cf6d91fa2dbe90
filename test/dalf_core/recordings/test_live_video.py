"""Cameras and streams: a real stream over HTTP, whose pictures tell their numbers by their brightness."""
from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

pytest.importorskip("av")

from dalf_core.recordings import live_video  # noqa: E402
from dalf_core.recordings.live_video import LiveVideo, LiveVideoError, is_live  # noqa: E402

from ..mjpeg import mjpeg_server  # noqa: E402

STEP = 8


def pictures(count: int) -> list[np.ndarray]:
    return [np.full((48, 64, 3), STEP * number, np.uint8) for number in range(count)]


def number_of(picture: np.ndarray) -> int:
    assert picture.shape == (48, 64, 3) and picture.dtype == np.uint8
    return round(float(picture.mean()) / STEP)


@pytest.mark.parametrize("name, live", [("0", True), ("12", True), ("/dev/video0", True), ("rtsp://camera/1", True), ("HTTP://x/y", True),
                                        ("clip.mp4", False), ("./0", False), ("rgb_%03d.png", False), ("/data/video0", False)])
def test_which_names_are_live(name, live):
    assert is_live(name) is live


def test_every_picture_for_who_is_quick():
    with mjpeg_server(pictures(30), 20, repeat=False, pause_s=0.3) as url, LiveVideo(url) as video:
        numbers = [number_of(picture) for picture in video]
    assert numbers == sorted(set(numbers)) and len(numbers) >= 15
    assert len(video.times) == len(numbers) and video.times[0] == 0 and np.all(np.diff(video.times) > 0)
    assert video.frames is None and "broke off" in video.problem       # the server closed in the middle: no end was sent


def test_the_newest_picture_for_who_is_slow():
    with mjpeg_server(pictures(30), 10, repeat=False, pause_s=5) as url, LiveVideo(url) as video:
        first = video.frame(0)
        miss(video, 5)
        again, second = itertools.islice(video, 2)
        assert again is first                           # the reference is a frame of the film, too
        miss(video, 5)
        third = next(iter(video_after(video)))
    one, two, three = map(number_of, (first, second, third))
    assert two - one >= 5 and three - two >= 5 and video.left_out >= 10


def miss(video: LiveVideo, count: int) -> None:
    """Be so slow that this many pictures more are left out."""
    before, deadline = video.left_out, time.monotonic() + 60
    while video.left_out < before + count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def video_after(video: LiveVideo):
    """What iterating goes on with."""
    while (taken := video._take()) is not None:
        yield taken[0]


def test_only_the_first_frame_can_be_the_reference():
    with mjpeg_server(pictures(3), 20) as url, LiveVideo(url) as video, pytest.raises(ValueError, match="only its first frame"):
        video.frame(1)


def test_silence_is_told(monkeypatch):
    with mjpeg_server(pictures(20), 20, repeat=False, pause_s=8) as url, LiveVideo(url) as video:
        monkeypatch.setattr(live_video, "SILENCE_S", 2.0)
        assert len(list(video)) >= 5
        assert "no picture for 2 s" in video.problem


def test_what_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(LiveVideoError, match=r"there is no camera /dev/video77.*\./77"):
        LiveVideo("77")
    with pytest.raises(LiveVideoError, match="http://localhost:9/x cannot be opened: .*refused"):
        LiveVideo("http://localhost:9/x")
    with mjpeg_server(pictures(1), 20) as url, pytest.raises(LiveVideoError, match="404"):
        LiveVideo(url + "s")
    no_camera = tmp_path / "video9"
    no_camera.write_bytes(b"text")
    with pytest.raises(LiveVideoError, match="video9 gives no pictures"):
        live_video._open_camera(str(no_camera))
