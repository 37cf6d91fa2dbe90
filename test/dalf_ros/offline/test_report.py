"""`report` on folders as `register` leaves them: the surface from the bag, what is missing or broken, folders of many runs."""
from __future__ import annotations

import json
import os
import re
import shutil
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import decompress

import cv2
import numpy as np
import pytest

from dalf_core.files import whole_file
from dalf_core.image_registration.video import VideoWriter
from dalf_core.templates.named_points import FollowedPoint
from dalf_ros import report
from dalf_ros.bags.bag_writer import BagWriter
from dalf_ros.conversions import messages, topics
from dalf_ros.conversions.point_messages import surface_points
from dalf_ros.offline import mesh_reader
from dalf_ros.offline.mesh_reader import read_surfaces
from dalf_ros.offline.run_reader import read_run

FIRST_NS = 1_700_000_000_000_000_000
FLAT = np.array([[-0.1, -0.1, 0.6], [0.1, -0.1, 0.6], [-0.1, 0.1, 0.6], [0.1, 0.1, 0.6], [0.3, 0.1, 0.6]], np.float32)
FOUR, FIVE = [[0, 2, 1], [1, 2, 3]], [[0, 2, 1], [1, 2, 3], [1, 3, 4]]
Command = Callable[..., tuple[int, str, str]]


def stamp(number: int) -> int:
    return FIRST_NS + number * 100_000_000


def vertices(number: int) -> np.ndarray:
    """10 mm further away every frame; from frame 6 on there are five."""
    return FLAT[:4 if number < 6 else 5] + np.float32([0, 0, 0.01 * number])


def results() -> Iterator[tuple[int, str, dict]]:
    """Of ten frames: two references, the surface in all but frame 3, how sure it is and a named point in frame 2."""
    for number in range(10):
        now, reference = (messages.header(stamp(which), "camera") for which in (number, 0 if number < 6 else 6))
        topology, triangles = (7, FOUR) if number < 6 else (8, FIVE)
        rest = vertices(0 if number < 6 else 6)
        if number in (0, 6):
            colors = np.tile(np.uint8([[200, 100, 50]]), (len(rest), 1))
            yield number, topics.REFERENCE, messages.surface_mesh(reference, reference, topology, rest, None, None, triangles, colors)
        if number != 3:
            seen = np.arange(len(rest)) != number
            yield number, topics.MESH, messages.surface_mesh(now, reference, topology, vertices(number), None, seen)
        if number == 2:
            covariance = np.tile(np.diag([1e-6, 4e-6, 4e-6]), (4, 1, 1))
            grasp = FollowedPoint("grasp", np.array([0.1, 0.2, 0.6]), np.array([0, 0, -1.0]), np.eye(3), np.eye(3), True, 1.0)
            yield number, topics.NAMED_POINTS, surface_points([grasp], now, reference, topology)
            yield number, topics.COVARIANCE, messages.surface_covariance(now, reference, topology, covariance)


def make_run(folder: Path, name: str = "rec.mcap", status: str = "tracked") -> Path:
    """A folder as `register` leaves it."""
    folder.mkdir(parents=True)
    with BagWriter(folder / "results") as bag:
        for number, topic, fields in results():
            bag.write_results([(topic, fields)], stamp(number))
    (folder / "surfaces").mkdir()
    frames = [{"stamp": stamp(number) / 1e9, "stamp_ns": stamp(number), "status": status, "reason": "", "gap_s": 0.0,
               "matches": 50 + number, "verified": 40, "inliers": 30, "residual_m": 0.001 * (1 + number), "is_reference": number == 0,
               "milliseconds": {"extract": 5.0, "write": 1.0}} for number in range(10)]
    summary = {"frames": 10, "status": {status: 10}, "tracked_fraction": 1.0, "median_residual_m": 0.0055, "median_matches": 54.5,
               "median_inliers": 30.0, "frames_per_second": 12.0, "recording": f"/a/place/{name}", "interrupted": False}
    (folder / "metrics.json").write_text(json.dumps({"frames": frames, "summary": summary, "options": {"device": "cpu"}}))
    cv2.imwrite(str(folder / "contact_sheet.png"), np.full((60, 40, 3), (200, 10, 10), np.uint8))
    with VideoWriter(folder / "video.mp4", fps=10.0) as film:
        for _ in range(10):
            film.write(np.zeros((48, 64, 3), np.uint8))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture
