"""`template make` and `template show` on the examples' pictures, with the light network."""
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_core import Template, load_template
from dalf_core.camera import PinholeCamera
from dalf_core.commands.template import main
from dalf_core.commands.template_picture import draw_template, headline
from dalf_core.drawing.palette import GRID
from dalf_core.drawing.panels import band_height, capital_height

DATA = Path(__file__).parents[3] / "examples/data"
QUICK = ("--weights", "light", "--top-k", "200")


def test_a_frame_of_a_folder(tmp_path, capsys):
    file, picture = tmp_path / "cloth.dalf", tmp_path / "cloth.png"
    assert main(["make", str(DATA), "--frame", "1", "--output", str(file), "--metadata", "colour=blue", *QUICK]) == 0
    template = load_template(file)
    assert template.name == "cloth" and template.metadata == {"colour": "blue"} and len(template.features) == 200
    np.testing.assert_array_equal(template.image, cv2.imread(str(sorted((DATA / "color").iterdir())[1])))
    capsys.readouterr()
    assert main(["show", str(file), "--output", str(picture)]) == 0
    assert "200 keypoints (light aligned fused" in (told := capsys.readouterr().out) and "colour: blue" in told
    height, width = template.image.shape[:2]
    drawn, high = cv2.imread(str(picture)), band_height(capital_height(height))
    assert drawn.shape == (height + 3 * high, 2 * width, 3)             # a headline and titles above, a legend below


def test_the_picture_of_a_template_is_that_of_the_object():
    """Colours span the depth within the mask; points stand where the camera shows them; all else is dark."""
    depth = np.full((60, 80), 2.0, np.float32)
    depth[20:40, 20:60] = np.linspace(0.5, 0.6, 40)[None]
    mask = depth < 1
    image = np.full((60, 80, 3), 90, np.uint8)
    camera = PinholeCamera(80, 80, 39.5, 29.5, 80, 60)
    template = Template.of_frame("box", image, depth, camera, mask)
    assert headline(template) == f"template box, surface of {len(template.surface.vertices)} vertices"
    template = replace(template, points={"grip": np.array([0.1, 0.05, 0.8])})       # pixel 49.5, 34.5
    high = band_height(capital_height(60))
    picture = draw_template(template)[2 * high:2 * high + 60]
    yellow = np.abs(picture[:, :80].astype(int) - GRID).max(axis=2) < 80
    y, x = np.nonzero(yellow[33:])          # below the name
    assert abs(x.mean() - 49.5) < 1.5 and abs(y.mean() + 33 - 34.5) < 1.5
    assert (picture[5, 5] == 30).all() and (picture[25, 25] == 90).all()
    near, far = (picture[30, 80 + column].astype(int).sum() for column in (22, 58))
    assert near > far + 150 and picture[5, 85].astype(int).sum() < 150


def test_a_picture_alone_with_a_mask(tmp_path):
    image = sorted((DATA / "color").iterdir())[0]
    mask = np.zeros(cv2.imread(str(image)).shape[:2], np.uint8)
    mask[100:260, 120:400] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    file = tmp_path / "poster.dalf"
    assert main(["make", str(image), "--mask", str(tmp_path / "mask.png"), "--name", "the poster", "--output", str(file), *QUICK]) == 0
    template = load_template(file)
    x, y = template.features.keypoints.T
    assert template.name == "the poster" and template.surface is None
    assert x.min() > 115 and x.max() < 405 and y.min() > 95 and y.max() < 265


def test_a_picture_with_its_depth(tmp_path):
    color, depth = (sorted((DATA / folder).iterdir())[0] for folder in ("color", "depth"))
    file = tmp_path / "a.dalf"
    words = ["make", str(color), "--depth", str(depth), "--output", str(file), *QUICK]
    assert main(words) == 2
    assert main([*words, "--intrinsics", str(DATA / "intrinsics.txt")]) == 0
    assert main(["make", str(DATA), "--output", str(tmp_path / "b.dalf"), *QUICK]) == 0
    np.testing.assert_array_equal(load_template(file).surface.vertices, load_template(tmp_path / "b.dalf").surface.vertices)


@pytest.mark.parametrize(("words", "why"), [
    ((), "name a SOURCE"), (("--topic", "/image"), "running cameras are heard by ./run template make"),
    ((str(DATA), "--mask-topic", "/mask"), "--mask-topic is of a bag or a running camera"),
    (["nowhere"], "no such file"), ([str(DATA), "--frame", "9"], "2 frames"), ([str(DATA), "--metadata", "blue"], "KEY=VALUE"),
    ([str(DATA), "--output", "a.png"], r"must end in .dalf"), ([str(DATA), "--name", "a/b"], "template's name"),
])
def test_what_cannot_be_made_is_told_in_one_line(words, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["make", *words, *QUICK]) == 2
    error = capsys.readouterr().err
    assert why in error and error.count("\n") == 1 and not list(tmp_path.rglob("*.dalf"))


def test_an_error_leaves_no_folder(tmp_path):
    """That was not there; one that was, or holds something, stays."""
    (tmp_path / "mine").mkdir()
    bad = ["make", str(DATA), "--frame", "9", *QUICK]
    for folder in ("new/deep", "mine/new", "mine"):
        assert main([*bad, "--output", str(tmp_path / folder / "a.dalf")]) == 2
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "mine"]
    good = ["make", str(sorted((DATA / "color").iterdir())[0]), *QUICK]
    assert main([*good, "--output", str(tmp_path / "new/deep/a.dalf")]) == 0
    assert main([*bad, "--output", str(tmp_path / "new/other/a.dalf")]) == 2
    assert [path.name for path in sorted((tmp_path / "new").rglob("*"))] == ["deep", "a.dalf"]


def test_a_file_that_is_there_is_kept(tmp_path, capsys):
    file = tmp_path / "a.dalf"
    file.write_bytes(b"mine")
    words = ["make", str(sorted((DATA / "color").iterdir())[0]), "--output", str(file), *QUICK]
    assert main(words) == 2 and "--overwrite" in capsys.readouterr().err and file.read_bytes() == b"mine"
    assert main([*words, "--overwrite"]) == 0 and load_template(file).name == "a"


def test_a_file_that_is_none_is_not_shown(tmp_path, capsys):
    (tmp_path / "bad.dalf").write_bytes(b"no template at all, really")
    assert main(["show", str(tmp_path / "bad.dalf"), "--output", str(tmp_path / "bad.png")]) == 2
    assert "no template" in capsys.readouterr().err and not (tmp_path / "bad.png").exists()
