"""A run's report, read back without a browser: what it holds is the run, and it asks for nothing else."""
from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_core.drawing.palette import STATUS, magnitude_colors, signed_colors
from dalf_core.reports.film import Film
from dalf_core.reports.report_page import report_page, save_page
from dalf_core.reports.run_report import RunReport
from dalf_core.reports.strain import VertexStrain

from .page_reader import Page
from .scene import frame, report, sequence, track

ADDRESS = re.compile(r"https?://[^\s\"'`)<]+")
NAMES_ONLY = {"http://www.w3.org/1999/xhtml", "https://github.com/leeoniya/uPlot"}        # a namespace of XML; a remark


def page_of(run: RunReport) -> Page:
    return Page("".join(report_page(run)))


def test_the_surface_comes_back() -> None:
    run = report(40)                        # two blocks
    truth, page = run.sequences[0], page_of(run)
    told = page.data["sequences"][0]
    assert told["frames"] == list(range(40)) and (told["vertices"], told["triangles"]) == (96, 154)
    triangles, colors = page.topology(0)
    np.testing.assert_array_equal(triangles, truth.triangles)
    np.testing.assert_array_equal(colors, truth.colors)
    vertices, visible, fields = page.surfaces(0)
    assert told["step"] <= np.ptp(truth.vertices, axis=(0, 1)).max() / 16000 * 1.0001
    np.testing.assert_allclose(vertices, truth.vertices, atol=0.51 * told["step"])
    np.testing.assert_array_equal(visible, truth.visible)
    np.testing.assert_allclose(told["box"], [truth.reference.min(axis=0), truth.reference.max(axis=0)])
    strain = 100 * np.stack([VertexStrain(truth.triangles, truth.reference).of(each) for each in truth.vertices])
    scale = {field["name"]: field for field in told["fields"]}
    half = (scale["strain"]["high"] - scale["strain"]["low"]) / 254 / 2
    np.testing.assert_allclose(fields["strain"], strain.clip(scale["strain"]["low"], scale["strain"]["high"]), atol=1.01 * half)
    assert np.isnan(fields["uncertainty"][0]).all() and scale["uncertainty"]["log"]
    np.testing.assert_allclose(10 ** fields["uncertainty"][1:], np.where(truth.visible[1:], 0.4, 20), rtol=0.02)


def test_named_points_are_told_in_every_frame() -> None:
    truth, page = track(30), page_of(report(30, points={"grip/left": track(30)}))
    [point] = page.data["points"]
    assert point["name"] == "grip/left" and point["position"][4] is None
    assert point["visible"] == truth.visible.astype(int).tolist()
    known = np.isfinite(truth.position[:, 0])
    np.testing.assert_allclose([place for place in point["position"] if place], truth.position[known], atol=6e-6)
    assert "named points" in page.text and "named points" not in page_of(report(3)).text and page_of(report(3)).data["points"] == []


def test_several_references_share_one_scale() -> None:
    first, second = sequence(np.arange(10)), sequence(np.arange(12, 20), columns=5, rows=4, deviation=False)
    page = page_of(report(20, sequences=[first, replace(second, colors=None)]))
    assert page.data["sequences"][0]["fields"] == page.data["sequences"][1]["fields"]
    vertices, _, fields = page.surfaces(1)
    np.testing.assert_allclose(vertices, second.vertices, atol=2e-5)
    assert np.isnan(fields["uncertainty"]).all() and page.topology(1)[1] is None
    assert page.data["sequences"][1]["frames"] == list(range(12, 20))


def test_the_frames_are_told() -> None:
    page = page_of(report(40))
    columns = page.data["frames"]
    assert columns["time"][:3] == [0, 0.1, 0.2] and columns["time_unit"] == "s"
    assert [columns["statuses"][index] for index in columns["status"][4:9]] == ["tracked", "lost", "lost", "lost", "tracked"]
    assert columns["status_colors"][columns["statuses"].index("lost")] == STATUS["lost"]
    assert columns["residual"][4:6] == [0.5, None] and columns["matches"][3] == 303
    assert columns["milliseconds"][0] == 55                       # of following, not of writing
    bars = [(tag["x"], tag["width"], tag["fill"]) for name, tag in page.tags if name == "rect"]
    assert bars == [("-0.5", "5", STATUS["tracked"]), ("4.5", "3", STATUS["lost"]), ("7.5", "32", STATUS["tracked"])]
    words = " ".join(page.text.split())
    assert "tracked 92.5 % (37)" in words and "lost 7.5 % (3)" in words and "median residual 0.50 mm" in words
    assert "5 to 7 lost only 3 matches" in words and "2023-11-14 22:13:20 UTC" in words


