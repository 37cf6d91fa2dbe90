"""./run from the outside: exit statuses, environment, call by another path. It runs inside the environment it made."""
import os
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "run"
pytestmark = pytest.mark.skipif(not (RUN.parent / ".dalf" / "built").exists(), reason="the package was not built through ./run")


def run(*arguments: str, program: Path = RUN, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], cwd=folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)


def test_help_names_every_command() -> None:
    text = run("help").stdout
    for command in ("demo", "simulate", "register", "play", "record", "match", "video", "train", "evaluate", "export", "test", "build",
                    "exec", "shell"):
        assert f"\n  {command} " in text


def test_unknown_command_is_refused() -> None:
    done = run("fly")
    assert done.returncode == 2
    assert "fly" in done.stderr


def test_exec_keeps_folder_arguments_and_exit_status(tmp_path: Path) -> None:
    done = run("exec", "bash", "-c", 'pwd; printf "%s|" "$@"; exit 7', "_", "a b", "", "*", folder=tmp_path)
    assert done.returncode == 7
    assert done.stdout == f"{tmp_path}\na b||*|"


def test_through_a_link_from_elsewhere(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(RUN)
    done = run("exec", "python", "-c", "import dalf.msg, dalf_core; print(dalf_core.__file__)", program=link, folder=tmp_path)
    assert Path(done.stdout.strip()).resolve().parent == RUN.parent / "dalf_core", done.stderr


def test_what_the_user_set_is_kept(tmp_path: Path) -> None:
    command = ("exec", "bash", "-c", "echo $ROS_AUTOMATIC_DISCOVERY_RANGE $OPENBLAS_NUM_THREADS")
    assert run(*command, ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET", OPENBLAS_NUM_THREADS="3").stdout.split() == ["SUBNET", "3"]


LOGS = "import rclpy, os; rclpy.init(); rclpy.shutdown(); print(len(os.listdir(os.environ['ROS_LOG_DIR'])))"


def test_without_a_home_folder(tmp_path: Path) -> None:
    """As in containers and services: ROS starts all the same, and writes its logs to a folder that is nobody else's."""
    done = run("exec", "python", "-c", LOGS, HOME="/dev/null", TMPDIR=str(tmp_path))
    assert done.returncode == 0 and int(done.stdout) >= 0, done.stderr
    made, = tmp_path.glob("dalf_ros_*")
    assert f"The log folder of ROS, /dev/null/.ros/log, cannot be written: {made} takes its place" in done.stderr
    assert made.stat().st_mode & 0o077 == 0
    kept = run("exec", "bash", "-c", "echo ${ROS_LOG_DIR:-unset}", HOME=str(tmp_path))
    assert kept.stdout.strip() == "unset" and "log folder" not in kept.stderr


def test_a_middleware_that_is_not_installed_is_named() -> None:
    done = run("play", "/nowhere.mcap", RMW_IMPLEMENTATION="rmw_cyclonedds_cpp")
    assert done.returncode == 1 and "RMW_IMPLEMENTATION is rmw_cyclonedds_cpp, which is not installed. Unset it, or: " in done.stderr
    warned = run("exec", "true", RMW_IMPLEMENTATION="rmw_cyclonedds_cpp")
    assert warned.returncode == 0 and "rmw_cyclonedds_cpp" in warned.stderr
    for fine in ("", "rmw_fastrtps_cpp"):
        assert "RMW_IMPLEMENTATION" not in run("exec", "true", RMW_IMPLEMENTATION=fine).stderr


def test_the_numpy_line_is_one_of_two() -> None:
    done = run("exec", "true", DALF_NUMPY="3")
    assert done.returncode == 1 and "DALF_NUMPY is 3; it must be 1 or 2" in done.stderr


def test_pins_of_both_numpy_lines() -> None:
    """The files as they are, or with the packages of numpy1.txt in place of the same ones."""
    lines = {numpy: run("requirements", "core", "constraints", DALF_NUMPY=numpy).stdout.splitlines() for numpy in "12"}
    core, constraints, instead = ((RUN.parent / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
                                  for name in ("core", "constraints", "numpy1"))
    assert lines["2"] == core + constraints
    instead = [line for line in instead if not line.startswith("#")]
    for before, after in zip(lines["2"], lines["1"], strict=True):
        assert after == before or (after in instead and after.partition("==")[0] == before.partition("==")[0])
    assert set(instead) <= set(lines["1"])


def test_requirements_of_no_such_group() -> None:
    done = run("requirements", "core", "cores")
    assert (done.returncode, done.stdout) == (1, "") and "requirements/cores.txt" in done.stderr
