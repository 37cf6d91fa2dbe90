"""`retrieve` on a folder of two templates: which it is, none of them, and what is wrong with a folder."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_core import Template, save_template
from dalf_core.commands.retrieve import CAPITAL, main, verdict
from dalf_core.drawing.palette import GOOD
from dalf_core.drawing.panels import band_height
from dalf_core.templates.library import Candidate, Recognition

from ..feature_fixtures import textured

DATA = Path(__file__).parents[3] / "examples/data/color"
QUICK = ("--weights", "light", "--top-k", "400")


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    for name, image in (("cloth", cv2.imread(str(DATA / "0.jpg"))), ("blobs", textured())):
        save_template(Template.of_frame(name, image), folder / f"{name}.dalf")
    (folder / "broken.dalf").write_bytes(b"none")
    return folder


def test_a_cloth_is_found_bent(library, tmp_path, capsys):
    assert main([str(DATA / "1.jpg"), "--library", str(library), "--output", str(tmp_path / "sheet.png"), "--json", *QUICK]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert answer["template"] == "cloth" and answer["confidence"] > 0.9 and answer["templates"] == 2 and "broken.dalf" in err
    assert answer["candidates"][0]["name"] == "cloth" and answer["candidates"][0]["verified"] > 30
    picture = cv2.imread(str(tmp_path / "sheet.png"))
    high = band_height(CAPITAL)
    framed = (np.abs(picture[2 * high:2 * high + 240].astype(int) - GOOD).max(axis=2) < 3).any(axis=0)
    assert framed[322:636].all() and not framed[:315].any() and picture.shape[0] == 240 + 3 * high
    assert picture.shape[1] == 320 * (1 + len(answer["candidates"]))


def test_something_else_is_none_of_them(library, tmp_path, capsys):
    rng = np.random.default_rng(3)
    other = cv2.resize(rng.integers(0, 255, (40, 50, 3), np.uint8), (400, 320), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "other.png"), other)
    assert main([str(tmp_path / "other.png"), "--library", str(library), "--output", str(tmp_path / "sheet.png"), *QUICK]) == 1
    assert capsys.readouterr().out.startswith("none of 2 templates")


def test_the_verdict_of_the_picture():
    assert verdict(Recognition("cloth", 0.987, [Candidate("cloth", 0.9, 500)], None), 2) == "it is cloth, confidence 0.99"
    assert verdict(Recognition(None, 0.0, [Candidate("cloth", 0.9, 8)], None), 1) == (
        "none of 1 template: cloth is the nearest, with 0 verified matches; 30 are needed")


def test_a_folder_without_templates(tmp_path, capsys):
    assert main([str(DATA / "1.jpg"), "--library", str(tmp_path), "--output", str(tmp_path / "sheet.png"), *QUICK]) == 2
    assert "holds no template" in capsys.readouterr().err
