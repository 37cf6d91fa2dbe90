"""The simulation's one way to Open3D."""
from __future__ import annotations

import sys

import numpy as np
import pytest

from dalf_ros.simulation.ray_casting import ray_casting_scene


def test_without_open3d_the_error_names_cause_and_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs Open3D.*Python 3\.14.*3\.10 to 3\.13"):
        ray_casting_scene()


def test_a_ray_meets_the_triangle_where_it_must() -> None:
    pytest.importorskip("open3d")
    scene = ray_casting_scene(threads=1)
    scene.add_triangles(np.array([[-1, -1, 2], [1, -1, 2], [0, 1, 2]], np.float32), np.array([[0, 1, 2]], np.uint32))
    hits = scene.cast_rays(np.array([[0, 0, 0, 0, 0, 1], [5, 0, 0, 0, 0, 1]], np.float32))["t_hit"].numpy()
    assert hits[0] == pytest.approx(2.0) and np.isinf(hits[1])
