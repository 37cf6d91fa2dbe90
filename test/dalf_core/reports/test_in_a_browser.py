"""A report opened from its file, in a real browser. Skipped where there is none."""
from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dalf_core.drawing.palette import signed_colors
from dalf_core.reports.film import read_film
from dalf_core.reports.index_page import index_page
from dalf_core.reports.report_page import report_page, save_page
from dalf_core.reports.run_report import RunLine

from .scene import report, track
from .test_film import make_film

FRAMES = 40
SECONDS = 120           # longest wait


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a folder & more")
    run = report(FRAMES)
    film = read_film(make_film(folder / "video.mp4", FRAMES), run.frames, 600)
    save_page(folder / "report.html", report_page(report(FRAMES, film=film, notes=["a <note>"], points={"grip": track(FRAMES)})))
    return folder / "report.html"


@pytest.fixture
def tab(browser: Any, run_file: Path) -> Iterator[Any]:
    """The report, opened; errors and anything asked for beside the file fail the test."""
    page, wrong = browser.new_page(viewport={"width": 1200, "height": 900}), []
    page.on("console", lambda message: None if harmless(message) else wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(("data:", "blob:", run_file.as_uri())) else wrong.append(request.url))
    page.goto(run_file.as_uri())
    until(page, "dalf.shown === 0 && dalf.scene.drawn > 0")
    yield page
    assert wrong == []
    page.close()


def harmless(message: Any) -> bool:
    """What is no warning, and what a software renderer says when pixels are read back."""
    return message.type not in ("error", "warning") or "GPU stall due to ReadPixels" in message.text


def until(page: Any, condition: str) -> None:
    """Wait; not by wait_for_function, whose eval the page's policy forbids."""
    end = time.monotonic() + SECONDS
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def go_to(page: Any, frame: int, coloring: str = "") -> None:
    before = page.evaluate("dalf.scene.drawn")
    page.evaluate("""([frame, coloring]) => {
      const slider = document.getElementById("frame"), choice = document.getElementById("coloring");
      slider.value = frame; slider.dispatchEvent(new Event("input"));
      choice.value = coloring; choice.dispatchEvent(new Event("change")); }""", [frame, coloring])
    until(page, f"dalf.shown === {frame} && dalf.scene.drawn > {before} && !dalf.scene.asked")
    page.wait_for_timeout(100)


def canvas(page: Any) -> np.ndarray:
    """The picture of the surface, RGB."""
    picture = page.locator("#mesh").screenshot()
    return cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1].astype(int)


def look_along_the_axis(page: Any) -> None:
    page.evaluate("dalf.scene.look(0, 0)")


def centre(mask: np.ndarray) -> np.ndarray:
    """Of what is true: x, y in pixels."""
    y, x = np.nonzero(mask)
    assert len(x) > 200
    return np.array([x.mean(), y.mean()])


def test_the_surface_stands_as_the_camera_sees_it(tab: Any) -> None:
    """The red half is on the left, the blue one on the right; its front is shown; the row on top, not seen by the camera, is pink."""
    look_along_the_axis(tab)
    go_to(tab, 1)
    picture = canvas(tab)
    red, green, blue = picture.transpose(2, 0, 1)
    left, right = (red > 150) & (blue < 60), (blue > 150) & (red < 60)
    assert centre(left)[0] < centre(right)[0] - 50
    pink = (red > 110) & (blue > 60) & (green < 70)
    assert centre(pink)[1] < centre(left)[1] - 30
    assert red.max() > 200 and blue.max() > 210         # the back would be half as bright
    before = tab.evaluate("dalf.scene.drawn")
    tab.evaluate("dalf.scene.look(Math.PI, 0)")
    until(tab, f"dalf.scene.drawn > {before} && !dalf.scene.asked")
    behind = canvas(tab)
    assert behind[..., 0].max() < 240 * 0.6 or (behind[..., 0] > 150).sum() < 500


def test_named_points_stand_where_they_are(tab: Any) -> None:
    """Yellow while they are seen, else grey; moved by 3 mm a frame, against the sheet; nowhere where they are not known."""
    look_along_the_axis(tab)
    places = []
    for frame in (0, 10):
        go_to(tab, frame)
        red, green, blue = canvas(tab).transpose(2, 0, 1)
        yellow = (red > 230) & (green > 230) & (blue < 120)
        y, x = np.nonzero(yellow)
        assert len(x) > 30
        places.append(np.array([x.mean(), y.mean()]))
    size = tab.locator("#mesh").bounding_box()
    assert places[0][1] < size["height"] / 2 and places[1][0] < places[0][0] - 20 and abs(places[1][1] - places[0][1]) < 2
    assert tab.inner_text("#points") == "grip (0.0200, -0.0300, 0.6000) m"
    go_to(tab, 25)
    red, green, blue = canvas(tab).transpose(2, 0, 1)
    assert not ((red > 230) & (green > 230) & (blue < 120)).any() and tab.inner_text("#points").endswith("m, hidden")
    go_to(tab, 4)
    assert tab.inner_text("#points") == "grip: not known"


