"""./run from the outside: exit statuses, environment, call by another path. It runs inside the environment it made."""
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "run"
pytestmark = pytest.mark.skipif(not (RUN.parent / ".dalf" / "built").exists(), reason="the package was not built through ./run")


def run(*arguments: str, program: Path = RUN, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], cwd=folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)


def test_help_names_every_command() -> None:
    text = run("help").stdout
    for command in ("demo", "simulate", "register", "register-many", "report", "export-dataset", "play", "record", "match", "video",
                    "train", "evaluate", "export", "test", "build", "exec", "shell"):
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


def function(name: str) -> str:
    """The text of one shell function of ./run."""
    text = RUN.read_text(encoding="utf-8")
    start = text.index(f"\n{name}() {{")
    return text[start:text.index("\n}\n", start) + 2]


@pytest.mark.parametrize(("python", "with_ros", "taken"), [
    ("3.14", "yes", True), ("3.14", "", False), ("3.13", "", True), ("3.12", "yes", True), ("3.15", "yes", False), ("3.9", "", False)])
def test_which_python(tmp_path: Path, python: str, with_ros: str, taken: bool) -> None:
    """3.14 belongs to Lyrical's Ubuntu; the ROS wheels end at 3.13."""
    fake = tmp_path / "python3"
    version = tuple(map(int, python.split(".")))
    fake.write_text(f'#!/bin/sh\nshift; code=$1; shift\nexec {sys.executable} -c "import sys; sys.version_info = {version}\n$code" "$@"\n',
                    encoding="utf-8")
    fake.chmod(0o755)
    text = function("find_python").replace("/usr/bin/python3", str(fake)).replace("python3.{13,12,11,10}", "")
    done = subprocess.run(["bash", "-euc", f'uses_installed_ros() {{ [[ "{with_ros}" ]]; }}; {text}; find_python'], capture_output=True,
                          text=True, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert (done.returncode, done.stdout.strip()) == ((0, str(fake)) if taken else (1, "")), done.stderr


def found_ros(**environment: str) -> subprocess.CompletedProcess[str]:
    """What find_ros says where no ROS is in /opt/ros, in an environment that names none but what is given."""
    text = function("find_ros").replace("/opt/ros/", "/nowhere/")
    script = f'venv=/our/venv; die() {{ echo "$@" >&2; exit 1; }}; {text}; find_ros; echo "$ros_setup|$wheels"'
    kept = {name: value for name, value in os.environ.items() if name not in ("AMENT_PREFIX_PATH", "ROS_DISTRO")}
    return subprocess.run(["bash", "-euc", script], capture_output=True, text=True, env={**kept, **environment})


def test_a_ros_that_is_not_there_is_named() -> None:
    done = found_ros(ROS_DISTRO="lyrical")
    assert done.returncode == 1 and "ROS_DISTRO is lyrical" in done.stderr and "unset ROS_DISTRO" in done.stderr


@pytest.mark.parametrize(("environment", "group"), [
    ({}, "ros-wheels"), ({"ROS_DISTRO": "jazzy"}, "ros-wheels"), ({"ROS_DISTRO": "kilted"}, "ros-wheels-kilted"),
    ({"ROS_DISTRO": "kilted", "AMENT_PREFIX_PATH": "/a:/our/venv"}, "ros-wheels-kilted"),       # ./run in ./run
    ({"ROS_DISTRO": "kilted", "AMENT_PREFIX_PATH": "/my/ros"}, ""), ({"ROS_DISTRO": "rolling", "AMENT_PREFIX_PATH": "/my/ros"}, "")])
def test_which_ros(environment: dict[str, str], group: str) -> None:
    """Wheels of Jazzy, or of Kilted where it is asked for; none where a ROS is sourced."""
    done = found_ros(**environment)
    assert (done.returncode, done.stdout) == (0, f"|{group}\n"), done.stderr
    assert not group or (RUN.parent / "requirements" / f"{group}.txt").is_file()


@pytest.mark.parametrize(("machine", "ros", "refused"), [("aarch64", "", True), ("x86_64", "", False), ("aarch64", "/my/ros", False)])
def test_wheels_of_ros_are_for_one_kind_of_processor(machine: str, ros: str, refused: bool) -> None:
    script = (f"wheels={'' if ros else 'ros-wheels'}; uname() {{ echo {machine}; }}; {function('require_wheels')}; "
              'uses_installed_ros() { [[ ! $wheels ]]; }; die() { echo "$@" >&2; exit 1; }; require_wheels')
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True)
    assert done.returncode == refused
    assert not refused or "x86_64 alone, and this machine is aarch64" in done.stderr and "pip install" in done.stderr


