"""What of a frame of `video` is logged."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core.commands.rerun_frames import log_frame
from dalf_core.image_registration.image_warp import fit_image_warp
from dalf_core.tracking.template_tracking import TemplateFrame
from dalf_core.viewing.flat_mesh import FlatMesh


class Log:
    """Keeps the arguments of what is called."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple] = {}

    def __getattr__(self, name: str):
        return lambda *arguments: self.calls.__setitem__(name, arguments)


def test_a_registered_frame_and_a_lost_one():
    x, y = np.meshgrid(np.arange(8, 60, 8.0), np.arange(8, 40, 8.0))
    xy = np.stack([x, y], axis=-1).reshape(-1, 2)
    moved = xy + [3, -2]
    moved[0] += 40                                  # a wrong match
    warp, image = fit_image_warp(xy, moved, (64, 48), (64, 48)), np.full((48, 64), 9, np.uint8)
    log, mesh = Log(), FlatMesh.of(image)
    log_frame(log, mesh, 4, 0.5, image, TemplateFrame("direct", "", None, None, 0, warp, 0.75))
    assert log.calls["frame"] == (4, 0.5) and log.calls["image"][0].tolist() == np.full((48, 64, 3), 9).tolist()
    assert log.calls["status"] == ("direct",) and log.calls["scalar"] == ("zncc", 0.75)
    start, end = log.calls["matches"]
    assert len(start) == len(xy) - 1 and end - start == pytest.approx(np.tile([3, -2], (len(start), 1)))
    vertices, triangles, _, visible = log.calls["surface"]
    middle = len(vertices) // 2
    assert visible[middle] and vertices[middle, :2] * 64 == pytest.approx(mesh.xy[middle] + [3, -2], abs=0.1)
    assert triangles is mesh.triangles

    log = Log()
    log_frame(log, mesh, 5, 0.6, image, TemplateFrame("lost", "too dark", None, None, 0, None, float("nan")))
    assert log.calls["status"] == ("lost: too dark",) and [len(part) for part in log.calls["matches"]] == [0, 0]
    assert "surface" not in log.calls and "scalar" not in log.calls