def test_the_slider_moves_the_surface(tab: Any) -> None:
    """By 60 mm to the right from frame 0 to 30; the numbers in the page are those of the run."""
    look_along_the_axis(tab)
    run = report(FRAMES).sequences[0]
    blue = []
    for frame in (0, 30, 35):
        go_to(tab, frame)
        picture = canvas(tab)
        blue.append(centre((picture[..., 2] > 120) & (picture[..., 0] < 70))[0])
        vertices = np.array(tab.evaluate("Array.from(dalf.surface.vertices)")).reshape(-1, 3)
        np.testing.assert_allclose(vertices, run.vertices[frame], atol=3e-5)
        np.testing.assert_array_equal(tab.evaluate("Array.from(dalf.surface.visible)"), run.visible[frame])
        assert f"frame {frame}, {frame / 10:.2f} s: tracked" in tab.inner_text("#now")
    assert blue[1] > blue[0] + 60 and blue[2] > blue[1] + 5
    go_to(tab, 6)
    assert "lost (only 3 matches)" in tab.inner_text("#now")


def test_colours_of_the_strain(tab: Any) -> None:
    """What is longer is orange: the bent sheet's left and right edge; its middle is as long as it was."""
    look_along_the_axis(tab)
    go_to(tab, 39, "strain")
    assert tab.inner_text("#legend-low").endswith("% shorter") and tab.inner_text("#legend-high").endswith("% longer")
    picture = canvas(tab)
    sheet = centre(picture.max(axis=2) > 90)
    row = picture[int(sheet[1])]
    columns = np.nonzero(row.max(axis=1) > 90)[0]
    end, middle = row[columns[-8]], row[int(sheet[0])]
    orange = signed_colors(np.array(1.0))[::-1].astype(int)
    assert np.argsort(end).tolist() == np.argsort(orange).tolist() and end[0] - end[2] > 60
    assert np.ptp(middle) < 25 and middle.min() > 150
    go_to(tab, 39, "uncertainty")
    assert "mm" in tab.inner_text("#legend-low") and not np.array_equal(canvas(tab), picture)


def test_film_plots_and_play(tab: Any) -> None:
    """The slider moves the film; a click on a plot moves the slider; play moves both, to the end."""
    until(tab, "document.getElementById('film').readyState >= 2")
    go_to(tab, 20)
    until(tab, "!document.getElementById('film').seeking")
    assert tab.evaluate("document.getElementById('film').currentTime") == pytest.approx(2.05, abs=0.01)
    plot = tab.locator("#plot-matches .u-over")
    box = plot.bounding_box()
    plot.click(position={"x": box["width"] * 0.75, "y": box["height"] / 2})
    until(tab, "dalf.frame === 29 && dalf.shown === 29")
    tab.select_option("#speed", "5")
    tab.click("#play")
    until(tab, f"!dalf.playing && dalf.frame === {FRAMES - 1}")
    assert tab.evaluate("document.getElementById('film').currentTime") > 3.5


def test_turning_and_pointing(tab: Any) -> None:
    look_along_the_axis(tab)
    go_to(tab, 2)
    before, drawn, box = canvas(tab), tab.evaluate("dalf.scene.drawn"), tab.locator("#mesh").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    until(tab, "document.getElementById('vertex').textContent.startsWith('vertex ')")
    assert "uncertainty 0.4" in tab.inner_text("#vertex") and "mm" in tab.inner_text("#vertex")
    tab.mouse.down()
    tab.mouse.move(x + 120, y + 20, steps=4)
    tab.mouse.up()
    until(tab, f"dalf.scene.drawn > {drawn} && !dalf.scene.asked")
    assert np.abs(canvas(tab) - before).mean() > 2
    assert tab.inner_text(".notes") == "a <note>"


def test_the_table_sorts(browser: Any, tmp_path: Path) -> None:
    runs = [RunLine(name, "", {"frames": frames, "status": {}, "median_residual_m": residual})
            for name, frames, residual in (("run 10", 9, 0.002), ("run 9", 100, None), ("run 8", 20, 0.0005))]
    save_page(tmp_path / "index.html", index_page("runs", runs))
    tab = browser.new_page()
    tab.goto((tmp_path / "index.html").as_uri())

    def order(head: str) -> list[str]:
        tab.click(f'th button:text-is("{head}")')
        return tab.evaluate("[...document.querySelectorAll('tbody tr')].map(row => row.cells[1].dataset.value)")

    assert order("frames") == ["run 10", "run 8", "run 9"]
    assert order("median residual, mm") == ["run 8", "run 10", "run 9"]         # without one: last
    assert order("median residual, mm") == ["run 10", "run 8", "run 9"]
    assert order("run") == ["run 8", "run 9", "run 10"]
    tab.close()
