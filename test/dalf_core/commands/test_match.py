"""`match` on a picture and its shifted copy, and on what is no picture."""
from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from dalf_core.commands.match import main

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
    assert [picture.shape for picture in pictures] == [(HEIGHT, 2 * WIDTH, 3), (HEIGHT, 3 * WIDTH, 3), (HEIGHT, 2 * WIDTH, 3)]
    template, registered = (pictures[1][30:130, left + 30:left + 150].astype(int) for left in (0, 2 * WIDTH))
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
