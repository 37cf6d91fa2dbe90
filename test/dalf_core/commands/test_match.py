"""`match` on a picture and its shifted copy, and on what is no picture."""
from __future__ import annotations

import csv
import json
import re

import cv2
import numpy as np
import pytest

from dalf_core.commands.match import main
from dalf_core.drawing.panels import band_height, capital_height

from ..feature_fixtures import textured

WIDTH, HEIGHT, RIGHT, DOWN = 200, 160, 12, 7


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A, and B: the same scene, 12 px further right and 7 px further down."""
    folder = tmp_path_factory.mktemp("pair")
    scene = cv2.resize(textured(2 * (WIDTH + RIGHT), 2 * (HEIGHT + DOWN)), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "a.png"), scene[:HEIGHT, RIGHT:])
    cv2.imwrite(str(folder / "b.png"), np.vstack([scene[HEIGHT:, :WIDTH], scene[:HEIGHT - DOWN, :WIDTH]]))
    return folder / "a.png", folder / "b.png"


def test_match_draws_counts_and_registers(pair, weights, start, tmp_path):
    a, b = pair
    outputs = [tmp_path / "made" / name for name in ("matches.png", "registered.png", "heat.jpg")]
    process = start("match", a, b, "--output", outputs[0], "--registered", outputs[1], "--heatmap", outputs[2],
                    "--weights", weights, "--device", "cpu", "--top-k", 400)
    text, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    keypoints, other, matches, verified = (int(n) for n in re.search(
        r"keypoints: (\d+) in A, (\d+) in B\nmatches: (\d+), of which (\d+) verified", text).groups())
    assert "no second look: patches look alike already: turned by 0°" in text
    assert 60 < verified <= matches <= min(keypoints, other) <= 400 and verified > 0.8 * matches
    assert float(re.search(r"ZNCC\) ([\d.]+)", text)[1]) > 0.95
    pictures = [cv2.imread(str(path)) for path in outputs]
    line = band_height(capital_height(HEIGHT))
    assert [picture.shape[1] for picture in pictures] == [2 * WIDTH, 3 * WIDTH, 2 * WIDTH]
    assert all(picture.shape[0] >= HEIGHT + 2 * line for picture in pictures)       # a title above, a legend below
    template, registered = (pictures[1][line + 30:line + 130, left + 30:left + 150].astype(int) for left in (0, 2 * WIDTH))
    assert np.abs(registered - template).mean() < 6         # by a pixel off it would be about 15
    assert not list(tmp_path.glob("made/.*"))


def test_match_looks_again_where_b_is_turned(pair, weights, tmp_path, capsys):
    a, _ = pair
    scene = cv2.imread(str(a))
    turned = tmp_path / "turned.png"
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 25, 1)
    cv2.imwrite(str(turned), cv2.warpAffine(scene, turn, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC))
    arguments = [str(a), str(turned), "--weights", weights, "--device", "cpu", "--top-k", "400", "--output", str(tmp_path / "x.png")]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    verified, first, again = (int(n) for n in re.search(
        r"of which (\d+) verified\nsecond look: (\d+) -> (\d+) verified matches; turned by 2[456]°", told).groups())
    assert first < again < verified and f"alignment: {again} -> {verified} verified matches; " in told
    assert main([*arguments, "--passes", "1", "--no-align"]) == 0
    assert f"of which {first} verified\nno second look: one look was asked for" in capsys.readouterr().out


@pytest.mark.parametrize("change, words", [
    ({"a": "none.png"}, "none.png: no such file"),
    ({"b": "text.png"}, "text.png is no picture"),
    ({"b": "empty.png"}, "empty.png is no picture"),
    ({"b": "folder.png"}, "folder.png: this is no file"),
    ({"--output": "x.mp4"}, "must end in .png or"),
    ({"--output": "a.png"}, "is the input"),
    ({"--output": "folder.png"}, "it is a folder"),
    ({"--output": "text.png/x.png"}, "cannot be written"),
    ({"--weights": "none.pth"}, "none.pth"),
    ({"--device": "abacus"}, "abacus"),
])
def test_bad_input_is_one_clear_line(change, words, tmp_path, capsys, monkeypatch, pair):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(pair[0].read_bytes())
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    options = {"--output": "out.png", **{name: value for name, value in change.items() if name.startswith("-")}}
    arguments = [change.get("a", "a.png"), change.get("b", "a.png"), *(word for pair in options.items() for word in pair)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1
    assert not (tmp_path / "out.png").exists()


def test_a_verdict_json_and_a_table(pair, weights, tmp_path, capsys):
    """Two pictures of one scene, and two that share nothing."""
    other = tmp_path / "other.png"
    cv2.imwrite(str(other), textured(WIDTH, HEIGHT, seed=9))
    some = ["--weights", weights, "--device", "cpu", "--top-k", "400", "--output", str(tmp_path / "x.png")]
    assert main([*map(str, pair), *some]) == 0
    assert re.search(r"^A and B show the same surface: \d+ verified matches$", capsys.readouterr().out, re.MULTILINE)
    assert main([str(pair[0]), str(other), *some]) == 1
    assert "A and B do not show the same surface: " in capsys.readouterr().out
    assert main([*map(str, pair), *some, "--json", "--matches", str(tmp_path / "m.csv")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["same_surface"] is True and told["looks"] == 1 and told["verified"] > 60
    rows = list(csv.DictReader((tmp_path / "m.csv").open()))
    assert len(rows) == told["matches"] and sum(int(row["verified"]) for row in rows) == told["verified"]
    assert sum(1 - int(row["detected"]) for row in rows if row["verified"] == "1") == told["by_patch"] > 0
    moved = [(float(row["x_b"]) - float(row["x_a"]), float(row["y_b"]) - float(row["y_a"])) for row in rows if row["verified"] == "1"]
    np.testing.assert_allclose(np.median(moved, axis=0), [RIGHT, DOWN], atol=0.03)
    assert main([*map(str, pair), *some, "--matches", str(tmp_path / "m.npz")]) == 0
    with np.load(tmp_path / "m.npz") as table:
        assert table["xy_a"].shape == (len(rows), 2) and table["verified"].sum() == told["verified"]


def test_large_pictures_are_reduced_and_matches_are_of_the_files(pair, weights, tmp_path, capsys):
    large = tmp_path / "large.png"
    cv2.imwrite(str(large), cv2.resize(cv2.imread(str(pair[1])), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC))
    arguments = [str(pair[0]), str(large), "--weights", weights, "--device", "cpu", "--top-k", "400", "--output", str(tmp_path / "x.png"),
                 "--matches", str(tmp_path / "m.npz")]
    assert main([*arguments, "--max-size", str(WIDTH)]) == 0
    error = capsys.readouterr().err
    assert f"large.png: {3 * WIDTH}x{3 * HEIGHT} pixels are reduced to {WIDTH}x{HEIGHT}; --max-size" in error and error.count("\n") == 1
    assert cv2.imread(str(tmp_path / "x.png")).shape[1] == 2 * WIDTH
    with np.load(tmp_path / "m.npz") as table:
        off = (table["xy_b"] + 0.5) / 3 - 0.5 - table["xy_a"] - [RIGHT, DOWN]
        assert np.abs(np.median(off[table["verified"]], axis=0)).max() < 0.05
    assert main([*arguments, "--max-size", "8"]) == 2 and "--max-size 8" in capsys.readouterr().err
