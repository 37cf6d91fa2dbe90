"""The command, with a network of random weights."""
import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from dalf_training import evaluate
from dalf_training.evaluation import benchmark
from dalf_training.evaluation.extractor_scores import Extractor, mutual_matches

from dalf_core import Features
from dalf_core.features.network import DalfNetwork
from dalf_core.weights import save_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "random.safetensors"
    save_weights(DalfNetwork(), path, metadata={"threshold": "-100", "descriptor": "polar"})
    return path


def test_photos(weights: Path, photo_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(benchmark, "SIZE", (160, 120))
    output = tmp_path / "new" / "out"
    assert evaluate.main(["--photos", str(photo_files), "--weights", str(weights), "--descriptor", "backbone", "--top-k", "100",
                          "--pairs", "1", "--levels", "easy", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "random.safetensors backbone" in printed and "MS by rotation" in printed
    assert sorted(path.name for path in output.iterdir()) == ["accuracy.png", "matching_score.png", "pairs.csv"]
    with open(output / "pairs.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 1 and float(rows[0]["keypoints"]) > 20 and float(rows[0]["mma_1"]) <= float(rows[0]["mma_10"])


def test_objects(tps_folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    corner = Features(np.array([[60, 60]], np.float32), np.ones(1, np.float32), np.eye(1, 4, dtype=np.float32), (160, 120))
    monkeypatch.setattr(evaluate, "make_extractors", lambda _: {"corner": Extractor(lambda _: corner, mutual_matches)})
    assert evaluate.main(["--nonrigid", *map(str, tps_folders), "--output", str(tmp_path / "out")]) == 0
    done = capsys.readouterr()
    assert "2 objects, 3 pairs" in done.out and "left out: Kinect2Sampled, DeSurTSampled" in done.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["matching_score.png", "pairs.csv"]


def test_the_descriptor_is_the_one_that_was_trained(weights: Path) -> None:
    assert evaluate.descriptor_of(str(weights)) == "polar"
    options = evaluate.parser().parse_args(["--photos", "x", "--weights", str(weights), "--threshold", "3", "--top-k", "50"])
    (name, extractor), = evaluate.make_extractors(options).items()
    assert name == "random.safetensors" and extractor.extract.__self__.descriptor == "polar"
    assert (extractor.extract.__self__.threshold, extractor.extract.__self__.top_k) == (3, 50)


def test_names_in_tables() -> None:
    assert evaluate.labels(["official", "default", "a/best.safetensors", "b/best.safetensors", "b/last.safetensors"]) == {
        "official": "official", "default": None, "a/best.safetensors": "a/best.safetensors", "b/best.safetensors": "b/best.safetensors",
        "last.safetensors": "b/last.safetensors"}
    with pytest.raises(ValueError, match="twice"):
        evaluate.labels(["official", "official"])


@pytest.mark.parametrize("arguments, message", [
    (["--photos", "nowhere"], "nowhere is no folder"), (["--nonrigid", "nowhere", "there"], "nowhere is no folder"),
    (["--photos", ".", "--pairs", "0"], "--pairs must be positive")])
def test_errors_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert evaluate.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_plots_need_matplotlib(photo_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(evaluate.importlib.util, "find_spec", lambda _: None)
    assert evaluate.main(["--photos", str(photo_files), "--output", str(tmp_path / "out")]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_missing_weights_are_named(photo_files: Path, capsys: pytest.CaptureFixture) -> None:
    assert evaluate.main(["--photos", str(photo_files), "--weights", "nothing.pth"]) == 2
    assert "nothing.pth" in capsys.readouterr().err


def test_photos_or_objects_must_be_named(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        evaluate.main([])
    assert "--photos" in capsys.readouterr().err
