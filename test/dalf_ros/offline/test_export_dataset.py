"""`export-dataset` on runs that register made of a board which slides sideways: its motion is known."""
from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dalf_core.datasets import lerobot
from dalf_ros import export_dataset, register

parquet = pytest.importorskip("pyarrow.parquet")

Command = Callable[..., tuple[int, str, str]]
KEYPOINTS, GRASP = "observation.surface.keypoints", "observation.points.grasp"


@pytest.fixture(scope="module")
def runs(rgbd_bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run, whose recording lies beside it."""
    place = tmp_path_factory.mktemp("exported")
    recording = Path(shutil.copytree(rgbd_bag, place / "recordings" / "rgbd"))
    assert register.main([str(recording), "--output", str(place / "runs" / "board"), "--weights", "light", "--max-frames", "8",
                          "--no-video", "--no-report", "--top-k", "300", "--track-point", "grasp,96,72"]) == 0
    return place / "runs"


def test_a_dataset_of_real_runs(runs: Path, scene: type, tmp_path: Path, command: Command) -> None:
    code, out, _ = command(export_dataset.main, runs, "--output", tmp_path / "set", "--keypoints", 20)
    assert code == 0 and "1 episode, 8 frames, lerobot" in out
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert info["fps"] == 10 and info["features"]["observation.images.color"]["shape"] == [144, 192, 3]
    table = parquet.read_table(tmp_path / "set/data")
    assert table["observation.surface.status"].to_pylist() == [1] * 8
    places = np.stack(table[KEYPOINTS].to_numpy()).reshape(8, 20, 3)
    moved = np.median(places - places[0], axis=1)
    np.testing.assert_allclose(moved[:, 0], np.arange(8) * scene.shift_m, atol=1.5e-3)
    np.testing.assert_allclose(places[..., 2], scene.distance_m, atol=4e-3)
    grasp = np.stack(table[GRASP].to_numpy())
    np.testing.assert_allclose(grasp[:, 0] - grasp[0, 0], np.arange(8) * scene.shift_m, atol=1.5e-3)


def test_other_formats(runs: Path, tmp_path: Path, command: Command) -> None:
    assert command(export_dataset.main, runs / "board", "--output", tmp_path / "t", "--format", "parquet")[0] == 0
    assert (tmp_path / "t/meshes/board.npz").is_file() and parquet.read_table(tmp_path / "t/frames.parquet").num_rows == 8
    assert command(export_dataset.main, runs / "board", runs / "board", "--output", tmp_path / "g", "--format", "gltf")[0] == 0
    assert sorted(path.name for path in (tmp_path / "g").iterdir()) == ["board.glb", "board_2.glb"]


def test_a_recording_that_was_moved(runs: Path, tmp_path: Path, command: Command) -> None:
    home = runs.parent / "recordings"
    home.rename(tmp_path / "elsewhere")
    try:
        code, _, err = command(export_dataset.main, runs, "--output", tmp_path / "set")
        assert code == 2 and "its recording is not at hand" in err and "--recordings" in err and not (tmp_path / "set").exists()
        assert command(export_dataset.main, runs, "--output", tmp_path / "set", "--recordings", tmp_path / "elsewhere")[0] == 0
        assert command(export_dataset.main, runs, "--output", tmp_path / "bare", "--no-images")[0] == 0
    finally:
        (tmp_path / "elsewhere").rename(home)


def test_what_is_refused(runs: Path, tmp_path: Path, command: Command) -> None:
    code, _, err = command(export_dataset.main, tmp_path, "--output", tmp_path / "set")
    assert code == 2 and "no run of ./run register is there" in err
    half = tmp_path / "runs" / "half"
    (half / "results").mkdir(parents=True)
    (half / "surfaces").mkdir()
    shutil.copytree(runs / "board", tmp_path / "runs" / "whole")
    code, out, err = command(export_dataset.main, tmp_path / "runs", "--output", tmp_path / "set", "--no-images")
    assert code == 1 and "1 episode" in out and "left out" in err and "half" in err
    code, _, err = command(export_dataset.main, runs, "--output", tmp_path / "set")
    assert code == 2 and "say --overwrite" in err
    assert command(export_dataset.main, runs, "--output", tmp_path / "set", "--overwrite", "--no-images")[0] == 0
    code, _, err = command(export_dataset.main, runs, "--output", tmp_path / "more", "--keypoints", 10**6)
    assert code == 2 and "ask for fewer" in err and not (tmp_path / "more").exists()


def test_a_full_disk(runs: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of the episodes: nothing is left of the dataset, and one that was there stays."""
    assert command(export_dataset.main, runs, "--output", tmp_path / "set", "--no-images")[0] == 0
    before = (tmp_path / "set/meta/info.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lerobot._Writer, "finish", full)
    code, _, err = command(export_dataset.main, runs, "--output", tmp_path / "set", "--overwrite", "--no-images")
    assert code == 2 and "No space left" in err
    assert (tmp_path / "set/meta/info.json").read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["set"]
