"""What of a frame of `register` is logged: through the command, read back from the file by Rerun."""
from __future__ import annotations

import json

import numpy as np
import pytest

from dalf_ros.register import main

pytest.importorskip("rerun", reason="rerun-sdk is not installed: pip install -r requirements/rerun.txt")

from ...dalf_core.viewing.test_rerun_log import logged  # noqa: E402


def test_register_writes_what_it_saw(official_weights, rgbd_bag, tmp_path, command):
    path = tmp_path / "run.rrd"
    status, _, errors = command(main, rgbd_bag, "--output", tmp_path / "out", "--rerun", path, "--no-video",
                                "--max-frames", 3)
    assert status == 0, errors
    frames = json.loads((tmp_path / "out" / "metrics.json").read_text())["frames"][:3]
    rows = logged(path)
    assert [row[0] for row in rows["/image"]] == [0, 1, 2]
    assert [row[1] for row in rows["/image"]] == pytest.approx([frame["stamp"] - frames[0]["stamp"] for frame in frames], abs=1e-6)
    assert [row[2]["TextLog:text"][0] for row in rows["/status"]] == [frame["status"] for frame in frames]
    vertices = np.array(rows["/surface"][-1][2]["Mesh3D:vertex_positions"])
    assert vertices.shape[1] == 3 and 0.1 < np.median(vertices[:, 2]) < 5
