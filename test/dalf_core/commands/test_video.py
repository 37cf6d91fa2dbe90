"""`video` on a small film whose motion is known, on broken films, and stopped in the middle."""
from __future__ import annotations

import csv
import json
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("av")

from dalf_core.commands.video import main  # noqa: E402
from dalf_core.drawing.panels import band_height, capital_height
from dalf_core.image_registration.video import VideoWriter  # noqa: E402
from dalf_core.image_registration.video_reader import VideoReader  # noqa: E402

from ..feature_fixtures import textured  # noqa: E402

WIDTH, HEIGHT = 176, 144
TIMES = (0.0, 0.1, 0.25, 0.3, 0.9)      # seconds: not every frame is shown equally long


def shown(phase: float) -> np.ndarray:
    """The scene, shifted and bent."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    scene = cv2.resize(textured(2 * (WIDTH + 80), 2 * (HEIGHT + 80)), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    x, y = x + 40 + phase * (9 + 4 * np.sin(y / 40)), y + 40 - phase * (6 - 3 * np.cos(x / 35))
    return cv2.remap(scene, x, y, cv2.INTER_LINEAR)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Five frames at TIMES; the last but one is black."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, 10, quality=5) as film:
        for phase, time_s in zip((-1.0, 0.0, 1.0, None, 2.0), TIMES):
            film.write(np.zeros((HEIGHT, WIDTH, 3), np.uint8) if phase is None else shown(phase), time_s)
    return path


def test_pictures_in_place_of_a_film(weights, tmp_path, capsys):
    """A folder and a pattern; what is wrong with them is told before anything slow."""
    pictures = tmp_path / "rgb"
    pictures.mkdir()
    for number, phase in enumerate((0.0, 1.0, 2.0)):
        cv2.imwrite(str(pictures / f"{9 + number}.png"), shown(phase))
    arguments = ["--output", str(tmp_path / "film.mp4"), "--table", str(tmp_path / "table.csv"), "--weights", weights, "--device", "cpu"]
    for name, fps in ((tmp_path, 10), (pictures / "%d.png", 20)):
        assert main([str(name), *arguments, "--fps", str(fps)]) == 0
        rows = list(csv.DictReader((tmp_path / "table.csv").open()))
        assert [row["method"] for row in rows] == ["reference", "direct", "direct"] and float(rows[2]["zncc"]) > 0.85
        assert [float(row["time_s"]) for row in rows] == pytest.approx([0, 1 / fps, 2 / fps])
    capsys.readouterr()
    assert main([str(tmp_path / "*.jpg"), *arguments]) == 2 and "there are no pictures" in capsys.readouterr().err
    assert main([str(pictures), *arguments, "--fps", "0"]) == 2 and "--fps 0" in capsys.readouterr().err


def test_every_frame_is_registered_to_the_reference(clip, weights, start, tmp_path):
    film, table = tmp_path / "made" / "film.mp4", tmp_path / "made" / "table.csv"
    process = start("video", clip, "--output", film, "--table", table, "--reference", 1, "--weights", weights, "--device", "cpu")
    text, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    rows = list(csv.DictReader(table.open()))
    assert [row["method"] for row in rows] == ["direct", "reference", "direct", "lost", "direct"]
    assert rows[3]["reason"] == "the image is constant" and rows[3]["zncc"] == "" and rows[3]["used"] == "0"
    assert [float(row["time_s"]) for row in rows] == pytest.approx(TIMES, abs=1e-3)
    assert "4 of 5 frames registered (3 directly, 0 tracked, 1 reference, 1 lost)" in text
    for row in (rows[0], rows[2], rows[4]):
        assert float(row["zncc"]) > 0.85 and int(row["verified"]) > 50 and float(row["supported"]) > 0.5
    worst = min((int(rows[i]["verified"]), i) for i in (0, 2, 4))
    assert f"worst {worst[0]} (frame {worst[1]})" in text
    with VideoReader(film) as made:
        assert made.frames == 5
        np.testing.assert_allclose(made.times, TIMES, atol=1e-3)
        pictures = list(made)
    top = 2 * band_height(capital_height(HEIGHT))        # below headline and titles
    for number in (0, 1, 2, 4):
        registered, template = (pictures[number][top + 50:top + 110, left + 60:left + 120].astype(int) for left in (WIDTH, 2 * WIDTH))
        assert np.abs(registered - template).mean() < 15     # unregistered frames: 30 and more
    assert pictures[3][top:top + HEIGHT, WIDTH + 4:2 * WIDTH - 4].max() < 20
    assert {path.name for path in film.parent.iterdir()} == {"film.mp4", "table.csv"}


def test_dalf_looks_at_the_first_frame_only(clip, weights, tmp_path, capsys):
    """--features-every: what it finds there is carried to the others; after the black frame too, for it hides nothing for long."""
    table = tmp_path / "table.json"
    options = ["--output", str(tmp_path / "film.mp4"), "--table", str(table), "--weights", str(weights), "--device", "cpu"]
    assert main([str(clip), *options, "--features-every", "1000"]) == 0
    frames = json.loads(table.read_text())["frames"]
    assert [frame["method"] for frame in frames] == ["reference", "tracked", "tracked", "lost", "tracked"]
    for number in (1, 2, 4):
        assert frames[number]["matches"] is None and frames[number]["verified"] is None
        assert frames[number]["carried"] > 50 and frames[number]["used"] > 50 and frames[number]["zncc"] > 0.85
    assert "4 of 5 frames registered (0 directly, 3 tracked, 1 reference, 1 lost)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([str(clip), *options, "--features-every", "0"])
    assert "a number of frames from 1, or auto, not '0'" in capsys.readouterr().err


def test_ctrl_c_keeps_what_was_done(weights, start, tmp_path):
    long = tmp_path / "long.mp4"
    with VideoWriter(long, 30) as film:
        for number in range(600):
            film.write(shown(0.0) if number == 0 else np.roll(shown_once(), number % 7, axis=1))
    made, table = tmp_path / "film.mp4", tmp_path / "table.json"
    process = start("video", long, "--output", made, "--table", table, "--weights", weights, "--device", "cpu", "--top-k", 150)
    partial = f".film.{process.pid}.part.mp4"
    deadline = time.monotonic() + 90
    while not (tmp_path / partial).exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    text, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    frames = json.loads(table.read_text())["frames"]
    assert 1 <= len(frames) < 600 and f"interrupted after {len(frames)} of 600 frames" in errors
    assert f"{len(frames)} of {len(frames)} frames registered" in text
    with VideoReader(made) as film:
        assert film.frames == len(frames) == len(list(film))
    assert not (tmp_path / partial).exists()


def shown_once(cache: list = []) -> np.ndarray:  # noqa: B006
    if not cache:
        cache.append(shown(0.0))
    return cache[0]


@pytest.mark.parametrize("change, words", [
    ({"clip": "none.mp4"}, "none.mp4: no such file"),
    ({"clip": "text.mp4"}, "text.mp4 is no film"),
    ({"clip": "cut.mp4"}, "cut.mp4 was cut off: only"),
    ({"--reference": "5"}, "no frame 5: its 5 frames are numbered from 0 to 4"),
    ({"--reference": "-1"}, "no frame -1"),
    ({"--output": "film.avi"}, "must end in .mp4"),
    ({"--output": "clip.mp4"}, "is the input"),
    ({"--output": "text.mp4/x.mp4"}, "cannot be written"),
    ({"--table": "table.txt"}, "must end in .csv or .json"),
    ({"--max-frames": "0"}, "--max-frames 0"),
    ({"--panel-width": "-3"}, "--panel-width -3"),
    ({"--precision": "float16", "--device": "cpu"}, "float16"),
])
def test_bad_input_is_one_clear_line(change, words, clip, weights, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = clip.read_bytes()
    (tmp_path / "clip.mp4").write_bytes(data)
    (tmp_path / "cut.mp4").write_bytes(data[:len(data) * 2 // 3])
    (tmp_path / "text.mp4").write_text("hello")
    options = {"--output": "out.mp4", "--weights": weights, **{name: value for name, value in change.items() if name.startswith("-")}}
    assert main([change.get("clip", "clip.mp4"), *(f"{name}={value}" for name, value in options.items())]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1
    assert not list(tmp_path.glob("*out*")) and not list(tmp_path.glob(".*"))
