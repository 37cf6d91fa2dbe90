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
