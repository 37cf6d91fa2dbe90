"""A program that lacks a Python module says so in two lines, with the mend, instead of a traceback."""
from __future__ import annotations

import os
import sys
from pathlib import Path

OWN = {"dalf", "dalf_core", "dalf_ros", "dalf_training"}
OF_ROS = {"rclpy", "ament_index_python", "rosidl_runtime_py", "rosidl_parser", "rpyutils", "rcl_interfaces", "builtin_interfaces",
          "launch", "launch_ros"}


def told(error: ModuleNotFoundError, program: str) -> int:
    """Tell on standard error. Returns the exit status."""
    print(text(error, program), file=sys.stderr)
    return 1


def text(error: ModuleNotFoundError, program: str) -> str:
    """What is missing, for whom, and what to type."""
    module = (error.name or str(error)).partition(".")[0]
    return (f"{program}: the Python module {module!r} is missing for {sys.executable} "
            f"(Python {sys.version_info.major}.{sys.version_info.minor}).\n{_mend(module)}")


def _mend(module: str) -> str:
    if module in OWN:
        return "Source the workspace that dalf is built in: source install/setup.bash"
    if module in OF_ROS or module.endswith(("_msgs", "_srvs")):
        return f"Source ROS 2: source /opt/ros/{os.environ.get('ROS_DISTRO', 'jazzy')}/setup.bash; if that is done, " \
               "rosdep install --from-paths src --ignore-src installs what its packages lack"
    return f"Install what dalf needs: {sys.executable} -m pip install {_requirements()}"


def _requirements() -> str:
    """Arguments for pip: by ./run beside the source, which knows for which NumPy an installed ROS is built; or the files in share/dalf."""
    source = Path(__file__).resolve().parents[2]
    if (source / "run").is_file():
        return f"-c <({source}/run requirements constraints) -r <({source}/run requirements core tools)"
    installed = [Path(prefix) / "share" / "dalf" for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    folder = next((place / "requirements" for place in installed if (place / "requirements").is_dir()), Path("requirements"))
    return f"-c {folder}/constraints.txt -r {folder}/core.txt -r {folder}/tools.txt"
