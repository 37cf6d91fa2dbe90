"""Intrinsics from a file: what datasets and Open3D put beside their pictures."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..camera import PinholeCamera
from ..lens import PINHOLE, PLUMB_BOB, Lens

NAMES = ("intrinsics.txt", "camera.json", "camera_intrinsic.json", "intrinsic.json", "intrinsics.json", "intrinsic.txt", "camera.txt")
FORMS = ("a text file of fx fy cx cy or of a 3x3 or 4x4 matrix, or JSON with fx, fy, cx, cy (and distortion: k1, k2, p1, p2, k3), or with "
         "intrinsic_matrix as Open3D writes it")


def find_camera_file(folder: Path) -> Path | None:
    """The file of intrinsics in a folder, by its name; None where there is none."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def read_camera_file(path: Path, size: tuple[int, int]) -> Lens:
    """The camera that a file tells, for images of size (width, height) if the file does not say of which. ValueError, OSError."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        if path.suffix.lower() == ".json":
            return _from_json(json.loads(text), size)
        return Lens(_pinhole(_numbers(text), size))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no camera file that can be read ({error}): it must be {FORMS}") from None


def read_intrinsics(text: str, size: tuple[int, int]) -> Lens:
    """What --intrinsics says: fx,fy,cx,cy, or a file, for images of size (width, height). ValueError, OSError."""
    if Path(text).is_file():
        return read_camera_file(Path(text), size)
    try:
        fx, fy, cx, cy = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--intrinsics {text}: neither fx,fy,cx,cy nor a file") from None
    return Lens(PinholeCamera(fx, fy, cx, cy, *size))


def _numbers(text: str) -> np.ndarray:
    lines = (line.split("#")[0].replace(",", " ").split() for line in text.splitlines())
    return np.array([float(word) for words in lines for word in words])


def _pinhole(numbers: np.ndarray, size: tuple[int, int]) -> PinholeCamera:
    """fx, fy, cx, cy of so many numbers: those four, or a matrix by rows."""
    side = {9: 3, 16: 4}.get(len(numbers))
    if side is None and len(numbers) != 4:
        raise ValueError(f"it holds {len(numbers)} numbers")
    matrix = None if side is None else numbers.reshape(side, side)
    if matrix is None:
        fx, fy, cx, cy = numbers
        return PinholeCamera(fx, fy, cx, cy, *size)
    if abs(matrix[0, 1]) > 1e-6 * abs(matrix[0, 0]) or abs(matrix[1, 0]) > 0 or not np.allclose(matrix[2, :3], [0, 0, 1]):
        raise ValueError("its matrix is not of the form fx 0 cx, 0 fy cy, 0 0 1")
    return PinholeCamera(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], *size)


def _from_json(camera: Any, size: tuple[int, int]) -> Lens:
    """Ours and Open3D's, whose matrix is by columns, as a list of 9."""
    if not isinstance(camera, dict):
        raise ValueError("it is no JSON object")
    size = (int(camera.get("width", size[0])), int(camera.get("height", size[1])))
    if "intrinsic_matrix" in camera:
        matrix = np.array(camera["intrinsic_matrix"], float)
        return Lens(_pinhole((matrix.reshape(3, 3).T if matrix.ndim == 1 else matrix).reshape(-1), size))
    distortion = tuple(float(value) for value in camera.get("distortion", ()))
    fx, fy, cx, cy = (float(camera[name]) for name in ("fx", "fy", "cx", "cy"))
    pinhole = PinholeCamera(fx, fy, cx, cy, *size)
    return Lens(pinhole, PLUMB_BOB if any(distortion) else PINHOLE, distortion if any(distortion) else ())
