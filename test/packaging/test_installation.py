"""What the build installs besides Python modules."""
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
packages = pytest.importorskip("ament_index_python.packages")


@pytest.fixture
def prefix() -> Path:
    try:
        return Path(packages.get_package_prefix("dalf"))
    except packages.PackageNotFoundError:
        pytest.skip("dalf is not built")


def test_launch_and_config_are_installed(prefix: Path) -> None:
    for folder in ("launch", "config", "requirements"):
        for source in (ROOT / folder).iterdir():
            if source.is_file():
                assert (prefix / "share" / "dalf" / folder / source.name).read_bytes() == source.read_bytes()


def test_programs_belong_to_modules(prefix: Path) -> None:
    programs = [path for path in (prefix / "lib" / "dalf").iterdir() if path.is_file()]
    assert {"feature_node", "registration_node", "tracker"} <= {path.name for path in programs}
    for program in programs:
        assert os.access(program, os.X_OK)
        module = ROOT / "dalf_ros" / program.name
        assert module.with_suffix(".py").exists() or (module / "__main__.py").exists()


@pytest.mark.parametrize(("missing", "mend"), [
    ("numba", "-m pip install -c <({0}/run requirements constraints) -r <({0}/run requirements core tools)"),
    ("rclpy", "Source ROS 2: source /opt/ros/jazzy/setup.bash"), ("dalf", "source install/setup.bash"),
    ("std_msgs", "Source ROS 2")])
def test_a_missing_module_is_named_with_its_mend(missing: str, mend: str, prefix: Path, tmp_path: Path) -> None:
    """A finder in front of all others hides one module from the installed program."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Hides:\n    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {missing!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hides())\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]), "ROS_DISTRO": "jazzy"}
    done = subprocess.run([sys.executable, prefix / "lib" / "dalf" / "registration_node"], env=environment, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 1, done.stderr
    assert f"registration_node: the Python module {missing!r} is missing for {sys.executable} (Python 3." in done.stderr
    assert mend.format(ROOT) in done.stderr and "Traceback" not in done.stderr


def test_fast_dds_takes_the_profile_without_a_word(prefix: Path, ros_domain: int) -> None:
    profile = str(prefix / "share" / "dalf" / "config" / "fastdds.xml")
    code = "import rclpy; rclpy.init(); rclpy.create_node('profile_test'); rclpy.shutdown()"
    ours = "FASTRTPS" if os.environ.get("ROS_DISTRO", "jazzy") in ("humble", "iron", "jazzy") else "FASTDDS"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_DEFAULT_PROFILES_FILE")}
    environment |= {f"{ours}_DEFAULT_PROFILES_FILE": profile, "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_our_programs_announce_themselves_often(prefix: Path) -> None:
    """Fast DDS lets a newcomer wait for the next announcement of those that are there; its own default is three seconds."""
    profile = ElementTree.parse(prefix / "share" / "dalf" / "config" / "fastdds.xml")
    period = next(element for element in profile.iter() if element.tag.endswith("}leaseAnnouncement"))
    seconds, nanoseconds = (int(next(part for part in period if part.tag.endswith("}" + unit)).text or "") for unit in ("sec", "nanosec"))
    assert 0 < seconds + nanoseconds / 1e9 <= 1
