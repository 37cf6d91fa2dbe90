"""./run simulate: a recording is made once, whole or not at all."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dalf_ros import simulate


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stands in for the simulator; the folders that it was asked to fill."""
    made: list[Path] = []

    def record(folder: Path, frames: int, seed: int) -> None:
        (folder / "bag").mkdir(parents=True)
        made.append(folder)
        if seed == 666:
            raise RuntimeError("the simulator failed")

    monkeypatch.setattr(simulate, "_record", record)
    return made


def test_made_once(recorder: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "demo"
    assert simulate.simulate(target, 10) == simulate.simulate(target, 10) == target / "bag"
    assert len(recorder) == 1 and sorted(path.name for path in tmp_path.iterdir()) == ["demo"]
    with pytest.raises(ValueError, match="'frames': 10"):
        simulate.simulate(target, 11)


def test_nothing_is_left_of_a_failure(recorder: list[Path], tmp_path: Path, command: Callable) -> None:
    code, _, err = command(simulate.main, "--output", tmp_path / "demo", "--seed", 666)
    assert code == 2 and err == "error: the simulator failed\n" and not list(tmp_path.iterdir())


def test_other_folders_are_left_alone(recorder: list[Path], tmp_path: Path, command: Callable) -> None:
    code, _, err = command(simulate.main, "--output", tmp_path)
    assert code == 2 and "holds no simulated recording" in err and not recorder


def test_the_folder_follows_ros_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    assert simulate.default_folder() == tmp_path / "dalf_demo"


def test_arguments_of_ros_are_ignored(recorder: list[Path], tmp_path: Path, command: Callable) -> None:
    code, out, _ = command(simulate.main, "--output", tmp_path / "demo", "--ros-args", "-r", "__ns:=/x")
    assert code == 0 and out == f"recording: {tmp_path / 'demo' / 'bag'}\n"
