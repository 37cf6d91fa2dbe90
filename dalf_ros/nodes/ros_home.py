"""A place for the log files of ROS, which starts nothing where it cannot write them: containers, services without a home folder."""
from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def ensure_ros_home() -> None:
    """Where the log folder of ROS cannot be written, make a private temporary one for this process and its children, and say so.

    The log folder is $ROS_LOG_DIR, else $ROS_HOME/log, else ~/.ros/log. Sets ROS_HOME and ROS_LOG_DIR. Call it before rclpy.init().
    """
    try:
        home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
        logs = Path(os.environ.get("ROS_LOG_DIR") or home / "log").expanduser()
        logs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=logs):
            return
    except (OSError, RuntimeError) as error:        # RuntimeError: there is no home
        private = tempfile.mkdtemp(prefix="dalf_ros_")
        os.environ["ROS_HOME"], os.environ["ROS_LOG_DIR"] = private, os.path.join(private, "log")
        print(f"The log folder of ROS cannot be written ({error}): {private} takes its place. Set ROS_HOME to change that.",
              file=sys.stderr)
