"""Files of intrinsics, in the forms that datasets have."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dalf_core.lens import PLUMB_BOB
from dalf_core.recordings.camera_files import find_camera_file, read_camera_file

FX, FY, CX, CY = 525.5, 526.25, 319.5, 239.75
ROWS = [[FX, 0, CX], [0, FY, CY], [0, 0, 1]]


def text(matrix: list[list[float]]) -> str:
    return "\n".join(" ".join(map(str, row)) for row in matrix)


@pytest.mark.parametrize(("name", "content"), [
    ("intrinsics.txt", f"{FX} {FY} {CX} {CY}\n"),
    ("intrinsics.txt", f"# of a camera\n{FX}, {FY}, {CX}, {CY}"),
    ("intrinsics.txt", text(ROWS)),
    ("intrinsics.txt", text([[*row, 0] for row in ROWS] + [[0, 0, 0, 1]])),         # DeepDeform
    ("camera.json", json.dumps({"fx": FX, "fy": FY, "cx": CX, "cy": CY})),
    ("camera_intrinsic.json", json.dumps({"intrinsic_matrix": list(np.array(ROWS).T.reshape(-1))})),
])
def test_every_form(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    lens = read_camera_file(find_camera_file(tmp_path), (640, 480))
    camera = lens.camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height) == (FX, FY, CX, CY, 640, 480) and lens.is_pinhole


def test_open3d_writes_what_is_read(tmp_path: Path) -> None:
    """Its matrix is by columns."""
    open3d = pytest.importorskip("open3d")
    path = tmp_path / "camera_intrinsic.json"
    open3d.io.write_pinhole_camera_intrinsic(str(path), open3d.camera.PinholeCameraIntrinsic(320, 240, FX, FY, CX, CY))
    camera = read_camera_file(path, (640, 480)).camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height) == (FX, FY, CX, CY, 320, 240)


def test_distortion(tmp_path: Path) -> None:
    path = tmp_path / "camera.json"
    path.write_text(json.dumps({"fx": FX, "fy": FY, "cx": CX, "cy": CY, "width": 640, "height": 480, "distortion": [0.1, -0.2, 0, 0, 0]}))
    lens = read_camera_file(path, (1, 1))
    assert lens.model == PLUMB_BOB and lens.coefficients == (0.1, -0.2, 0, 0, 0) and lens.camera.width == 640


@pytest.mark.parametrize(("name", "content", "words"), [
    ("a.txt", "1 2 3", "3 numbers"), ("a.txt", "fx fy", "could not convert"), ("a.txt", "", "0 numbers"),
    ("a.txt", text([[FX, 3, CX], [0, FY, CY], [0, 0, 1]]), "not of the form"), ("a.txt", "-1 2 3 4", "positive"),
    ("a.json", "{", "camera file that can be read"), ("a.json", "[]", "no JSON object"), ("a.json", '{"fx": 1}', "fy"),
])
def test_what_is_no_camera_is_named(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_camera_file(tmp_path / name, (640, 480))
    assert name in str(caught.value) and "fx fy cx cy" in str(caught.value)
