"""The live benchmark from its command line: a real run of a small recording through real processes, and what it refuses."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import live
import pytest

PROGRAM = Path(live.__file__)


@pytest.fixture(scope="module")
def small_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 images of the cloth's first second and a half, with their truth."""
    pytest.importorskip("mujoco")
    pytest.importorskip("open3d")
    from dalf_ros.simulation.recording import record, sample_times

    folder = tmp_path_factory.mktemp("live")
    record(folder / "bag", folder / "truth.npz", times=sample_times(180)[:48:3])
    return folder


@pytest.mark.slow
def test_a_real_run(small_recording: Path, tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    words = [small_recording, "--rate", "0.05", "--output", tmp_path, "--json", tmp_path / "live.json",
             "--set", "top_k:=300", "--set", "image_scale:=0.5"]
    run = subprocess.run([sys.executable, PROGRAM, *map(str, words)], capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads((tmp_path / "live.json").read_text())
    assert found["loops"] == 1 and 1 <= found["surfaces"] <= found["images"] <= 16
    assert found["tracked"] == found["surfaces"]                # the cloth hardly moves yet
    assert 0 < found["age_median_ms"] <= found["age_p95_ms"]
    errors = found["errors"]
    assert 0.1 < errors["seen_at_stamp_mm"] < 3 and errors["seen_at_stamp_mm"] <= errors["all_at_stamp_mm"] * 1.2
    assert errors["all_at_arrival_mm"] > 0.1
    assert 0.1 < found["residual_median_mm"] < 3
    assert set(found["cpu"]) == {"feature_node", "registration_node", "play", "listener"}
    assert all(0.01 < found["cpu"][name] < 64 for name in ("feature_node", "registration_node"))
    assert 0 < found["cpu"]["listener"] < 0.5 and "| surfaces a second |" in run.stdout and "mask /camera/object_mask" in run.stdout


@pytest.mark.parametrize(("words", "said"), [(["--set", "top_k=3"], "NAME:=VALUE"), (["--set", "topk:=3"], "no node has a parameter"),
                                             (["--rate", "0"], "rate 0")])
def test_what_is_refused(rgbd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert live.main([str(rgbd), "--output", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def rgbd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny frames with depth, no truth."""
    pytest.importorskip("mujoco")
    pytest.importorskip("open3d")
    import numpy as np

    from dalf_ros.simulation.recording import default_camera, record

    folder = tmp_path_factory.mktemp("tiny")
    record(folder / "bag", folder / "truth.npz", times=np.arange(2) / 30, camera=default_camera(160, 120))
    return folder / "bag"


def test_a_scene_is_made_once_and_of_one_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def record_scene(name: str, source: Path, target: Path, progress: object) -> None:
        made.append((name, source))
        (target / "bag").mkdir()        # fails where an earlier one lies

    monkeypatch.setattr(live, "record_scene", record_scene)
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(ValueError, match="truth.npz"):
        live.scene("turned", first, tmp_path / "out")
    for folder in (first, second):
        folder.mkdir()
        (folder / "truth.npz").touch()
    (tmp_path / "out" / "turned" / "bag").mkdir(parents=True)       # interrupted
    for _ in range(2):
        assert live.scene("turned", first, tmp_path / "out") == tmp_path / "out" / "turned"
    assert made == [("turned", first)]
    with pytest.raises(ValueError, match="another recording"):
        live.scene("turned", second, tmp_path / "out")


def test_a_recording_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert live.main([str(tmp_path / "nothing"), "--output", str(tmp_path / "out")]) == 2
    assert "nothing" in capsys.readouterr().err