def test_stamps_that_go_back_are_no_times() -> None:
    entries = [frame(number % 3) for number in range(6)]
    columns = page_of(report(6, sequences=[], frames=entries)).data["frames"]
    assert columns["time"] == list(range(6)) and columns["time_unit"] == "frame"


def test_it_asks_for_nothing_else() -> None:
    """No address but names; no element that loads; and a policy that forbids it all the same."""
    page = page_of(report(3, film=Film(b"film", 3, 10.0, [0, 1, 2]), sheet=b"sheet"))
    texts = [text for key, text in page.scripts.items() if not str(key).startswith("block-")]
    assert {address for text in [*texts, page.text] for address in ADDRESS.findall(text)} <= NAMES_ONLY
    for name, attributes in page.tags:
        for attribute in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(attribute) or "data:").startswith("data:"), (name, attributes)
    policy = next(tag["content"] for name, tag in page.tags if tag.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and "connect-src" not in policy and "http" not in policy
    assert not re.search(r"@import|url\(", page.scripts[0])


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>",
                                  "\" onload='x' & {{ 7 * 7 }} \u2028 é"])
def test_names_are_only_names(name: str) -> None:
    entries = [frame(0), frame(1, "lost", reason=name), frame(2, name)]
    plain = page_of(report(3))
    page = page_of(report(3, name=name, frames=entries, notes=[name], options={name: name}))
    kinds = [tag for tag, _ in page.tags]
    assert kinds.count("script") == [tag for tag, _ in plain.tags].count("script") and "img" not in kinds
    assert not any(attribute.startswith("on") for _, attributes in page.tags for attribute in attributes)
    assert page.text.count(name) >= 5 and page.data["frames"]["reason"][1] == name
    assert any(tag == "title" for tag, _ in page.tags)


def test_a_run_without_surface_film_and_sheet() -> None:
    page = page_of(report(3, frames=[frame(number, "matched", residual_m=None) for number in range(3)], sequences=[]))
    assert page.data["sequences"] == [] and page.data["film"] is None
    assert not {"canvas", "video", "img"} & {tag for tag, _ in page.tags}


def test_film_and_sheet_are_inside() -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    page = page_of(report(3, film=Film(b"\0film", 3, 10.0, [0, 1, 2]), sheet=jpeg))
    assert page.block("film") == b"\0film" and page.block("sheet") == jpeg
    assert page.data["film"] == {"fps": 10.0, "pictures": 3, "frames": [0, 1, 2]}


def test_the_colours_are_those_of_the_palette_as_rgb() -> None:
    colors = page_of(report(3)).data["colors"]
    signed, magnitude = (np.array(colors[name]).reshape(-1, 3) for name in ("signed", "magnitude"))
    np.testing.assert_array_equal(signed[[0, 127, 254]], signed_colors(np.array([-1, 0, 1]))[:, ::-1])
    np.testing.assert_array_equal(magnitude[[0, 254]], magnitude_colors(np.array([0, 1]))[:, ::-1])
    assert signed[0][2] > signed[0][0] and signed[254][0] > signed[254][2]      # blue: shorter; orange: longer


def test_a_full_disk_leaves_the_earlier_page(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("the earlier one")

    def until_full():
        yield "<!DOCTYPE html>"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        save_page(path, until_full())
    assert path.read_text() == "the earlier one" and os.listdir(tmp_path) == ["report.html"]


def test_every_library_has_its_licence() -> None:
    folder = Path(report_page.__code__.co_filename).parent / "libraries"
    for library in ("three", "uPlot"):
        licence = (folder / f"{library}.LICENSE.txt").read_text(encoding="utf-8")
        assert "Copyright" in licence and "Permission is hereby granted" in licence
    table = (folder / "README.md").read_text(encoding="utf-8")
    assert all(f"`{path.name}`" in table for path in folder.iterdir() if path.suffix in (".js", ".css") and path.name != "three_entry.js")