def run_copy(finished: Path, tmp_path: Path) -> Path:
    """A run that a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "first"))


def data_of(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="run">(.*?)</script>', text, re.DOTALL)[1])


def notes_of(page: Path) -> str:
    found = re.search(r'<ul class="notes">(.*?)</ul>', page.read_text(encoding="utf-8"), re.DOTALL)
    return found[1] if found else ""


def test_the_surface_comes_from_the_bag(finished: Path) -> None:
    found = read_surfaces(finished / "results", [stamp(number) for number in range(10)])
    assert found.every == 1 and not found.damaged
    first, second = found.sequences
    assert first.frames.tolist() == [0, 1, 2, 4, 5] and second.frames.tolist() == [6, 7, 8, 9]
    np.testing.assert_array_equal(first.triangles, FOUR)
    np.testing.assert_array_equal(second.triangles, FIVE)
    np.testing.assert_allclose(first.vertices, [vertices(number) for number in (0, 1, 2, 4, 5)], atol=1e-7)
    np.testing.assert_allclose(second.vertices, [vertices(number) for number in (6, 7, 8, 9)], atol=1e-7)
    np.testing.assert_array_equal(first.visible[2], [True, True, False, True])
    np.testing.assert_array_equal(first.colors[3], [200, 100, 50])
    np.testing.assert_allclose(first.deviation[2], 0.003, rtol=1e-5)            # the root of 1 + 4 + 4 square millimetres
    assert np.isnan(first.deviation[[0, 1, 3, 4]]).all() and second.deviation is None


def test_named_points_come_from_the_bag(finished: Path) -> None:
    [(name, track)] = read_run(finished).points.items()
    assert name == "grasp" and track.visible.tolist() == [number == 2 for number in range(10)]
    np.testing.assert_allclose(track.position[2], [0.1, 0.2, 0.6], rtol=1e-6)
    assert np.isnan(np.delete(track.position, 2, axis=0)).all()


def test_a_long_run_is_thinned_and_says_so(run_copy: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_reader, "MOST_VERTICES", 20)       # a third of 10 frames of 5 vertices, rounded up
    assert command(report.main, run_copy)[0] == 0
    frames = [sequence["frames"] for sequence in data_of(run_copy / "report.html")["sequences"]]
    assert frames == [[0], [6, 9]]
    assert "one frame in 3" in notes_of(run_copy / "report.html")


def test_a_report_of_a_run(run_copy: Path, command: Command) -> None:
    code, text, errors = command(report.main, run_copy)
    page = run_copy / "report.html"
    assert code == 0 and not errors and str(page) in text
    data = data_of(page)
    assert [sequence["frames"] for sequence in data["sequences"]] == [[0, 1, 2, 4, 5], [6, 7, 8, 9]]
    assert data["film"]["frames"] == list(range(10)) and data["frames"]["residual"] == [1 + number for number in range(10)]
    block = re.search(r'id="block-mesh1-rest">(.*?)<', page.read_text())[1]
    assert np.frombuffer(decompress(b64decode(block))[:36], "<u4").reshape(-1, 3).tolist() == FIVE
    sheet = re.search(r'id="block-sheet">(.*?)<', page.read_text())[1]
    shown = cv2.imdecode(np.frombuffer(b64decode(sheet), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (60, 40, 3) and np.abs(shown.astype(int).mean(axis=(0, 1)) - (200, 10, 10)).max() < 4
    assert "<h1>first: rec</h1>" in page.read_text() and not notes_of(page)
    before = page.stat().st_mtime_ns
    assert command(report.main, run_copy, "--only-missing")[0] == 0 and page.stat().st_mtime_ns == before
    os.utime(run_copy / "metrics.json")
    assert command(report.main, run_copy, "--only-missing")[0] == 0 and page.stat().st_mtime_ns > before


def test_what_is_missing_is_told_in_the_page(run_copy: Path, command: Command) -> None:
    shutil.rmtree(run_copy / "results")
    (run_copy / "contact_sheet.png").unlink()
    (run_copy / "video.mp4").write_bytes(b"no film")
    assert command(report.main, run_copy)[0] == 0
    notes = notes_of(run_copy / "report.html")
    assert "There is no surface to show" in notes and "does not exist" in notes and "The film is not shown" in notes
    assert data_of(run_copy / "report.html")["sequences"] == []


def test_a_bag_that_was_cut_off(run_copy: Path, command: Command) -> None:
    """What is readable is shown; the rest is told."""
    bag, = (run_copy / "results").glob("*.mcap")
    (run_copy / "results" / "metadata.yaml").unlink()
    bag.write_bytes(bag.read_bytes()[:-200])
    assert command(report.main, run_copy)[0] == 0
    assert "cut off" in notes_of(run_copy / "report.html")
    bag.write_bytes(b"\x89MCAP0\r\n")
    assert command(report.main, run_copy)[0] == 0
    assert "There is no surface to show" in notes_of(run_copy / "report.html")


def test_messages_that_do_not_fit(tmp_path: Path) -> None:
    """Another number of vertices than the reference, infinite ones, a reference that is not there: left out, and told."""
    head = messages.header(stamp(0), "camera")
    with BagWriter(tmp_path / "results") as bag:
        bag.write_results([(topics.REFERENCE, messages.surface_mesh(head, head, 1, FLAT[:4], None, None, FOUR))], stamp(0))
        for number, (topology, found) in enumerate([(1, FLAT[:4]), (1, FLAT), (1, FLAT[:4] * np.inf), (2, FLAT[:4]), (1, FLAT[:4])]):
            now = messages.header(stamp(number), "camera")
            bag.write_results([(topics.MESH, messages.surface_mesh(now, head, topology, found))], stamp(number))
    found = read_surfaces(tmp_path / "results", [stamp(number) for number in range(5)])
    assert [sequence.frames.tolist() for sequence in found.sequences] == [[0, 4]] and found.sequences[0].visible.all()
    assert "3 messages of the followed surface do not fit" in found.damaged


def test_a_run_in_which_nothing_was_followed(tmp_path: Path, command: Command) -> None:
    run = make_run(tmp_path / "run", status="waiting")
    shutil.rmtree(run / "results")
    with BagWriter(run / "results") as bag:
        bag.write_results([(topics.STATUS, {"header": messages.header(stamp(0), "camera")})], stamp(0))
    assert command(report.main, run)[0] == 0
    assert "none was followed" in notes_of(run / "report.html") and "<canvas" not in (run / "report.html").read_text()


@pytest.mark.parametrize(("text", "told"), [
    (None, "did not come to its end; register its recording again with --overwrite"),
    ("{", "is not what ./run register writes"), ("[]", "is not what ./run register writes"),
    ('{"frames": [], "summary": {}}', "no frames"), ('{"frames": [{"status": 3}], "summary": {}}', "is not what ./run register writes"),
])
def test_half_a_run(run_copy: Path, text: str | None, told: str, command: Command) -> None:
    if text is None:
        (run_copy / "metrics.json").unlink()
    else:
        (run_copy / "metrics.json").write_text(text)
    code, _, errors = command(report.main, run_copy)
    assert code == 2 and told in errors and "Traceback" not in errors and not (run_copy / "report.html").exists()


def test_no_run_at_all(tmp_path: Path, command: Command) -> None:
    code, _, errors = command(report.main, tmp_path, tmp_path / "none")
    assert code == 2 and "no run of ./run register is there, nor in a folder below it" in errors and "there is no such folder" in errors
    assert not list(tmp_path.iterdir())


def test_a_run_of_an_earlier_version(run_copy: Path) -> None:
    """Without reasons and times."""
    metrics = json.loads((run_copy / "metrics.json").read_text())
    for frame in metrics["frames"]:
        del frame["reason"], frame["milliseconds"]
    del metrics["options"]
    (run_copy / "metrics.json").write_text(json.dumps(metrics))
    found = read_run(run_copy)
    assert found.frames[0]["reason"] == "" and found.options == {} and found.film.frames is None


def test_a_full_disk(run_copy: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_file.os, "fsync", full)
    code, _, errors = command(report.main, run_copy)
    assert code == 2 and f"{run_copy / 'report.html'} cannot be written: No space left on device" in errors
    assert not [path for path in run_copy.iterdir() if "report" in path.name]


def test_many_runs_have_a_table(finished: Path, tmp_path: Path, command: Command) -> None:
    for name in ("b/<i>one & two</i>", "a run", "c/deep/er"):
        shutil.copytree(finished, tmp_path / name)
    (tmp_path / "c" / "half" / "results").mkdir(parents=True)
    (tmp_path / "c" / "half" / "surfaces").mkdir()
    (tmp_path / "c" / "notes").mkdir()
    code, text, errors = command(report.main, tmp_path)
    assert code == 1 and "half has no metrics.json" in errors and str(tmp_path / "index.html") in text
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'<a href="(.*?)">(.*?)</a>', page)
    assert links == [("a%20run/report.html", "a run"),
                     ("b/%3Ci%3Eone%20%26%20two%3C/i%3E/report.html", "b/&lt;i&gt;one &amp; two&lt;/i&gt;"),
                     ("c/deep/er/report.html", "c/deep/er")]
    assert page.count("data:image/jpeg;base64,") == 3 and "did not come to its end" in page and page.count("5.50") == 3
    assert all((tmp_path / name / "report.html").is_file() for name in ("b/<i>one & two</i>", "a run", "c/deep/er"))
