"""`live --depth` as a process, on films of a sheet whose distance is known in every frame; and what it asks for."""
from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("websockets")

from dalf_core.commands.live import main  # noqa: E402
from dalf_core.image_registration.video import VideoWriter  # noqa: E402

from ..feature_fixtures import textured  # noqa: E402
from ..recordings.gray_film import write_gray  # noqa: E402
from ..viewing.test_page_server import free_port  # noqa: E402
from .test_live import Page  # noqa: E402

WIDTH, HEIGHT, FPS, FOCAL = 320, 240, 5, 300.0
NEAR_COLUMNS = 260
TENTHS = (6000, 6000, 6030, 6060, 6090, 6060, 6030, 6000)       # tenths of a millimetre away, by frame


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A textured sheet that comes and goes by 9 mm, beside a far one: colour, and depth in tenths of a millimetre."""
    folder = tmp_path_factory.mktemp("films")
    with VideoWriter(folder / "color.mp4", FPS) as film:
        for _ in TENTHS:
            film.write(textured(WIDTH, HEIGHT))
    depth = np.repeat(np.uint16(TENTHS), HEIGHT * WIDTH).reshape(-1, HEIGHT, WIDTH)
    depth[:, :, NEAR_COLUMNS:] = 9000
    return folder / "color.mp4", write_gray(folder / "depth.mkv", list(depth), FPS)


def test_the_surface_is_where_depth_has_it(films, start):
    color, depth = films
    port = free_port()
    process = start("live", color, "--depth", depth, "--intrinsics", f"{FOCAL},{FOCAL},159.5,119.5", "--depth-scale", "0.0001",
                    "--max-depth", 0.8, "--port", port, "--weights", "light", "--device", "cpu", "--top-k", 300)
    try:
        assert f"http://localhost:{port}" in process.stdout.readline()
        page = Page(port)
        page.wait(lambda: page.texts.get("state") == "tracked" and page.surface is not None)
        found, deadline = [], time.monotonic() + 240
        while not found or np.ptp(found) < 8.5:
            assert time.monotonic() < deadline, (found, page.texts)
            page.surface = None
            page.wait(lambda: page.surface is not None)
            vertices, visible = page.surface
            found.append(1000 * float(np.median(vertices[:, 2])))
            assert visible.mean() > 0.9 and np.ptp(vertices[:, 2]) < 1.5e-3         # it stays flat
        nearest = np.abs(np.array(found)[:, None] - np.unique(TENTHS) / 10).min(axis=1)
        assert nearest.max() < 0.3, found
        width = np.ptp(vertices[:, 0])
        assert width == pytest.approx(NEAR_COLUMNS / FOCAL * found[-1] / 1000, rel=0.05)        # metres
        page.wait(lambda: "mm" in page.texts["text"] and "matches" in page.texts["text"])
        assert page.topologies == 1
        page.socket.send("set reference")
        page.wait(lambda: page.topologies == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0, process.stderr.read()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("words", "why"), [
    (["--depth", "b.mkv"], "--depth needs the camera's intrinsics: give --intrinsics"),
    (["--intrinsics", "1,1,0,0"], "--intrinsics belongs to --depth"),
    (["--depth", "b.mkv", "--intrinsics", "1,1,0,0", "--depth-scale", "0"], "--depth-scale 0: must be greater than 0"),
    (["--min-depth", "2", "--max-depth", "1"], "--min-depth 2 must be below"),
    (["--depth", "/dev/video7", "--intrinsics", "1,1,0,0"], "one is live, the other is not"),
])
def test_what_is_missing_is_asked_for(words, why, capsys):
    assert main(["a.mp4", *words]) == 2
    error = capsys.readouterr().err
    assert why in error and error.count("\n") == 1


def test_intrinsics_that_are_none(films, capsys):
    color, depth = map(str, films)
    assert main([color, "--depth", depth, "--intrinsics", "600,600,320"]) == 2
    assert "--intrinsics 600,600,320: neither fx,fy,cx,cy nor a file" in capsys.readouterr().err
