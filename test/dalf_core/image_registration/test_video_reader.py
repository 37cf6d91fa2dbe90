"""Films that are written here are read back; broken ones are refused in words."""
from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from dalf_core.image_registration.video import VideoWriter  # noqa: E402
from dalf_core.image_registration.video_reader import VideoError, VideoReader, upright  # noqa: E402

FRAMES = 20


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """64x48, 12.5 frames a second; frame n has a grey of 40 + 8n, and noise in its right half."""
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    rng = np.random.default_rng(0)
    with VideoWriter(path, 12.5, quality=10) as writer:
        for number in range(FRAMES):
            picture = np.full((48, 64, 3), 40 + 8 * number, np.uint8)
            picture[:, 32:] = rng.integers(0, 255, (48, 32, 3))
            writer.write(picture)
    return path


def grey(picture: np.ndarray) -> float:
    return float(picture[4:-4, 4:24].mean())


def test_frames_come_in_order_each_time(film):
    with VideoReader(film) as reader:
        assert (reader.frames, reader.fps) == (FRAMES, 12.5)
        for _ in range(2):
            pictures = list(reader)
            assert [round(grey(picture)) for picture in pictures] == pytest.approx([40 + 8 * n for n in range(FRAMES)], abs=5)
        assert pictures[0].shape == (48, 64, 3) and pictures[0].dtype == np.uint8 and pictures[0].flags.c_contiguous


def test_one_frame_by_its_number(film):
    with VideoReader(film) as reader:
        for number in (7, 0, FRAMES - 1):
            assert grey(reader.frame(number)) == pytest.approx(40 + 8 * number, abs=5)
        for number in (-1, FRAMES):
            with pytest.raises(ValueError, match=f"no frame {number}: its 20 frames are numbered from 0 to 19"):
                reader.frame(number)


def test_a_film_that_was_cut_off_is_refused(film, tmp_path):
    data = film.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[:len(data) * 6 // 10])
    with pytest.raises(VideoError, match=r"cut\.mp4 was cut off: only \d+ of 20 frames"):
        VideoReader(cut)
    cut.write_bytes(data[:300])
    with pytest.raises(VideoError, match="no film|no video stream"):
        VideoReader(cut)


def test_what_is_no_film_is_refused(tmp_path):
    with pytest.raises(VideoError, match="no such file"):
        VideoReader(tmp_path / "none.mp4")
    with pytest.raises(VideoError, match="this is no file"):
        VideoReader(tmp_path)
    for name, data in (("empty.mp4", b""), ("text.mp4", b"hello\n" * 100)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(VideoError, match="no film"):
            VideoReader(tmp_path / name)


def test_sound_alone_is_refused(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(VideoError, match="no video stream"):
        VideoReader(path)


def test_films_are_turned_upright_as_their_header_says():
    picture = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert upright(picture, 0).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert upright(picture, 90).tolist() == [[2, 5], [1, 4], [0, 3]]
    assert upright(picture, -90).tolist() == [[3, 0], [4, 1], [5, 2]]
    assert upright(picture, 180).tolist() == [[5, 4, 3], [2, 1, 0]]


# ---------------------------------------------------------------- presentation times

TIMES_MS = [0, 33, 67, 150, 400, 433, 467, 900]


def write_film(path: Path, codec: str, times_ms: list[int], rate: int = 30, base: Fraction = Fraction(1, 1000), **options: str) -> Path:
    """Frame n has a grey of 40 + 8n and is shown at times_ms[n]."""
    with av.open(str(path), "w", options={"live": "1"} if path.suffix == ".webm" else {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = base
        for number, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 + 8 * number, np.uint8), format="bgr24")
            frame.pts, frame.time_base = round(time_ms / 1000 / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "codec", "options"), [
    ("browser.webm", "libvpx", {"deadline": "realtime", "lag-in-frames": "0"}), ("variable.mkv", "libx264", {"bf": "2"}),
    ("variable.mp4", "libx264", {"bf": "2"}),
])
def test_times_are_those_of_the_frames_not_of_the_header(name, codec, options, tmp_path):
    """A browser's WebM, whose header says 1000 frames a second and no length; variable rates, stored in another order than shown."""
    path = write_film(tmp_path / name, codec, TIMES_MS, 1000 if codec == "libvpx" else 30, **options)
    with VideoReader(path) as reader:
        assert reader.frames == len(TIMES_MS)
        np.testing.assert_allclose(reader.times, np.array(TIMES_MS) / 1000, atol=1e-3)
        assert reader.fps == pytest.approx(7 / 0.9, rel=0.01)
        assert [round(grey(picture)) for picture in reader] == pytest.approx([40 + 8 * n for n in range(8)], abs=5)


def test_dropped_slots_of_an_avi(tmp_path):
    """Its header counts ten slots, the camera filled six; a file that ends before the tenth was cut off all the same."""
    path = write_film(tmp_path / "dropped.avi", "mpeg4", [0, 100, 200, 500, 600, 900], 10, Fraction(1, 10))
    with VideoReader(path) as reader:
        assert reader.frames == 6
        np.testing.assert_allclose(reader.times, [0, 0.1, 0.2, 0.5, 0.6, 0.9])
    data = path.read_bytes()
    at = data.rindex(b"00dc", 0, data.index(b"idx1"))       # the last frame
    (tmp_path / "cut.avi").write_bytes(data[:at])
    with pytest.raises(VideoError, match="was cut off: only . of 10 frames"):
        VideoReader(tmp_path / "cut.avi")


def test_a_stream_without_times_says_so(tmp_path, caplog):
    path = write_film(tmp_path / "raw.h264", "libx264", TIMES_MS)
    with VideoReader(path) as reader:
        np.testing.assert_allclose(reader.times, np.arange(8) / 25)
    assert [record.getMessage() for record in caplog.records] == [f"{path} has no time stamps: 25 frames a second are assumed"]


def test_written_films_keep_their_times(tmp_path):
    with VideoWriter(tmp_path / "timed.mp4", 10) as writer:
        for number, time_ms in enumerate(TIMES_MS):
            writer.write(np.full((48, 64, 3), 40 + 8 * number, np.uint8), time_ms / 1000)
    with VideoReader(tmp_path / "timed.mp4") as reader:
        np.testing.assert_allclose(reader.times, np.array(TIMES_MS) / 1000, atol=2e-5)
        assert [round(grey(picture)) for picture in reader] == pytest.approx([40 + 8 * n for n in range(8)], abs=5)
    with VideoWriter(tmp_path / "still.mp4", 10) as writer:
        for _ in range(3):
            writer.write(np.zeros((48, 64, 3), np.uint8), 0.5)
    with VideoReader(tmp_path / "still.mp4") as reader:
        assert reader.frames == 3 and (np.diff(reader.times) > 0).all()
