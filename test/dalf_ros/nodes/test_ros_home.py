"""Where the log folder of ROS cannot be written."""
from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dalf_ros.nodes.ros_home import ensure_ros_home


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ROS_HOME", "ROS_LOG_DIR"):
        monkeypatch.setenv(name, "")            # so that what the function sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize("name", ["HOME", "ROS_HOME", "ROS_LOG_DIR"])
def test_a_private_folder_takes_its_place_once(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv(name, "/dev/null/somewhere")
    ensure_ros_home()
    made, = tmp_path.glob("dalf_ros_*")
    assert os.environ["ROS_HOME"] == str(made) and os.environ["ROS_LOG_DIR"] == str(made / "log") and made.stat().st_mode & 0o077 == 0
    told = capsys.readouterr().err
    assert "/dev/null/somewhere" in told and str(made) in told
    ensure_ros_home()
    assert capsys.readouterr().err == "" and len(list(tmp_path.glob("dalf_ros_*"))) == 1


def test_a_folder_that_can_be_written_stays(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ensure_ros_home()
    assert "ROS_HOME" not in os.environ and "ROS_LOG_DIR" not in os.environ and capsys.readouterr().err == ""


def test_a_node_starts_without_a_home(ros_process, tmp_path: Path) -> None:
    node = ros_process("dalf_ros.registration_node", "--ros-args", "-p", "autostart:=false",
                       environment={"HOME": "/dev/null", "ROS_HOME": "", "ROS_LOG_DIR": "", "TMPDIR": str(tmp_path)})
    node.wait_for_output("takes its place", 60)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("dalf_ros_*/log/*")) and time.monotonic() < deadline and node.process.poll() is None:
        time.sleep(0.1)
    assert list(tmp_path.glob("dalf_ros_*/log/*")) and node.stop() in (0, 130), node.output
