"""What the build installs besides Python modules."""
import os
import subprocess
import sys
from pathlib import Path

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
    for folder in ("launch", "config"):
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


def test_fast_dds_takes_the_profile_without_a_word(prefix: Path, ros_domain: int) -> None:
    profile = str(prefix / "share" / "dalf" / "config" / "fastdds.xml")
    code = "import rclpy; rclpy.init(); rclpy.create_node('profile_test'); rclpy.shutdown()"
    environment = {**os.environ, "FASTRTPS_DEFAULT_PROFILES_FILE": profile, "FASTDDS_DEFAULT_PROFILES_FILE": profile,
                   "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
