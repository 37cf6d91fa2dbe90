"""Every command that writes has a place for it that need not be named: below out/."""
from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest


@pytest.mark.parametrize(("module", "arguments", "output"), [
    ("dalf_core.commands.match", ["a.png", "b.png"], "out/matches.png"),
    ("dalf_core.commands.video", ["film.mp4"], "out/registered.mp4"),
    ("dalf_core.commands.export", [], "out/dalf.onnx"),
    ("dalf_ros.many.command", ["bags"], "out/many"),
    ("dalf_ros.export_dataset", ["run"], "out/dataset"),
    ("dalf_ros.rviz_picture", ["out/demo/registration/results"], "out/rviz.png"),
    ("dalf_training.command", ["--images", "photos"], "out/training"),
])
def test_output_need_not_be_named(module: str, arguments: list[str], output: str) -> None:
    assert importlib.import_module(module).parser().parse_args(arguments).output == Path(output)


def test_recordings_are_named_by_the_time() -> None:
    from dalf_ros.record import default_output, parser

    assert parser().parse_args(["/matches"]).output is None
    assert re.fullmatch(r"out/recording_20\d\d_\d\d_\d\d-\d\d_\d\d_\d\d", default_output().as_posix())
