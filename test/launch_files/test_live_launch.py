"""live.launch.py: which programs it starts and what they are told. Skipped where launch_ros is not installed."""
import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("launch_ros")
launch = pytest.importorskip("launch")

FILE = Path(__file__).parents[2] / "launch" / "live.launch.py"


def commands(**arguments: str) -> list[str]:
    """Command lines of the nodes that the launch file would start with these launch arguments."""
    from launch.utilities import perform_substitutions
    from launch_ros.actions import Node

    spec = importlib.util.spec_from_file_location("live_launch", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    context = launch.LaunchContext()
    context.launch_configurations.update(arguments)
    lines = []
    for entity in module.generate_launch_description().entities:
        if isinstance(entity, Node):
            if entity.condition.evaluate(context):
                entity._perform_substitutions(context)
                lines.append(" ".join(perform_substitutions(context, part) for part in entity.cmd))
        else:
            entity.visit(context)
    return lines


def test_one_process_by_default() -> None:
    (line,) = commands()
    assert line.split()[0].endswith("lib/dalf/tracker")


def test_two_processes_when_asked() -> None:
    names = {line.split()[0].rpartition("/")[2] for line in commands(separate="true")}
    assert names == {"feature_node", "registration_node"}


def test_topics_are_remapped() -> None:
    (line,) = commands(color="/my/color", depth="/my/depth", camera_info="/my/info")
    for rule in ("image:=/my/color", "depth:=/my/depth", "camera_info:=/my/info"):
        assert f"-r {rule}" in line
