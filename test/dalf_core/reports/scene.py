"""A run of a sheet whose every vertex is known."""
from __future__ import annotations

from typing import Any

import numpy as np

from dalf_core.reports.run_report import MeshSequence, RunReport
from dalf_core.types import PointTrack


def grid(columns: int, rows: int, spacing: float = 0.02, z: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (F, 3), counter-clockwise seen from the camera, and vertices (V, 3) of a flat sheet around the optical axis, row by row."""
    x, y = np.meshgrid((np.arange(columns) - (columns - 1) / 2) * spacing, (np.arange(rows) - (rows - 1) / 2) * spacing)
    number = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    triangles = np.concatenate([np.stack([a, c, b], axis=-1).reshape(-1, 3), np.stack([b, c, d], axis=-1).reshape(-1, 3)])
    return triangles, np.stack([x, y, np.full_like(x, z)], axis=-1).reshape(-1, 3)


def frame(number: int, status: str = "tracked", **more: Any) -> dict[str, Any]:
    """One of metrics.json's."""
    known = {"stamp": 1.7e9 + number / 10, "stamp_ns": 1_700_000_000_000_000_000 + number * 100_000_000, "status": status, "reason": "",
             "gap_s": 0.0, "matches": 300 + number, "verified": 250, "inliers": 200, "residual_m": 0.0005, "is_reference": number == 0,
             "milliseconds": {"extract": 20.0, "match": 5.0, "register": 30.0, "write": 4.0}}
    return known | more


def sequence(frames: np.ndarray, columns: int = 12, rows: int = 8, deviation: bool = True) -> MeshSequence:
    """A sheet that moves 2 mm to the right a frame and bends; its left half is red, its right half blue; the top row is not seen."""
    triangles, rest = grid(columns, rows)
    shift = np.arange(len(frames))[:, None] * 0.002
    vertices = np.repeat(rest[None], len(frames), axis=0)
    vertices[..., 0] += shift
    vertices[..., 2] += shift * 20 * rest[:, 0] ** 2
    visible = np.ones(vertices.shape[:2], bool)
    visible[:, :columns] = False
    colors = np.where(rest[:, :1] < 0, [[220, 30, 20]], [[20, 40, 230]]).astype(np.uint8)
    sure = np.full(visible.shape, 0.0004, np.float32)
    sure[~visible] = 0.02
    sure[0] = np.nan
    return MeshSequence(triangles, rest.astype(np.float32), colors, np.asarray(frames), vertices.astype(np.float32), visible,
                        sure if deviation else None)


def track(length: int) -> PointTrack:
    """Of a point 50 mm to the right and 30 mm above the axis in frame 0 that moves left by 3 mm a frame; hidden from frame 20 on, not known
    in frame 4."""
    position = np.tile(np.float32([0.05, -0.03, 0.6]), (length, 1)) - np.arange(length)[:, None] * np.float32([0.003, 0, 0])
    position[4:5] = np.nan
    return PointTrack(position, np.arange(length) < 20)


def report(length: int = 40, **more: Any) -> RunReport:
    """A run of so many frames, the surface in all of them; frames 5 to 7 lost."""
    entries = [frame(number) for number in range(length)]
    for number in range(5, min(8, length)):
        entries[number] |= {"status": "lost", "reason": "only 3 matches", "residual_m": None}
    summary = {"frames": length, "median_residual_m": 0.0005, "median_matches": 310.0, "median_inliers": 200.0, "frames_per_second": 4.0,
               "recording": "a/recording.mcap", "interrupted": False}
    return RunReport(**{"name": "the run", "frames": entries, "summary": summary, "options": {"device": "cpu"},
                        "sequences": [sequence(np.arange(length))]} | more)
