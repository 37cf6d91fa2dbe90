"""What a launch file would start, without starting it; and launch files started for real."""
from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "launch"
# What `ros2 launch dalf FILE name:=value ...` does, from a folder that has nothing to do with it.
RUNNER = """
import os, sys
os.chdir("/")
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
arguments = [word.split(":=", 1) for word in sys.argv[2:]]
# Ctrl-C alone is to end them: launch would add SIGTERM after 5 s and SIGKILL after 10, which a busy machine may take
arguments += [("sigterm_timeout", "50"), ("sigkill_timeout", "50")]
service = LaunchService(noninteractive=True)
service.include_launch_description(LaunchDescription(
    [IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments)]))
sys.exit(service.run())
"""


@dataclass(frozen=True)
class Started:
    """One process. words: its command line. parameters: by section, of its parameter files in their order."""

    program: str
    words: list[str]
    parameters: dict[str, dict[str, Any]]

    @property
    def remappings(self) -> dict[str, str]:
        pairs = [self.words[at + 1] for at, word in enumerate(self.words) if word == "-r"]
        return dict(pair.split(":=", 1) for pair in pairs)


@pytest.fixture
def would_start() -> Callable[..., list[Started]]:
    """`would_start("live", color="/my/color")`: the processes of launch/live.launch.py with these arguments."""
    pytest.importorskip("launch_ros", reason="launch_ros is not installed")
    launch = pytest.importorskip("launch")

    def run(name: str, **arguments: str) -> list[Started]:
        spec = importlib.util.spec_from_file_location(f"{name}_launch", FOLDER / f"{name}.launch.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        context = launch.LaunchContext()
        context.launch_configurations.update(arguments)
        found: list[Started] = []
        for entity in module.generate_launch_description().entities:
            _collect(entity, context, found)
        return found

    return run


def _collect(entity: Any, context: Any, found: list[Started]) -> None:
    from launch.utilities import perform_substitutions
    from launch_ros.actions import Node

    if not isinstance(entity, Node):
        for part in entity.visit(context) or []:
            _collect(part, context, found)
        return
    entity._perform_substitutions(context)
    context.extend_locals({"ros_specific_arguments": {"name": "__node:=as_given", "ns": f"__ns:={entity.expanded_node_namespace}"}})
    words = [perform_substitutions(context, part) for part in entity.cmd]
    found.append(Started(Path(words[0]).name, words, _parameters(words)))


def _parameters(words: list[str]) -> dict[str, dict[str, Any]]:
    import yaml

    sections: dict[str, dict[str, Any]] = {}
    for at, word in enumerate(words):
        if word == "--params-file":
            for key, section in yaml.safe_load(Path(words[at + 1]).read_text(encoding="utf-8")).items():
                sections.setdefault(key, {}).update(section["ros__parameters"])
    return sections


@pytest.fixture
def launch_file(ros_process: Callable) -> Callable:
    """`launch_file("live", color="/my/color")`: that installed launch file with real processes, in the test's own ROS domain."""
    pytest.importorskip("launch_ros", reason="launch_ros is not installed")
    packages = pytest.importorskip("ament_index_python.packages")
    try:
        folder = Path(packages.get_package_share_directory("dalf")) / "launch"
    except packages.PackageNotFoundError:
        pytest.skip("dalf is not built")

    def start(name: str, environment: dict[str, str] | None = None, **arguments: object) -> Any:
        words = [f"{key}:={value}" for key, value in arguments.items()]
        return ros_process(sys.executable, "-u", "-c", RUNNER, folder / f"{name}.launch.py", *words, environment=environment)

    return start


@pytest.fixture
def rviz2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package rviz2 that stands in for the real one: its program prints what it is told, and waits."""
    prefix = tmp_path / "rviz_prefix"
    marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / "rviz2"
    marker.parent.mkdir(parents=True)
    marker.touch()
    program = prefix / "lib" / "rviz2" / "rviz2"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "told: $*" >&2\nexec sleep 600\n')
    program.chmod(0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{prefix}{os.pathsep}{os.environ.get('AMENT_PREFIX_PATH', '')}")
    return program
