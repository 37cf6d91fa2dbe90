"""What a report shows of a run: what was measured of each frame, the surface in each, pictures."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..types import PointTrack
from .film import Film


@dataclass(frozen=True)
class MeshSequence:
    """One reference surface, followed. Metres, camera optical frame (x right, y down, z away).

    triangles: (F, 3) counter-clockwise seen from the camera. reference: (V, 3). colors: (V, 3) uint8 RGB or None.
    frames: (T,) numbers of the run's frames, ascending. vertices: (T, V, 3). visible: (T, V) bool.
    deviation: (T, V) standard deviation of the position in metres, NaN where it is not known; None: of no frame.
    """

    triangles: np.ndarray
    reference: np.ndarray
    colors: np.ndarray | None
    frames: np.ndarray
    vertices: np.ndarray
    visible: np.ndarray
    deviation: np.ndarray | None = None


@dataclass(frozen=True)
class RunReport:
    """name: of the run. frames, summary, options: as metrics.json has them. sheet: JPEG. notes: what the reader must be told.

    points: the named ones, by name, where there is a surface.
    """

    name: str
    frames: list[dict[str, Any]]
    summary: dict[str, Any]
    options: dict[str, Any]
    sequences: list[MeshSequence] = field(default_factory=list)
    sheet: bytes | None = None
    film: Film | None = None
    notes: list[str] = field(default_factory=list)
    points: Mapping[str, PointTrack] = field(default_factory=dict)


@dataclass(frozen=True)
class RunLine:
    """One run in an index. link: to its report, a relative path; thumbnail: JPEG; problem: why there is no report, else empty."""

    name: str
    link: str
    summary: dict[str, Any]
    thumbnail: bytes | None = None
    problem: str = ""