@pytest.mark.parametrize(("machine", "packages"), [("x86_64", "libegl1"), ("aarch64", "libegl1 libgfortran5")])
def test_system_packages(machine: str, packages: str) -> None:
    """What ldconfig does not list; that of Open3D on ARM alone."""
    there = "".join(f"\\t{name} (libc6) => /lib/{name}\\n" for name in ("libGL.so.1", "libX11.so.6", "libgomp.so.1", "libusb-1.0.so.0"))
    script = (f"uname() {{ echo {machine}; }}; ldconfig() {{ printf '{there}'; }}; find_python() {{ echo {sys.executable}; }}; "
              f"{function('missing_system_packages')}; missing_system_packages | grep ^lib")
    done = subprocess.run(["bash", "-uc", script], capture_output=True, text=True)
    assert done.stdout.split() == packages.split(), done.stderr


def test_kilted_goes_without_the_constraints_of_jazzys_packages() -> None:
    text = function("pins")
    for wheels, kept in (("ros-wheels", True), ("ros-wheels-kilted", False)):
        script = f'root={shlex.quote(str(RUN.parent))} numpy=2 wheels={wheels}; {text}; pins constraints'
        done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True)
        lines = done.stdout.splitlines()
        assert done.returncode == 0 and len(lines) > 100 and any(line.startswith("ros-") for line in lines) == kept


@pytest.mark.parametrize(("environment", "expected"), [
    ({}, "root/config/fastdds.xml|"), ({"ROS_DISTRO": "jazzy"}, "root/config/fastdds.xml|"),
    ({"ROS_DISTRO": "kilted"}, "|root/config/fastdds.xml"), ({"ROS_DISTRO": "lyrical"}, "|root/config/fastdds.xml"),
    ({"FASTRTPS_DEFAULT_PROFILES_FILE": "mine"}, "mine|"), ({"ROS_DISTRO": "lyrical", "FASTRTPS_DEFAULT_PROFILES_FILE": "mine"}, "mine|"),
    ({"ROS_DISTRO": "lyrical", "FASTDDS_DEFAULT_PROFILES_FILE": "mine"}, "|mine")])
def test_fast_dds_reads_its_profile_by_its_own_variable(environment: dict[str, str], expected: str) -> None:
    """Fast DDS 3 warns about the variable of Fast DDS 2."""
    script = (f'root=root; {function("choose_fast_dds_profile")}; choose_fast_dds_profile; '
              'echo "${FASTRTPS_DEFAULT_PROFILES_FILE:-}|${FASTDDS_DEFAULT_PROFILES_FILE:-}"')
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, env={"PATH": os.environ["PATH"], **environment})
    assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr


@pytest.mark.parametrize(("arguments", "expected"), [
    (["clip.mp4", "--rerun", "serve"], "rerun"), (["--rerun=a run.rrd", "clip.mp4"], "rerun"), (["clip.mp4", "--rerun", "out.png"], ""),
    (["clip.mp4", "--rerun"], ""), (["--rerun", "server"], ""), (["rerun.mp4", "--output", "x.rrd"], "")])
def test_the_viewer_is_installed_for_those_who_can_have_it(arguments: list[str], expected: str) -> None:
    done = subprocess.run(["bash", "-euc", f'{function("viewer")}; viewer "$@"', "run", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, expected, "")
