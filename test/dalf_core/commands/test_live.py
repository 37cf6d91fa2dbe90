"""`live` as a process, on a stream of pictures whose motion is known; and `video` on the same stream."""
from __future__ import annotations

import csv
import json
import signal
import time
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("websockets")

from websockets.sync.client import connect  # noqa: E402

from dalf_core.commands.live import main  # noqa: E402
from dalf_core.commands.video import main as video  # noqa: E402

from ..mjpeg import mjpeg_server  # noqa: E402
from ..viewing.test_page_server import free_port  # noqa: E402
from .test_video import HEIGHT, WIDTH, shown  # noqa: E402

SHIFT = 9 + 4 * np.sin(HEIGHT / 2 / 40)         # pixels that the middle of test_video's scene moves to the left


class Page:
    """What a page would hold, as it comes."""

    def __init__(self, port: int) -> None:
        self.socket = connect(f"ws://localhost:{port}/stream", max_size=None)
        self.texts: dict[str, str] = {}
        self.notes: list[str] = []
        self.rest = self.surface = self.image = None
        self.topologies = 0

    def wait(self, what: Callable[[], bool], seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, (self.texts, self.notes)
            self._take(self.socket.recv(seconds))

    def _take(self, data: str | bytes) -> None:
        if isinstance(data, str):
            message = json.loads(data)
            self.texts |= message
            self.notes += [message["note"]] if "note" in message else []
        elif data[:1] == b"I":
            self.image = data[4:]
        elif data[:1] == b"T":
            self.topologies += 1
        else:
            count = int.from_bytes(data[4:8], "little")
            self.surface = np.frombuffer(data, "<f4", 3 * count, 8).reshape(-1, 3), np.frombuffer(data, "u1", count, 8 + 12 * count) != 0


def test_live_follows_what_it_sees(weights, start):
    """From the page's side: a picture, then the sheet where the scene is, then a new reference by the button; Ctrl-C ends it well."""
    port, pictures = free_port(), [shown(phase) for phase in (0.0, 0.0, 0.0, 0.3, 0.7, 1.0, 1.0, 1.0, 0.7, 0.3)]
    with mjpeg_server(pictures, 4) as url:
        process = start("live", url, "--port", port, "--weights", weights, "--device", "cpu", "--top-k", 512)
        try:
            assert f"http://localhost:{port}" in process.stdout.readline()
            page = Page(port)
            assert page.texts == {} and not page.topologies
            page.wait(lambda: page.texts.get("state") == "tracked" and page.surface is not None)
            places, deadline = [], time.monotonic() + 240
            while len(places) < 14 or np.ptp(places) < SHIFT - 1.5:       # to and fro, with the scene
                assert time.monotonic() < deadline, (places, page.texts)
                page.surface = None
                page.wait(lambda: page.surface is not None)
                vertices, visible = page.surface
                assert visible.any() and np.all(vertices[:, 2] == 0)
                places.append(WIDTH * vertices[len(vertices) // 2, 0])
            assert np.ptp(places) == pytest.approx(SHIFT, abs=1.5)
            assert page.image[:2] == b"\xff\xd8"
            page.wait(lambda: "px" in page.texts["text"] and "matches" in page.texts["text"])
            page.notes.clear()
            page.socket.send("set reference")
            page.wait(lambda: page.topologies == 2 and page.notes)
            assert "the reference" in page.notes[0]     # that it will be; or, where that took its place before it was sent, that it is
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in errors


@pytest.mark.parametrize("arguments, words", [
    (["/dev/video77"], "there is no camera /dev/video77"),
    (["none.mp4"], "none.mp4: no such file"),
    (["http://localhost:9/x"], "cannot be opened"),
    (["0", "--width", "0"], "--width 0"),
])
def test_what_is_wrong_is_told_in_one_line(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_ports_that_cannot_be(port, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--port", port])
    assert ended.value.code == 2 and f"a number from 1 to 65535, not '{port}'" in capsys.readouterr().err


def test_video_of_a_stream(weights, tmp_path, capsys):
    """--frames ends it; times are those of the clock."""
    film, table = tmp_path / "film.mp4", tmp_path / "table.csv"
    arguments = ["--output", str(film), "--table", str(table), "--weights", weights, "--device", "cpu", "--top-k", "512"]
    with mjpeg_server([shown(phase) for phase in (0.0, 1.0)], 8) as url:
        assert video([url, *arguments, "--frames", "4"]) == 0
        rows = list(csv.DictReader(table.open()))
        assert [row["method"] for row in rows][0] == "reference" and len(rows) == 4 and film.is_file()
        assert all(row["method"] == "direct" and float(row["zncc"]) > 0.8 for row in rows[1:])
        times = [float(row["time_s"]) for row in rows]
        assert times[0] == 0 and min(np.diff(times)) > 0.05
        capsys.readouterr()
        assert video([url, *arguments, "--reference", "2"]) == 2 and "only its first frame" in capsys.readouterr().err
    with mjpeg_server([shown(0.0)] * 3, 8, repeat=False) as url:
        assert video([url, *arguments]) == 2
    assert "broke off" in capsys.readouterr().err and len(list(csv.DictReader(table.open()))) >= 1
