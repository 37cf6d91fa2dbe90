"""A surface as Wavefront OBJ, with the vertex colours that MeshLab, Blender and Open3D read."""
from __future__ import annotations

import os

import numpy as np

from .whole_file import write_whole


def save_obj(path: str | os.PathLike, vertices: np.ndarray, triangles: np.ndarray, colors: np.ndarray | None = None,
             normals: np.ndarray | None = None) -> None:
    """Write an OBJ: lines `v x y z [r g b]` (metres, colours 0 to 1), `vn x y z`, `f a//a b//b c//c`. Whole or not at all. Raises OSError.

    vertices, normals: (V, 3). triangles: (F, 3) indices from 0 (the file counts from 1). colors: (V, 3) uint8 RGB.
    """
    table = np.asarray(vertices, float) if colors is None else np.hstack([np.asarray(vertices, float), np.asarray(colors, float) / 255.0])
    parts = ["# metres, camera optical frame (x right, y down, z forward)", _rows("v", table, "%.6f")]
    numbers = np.asarray(triangles, np.int64).reshape(-1, 3) + 1
    if normals is None:
        parts.append(_rows("f", numbers, "%d"))
    else:
        parts += [_rows("vn", np.asarray(normals, float), "%.5f"), _rows("f", numbers.repeat(2, axis=1), "%d//%d", 2)]
    write_whole(path, ("\n".join(part for part in parts if part) + "\n").encode())


def _rows(word: str, table: np.ndarray, numbers: str, together: int = 1) -> str:
    """One line a row: the word and its numbers, each `together` of them written as `numbers` says."""
    line = " ".join([word, *[numbers] * (table.shape[1] // together)])
    return "\n".join(line % tuple(row) for row in table.tolist())
