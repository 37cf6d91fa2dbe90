"""The benchmark of matching from end to end, with extractors that need no weights."""
import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

matching = pytest.importorskip("matching")
extractors = pytest.importorskip("extractors")


def test_measures_what_is_asked_for(photo_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table, picture = tmp_path / "out.csv", tmp_path / "out.png"
    asked = ["--pairs", "1", "--levels", "easy,hard", "--extractors", "sift,orb"]
    assert matching.main(["--photos", str(photo_files), *asked, "--csv", str(table), "--picture", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert "1 pairs a level" in printed and printed.count("sift") == 2
    with open(table, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [" ".join([row["level"], row["extractor"], row["pair"]]) for row in rows[:3]] == ["easy sift 0", "easy orb 0", "hard sift 0"]
    easy = np.mean([float(row["matching_score"]) for row in rows if row["level"] == "easy" and row["extractor"] == "sift"])
    hard = np.mean([float(row["matching_score"]) for row in rows if row["level"] == "hard" and row["extractor"] == "sift"])
    assert easy > 0.4 > hard
    assert all(float(row["matching_score"]) <= float(row["repeatability"]) for row in rows)
    assert cv2.imread(str(picture)).shape == (960, 1280, 3)


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert matching.main(["--photos", str(tmp_path / "nowhere"), "--extractors", "orb"]) == 2
    assert capsys.readouterr().err.count("\n") <= 2
    assert matching.main(["--photos", str(tmp_path), "--extractors", "official"]) == 2
    assert "--official" in capsys.readouterr().err
    assert matching.main(["--photos", str(tmp_path), "--extractors", "official", "--official", str(tmp_path)]) == 2
    assert "no checkout" in capsys.readouterr().err
    with pytest.raises(SystemExit) as refused:
        matching.main(["--photos", str(tmp_path), "--extractors", "surf"])
    assert refused.value.code == 2


def test_photos_must_be_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.delenv("DALF_TEST_DATA", raising=False)
    with pytest.raises(SystemExit):
        matching.main(["--extractors", "orb"])
    assert "--photos" in capsys.readouterr().err


def test_whole_matchers_score_what_match_images_finds(photo_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """match_images is replaced by one that knows three matches, of which it verifies two."""
    from types import SimpleNamespace

    from dalf_core import Features, Matches

    asked = []
    found = Features(np.zeros((4, 2), np.float32), np.ones(4, np.float32), np.ones((4, 1), np.float32), (640, 480))
    rows = np.arange(3)

    def known(a: np.ndarray, b: np.ndarray, *, dalf: object, passes: object, align: bool) -> SimpleNamespace:
        asked.append((passes, align))
        return SimpleNamespace(a=found, b=found, matches=Matches(rows, rows + 1, np.zeros(3, np.float32), np.array([True, False, True])))

    monkeypatch.setattr(extractors, "match_images", known)
    monkeypatch.setattr(extractors, "DALF", lambda *_, **__: None)
    makers = extractors.Extractors(10)
    names = (*extractors.MATCHERS, "auto-aligned-verified")
    pairs = {name: makers.make(name).match_pair(np.zeros(1), np.zeros(1))[2].tolist() for name in names}
    every, verified = [[0, 1], [1, 2], [2, 3]], [[0, 1], [2, 3]]
    assert pairs == {**dict.fromkeys(extractors.MATCHERS, every), "auto-aligned-verified": verified}
    assert asked == [(1, False), (2, False), ("auto", False), (1, True), (2, True), ("auto", True), ("auto", True)]


def test_an_image_matches_itself(photo_files: Path) -> None:
    image = cv2.imread(str(next(photo_files.glob("*.png"))))
    for name in ("sift", "orb"):
        extractor = extractors.Extractors(300).make(name)
        features = extractor.extract(image)
        pairs = extractor.match(features, features)
        assert 100 < len(features) <= 310 and len(pairs) > 0.8 * len(features)
        assert (np.linalg.norm(features.keypoints[pairs[:, 0]] - features.keypoints[pairs[:, 1]], axis=1) < 1e-3).mean() > 0.95


def test_rows_of_one_dalf_share_what_it_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image is extracted once, with and without a mask, and rows of another DALF have another."""
    from dalf_core import Features

    calls: list[tuple[int, bool]] = []

    class Counting:
        def __init__(self, *_: object, **choices: str) -> None:
            self.choices = choices

        def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
            calls.append((int(image[0, 0]), mask is not None))
            return Features(np.full((1, 2), float(image[0, 0]), np.float32), np.ones(1, np.float32), np.ones((1, 4), np.float32), (4, 4))

    monkeypatch.setattr(extractors, "DALF", Counting)
    makers = extractors.Extractors(10)
    ours, look, again, bfloat16 = (makers.make(name) for name in ("ours", "one-look", "two-looks", "bfloat16"))
    assert look.dalf is again.dalf and ours.extract.__self__ is look.dalf is not bfloat16.extract.__self__
    images = [np.full((4, 4), value, np.uint8) for value in range(12)]
    for row in (ours.extract, look.dalf.extract, again.dalf.extract):
        assert [row(image.copy()).keypoints[0, 0] for image in images[:3]] == [0, 1, 2]
        row(images[0], np.ones((4, 4), np.uint8))
        row(images[0], np.eye(4, dtype=np.uint8))
    assert calls == [(0, False), (1, False), (2, False), (0, True), (0, True)]
    for image in images:
        look.dalf.extract(image)
    assert len(look.dalf._found) == extractors.REMEMBERED


def test_a_pair_without_matches_scores_nothing(photo_files: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                               capsys: pytest.CaptureFixture) -> None:
    """match_images itself, on features of which none match, and none are found: rows of zeros, not NaN."""
    from dalf_core import Features

    class Blind:
        def __init__(self, count: int) -> None:
            self.count = count

        def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
            random = np.random.default_rng(int(image.sum()))
            descriptors = random.normal(size=(self.count, 16)).astype(np.float32)
            descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
            xy = random.uniform(0, 470, (self.count, 2)).astype(np.float32)
            return Features(xy, np.ones(self.count, np.float32), descriptors, (640, 480))

    for count in (0, 40):
        monkeypatch.setattr(extractors, "DALF", lambda *_, found=count, **__: Blind(found))
        asked = ["--photos", str(photo_files), "--pairs", "1", "--levels", "easy", "--extractors", "ours,two-looks,auto-verified"]
        assert matching.main([*asked, "--csv", str(tmp_path / "out.csv"), "--picture", str(tmp_path / "out.png")]) == 0
        printed = capsys.readouterr().out
        assert "nan" not in printed.lower() and "1 pairs a level" in printed
        verified = next(line.split() for line in printed.splitlines() if "auto-verified" in line)
        assert verified[1:] == ["auto-verified", *verified[2:3], "0.000", "0.000", "0.000", "0.000", *verified[7:8], "0.000"]
