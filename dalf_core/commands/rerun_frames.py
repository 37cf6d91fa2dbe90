"""Frames of `video` for the Rerun viewer."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..drawing.draw import as_bgr
from ..viewing.flat_mesh import FlatMesh
from ..viewing.rerun_log import RerunLog

if TYPE_CHECKING:
    from ..tracking.template_tracking import TemplateFrame


def log_frame(log: RerunLog, mesh: FlatMesh, number: int, time_s: float, image: np.ndarray, frame: TemplateFrame) -> None:
    """One frame: its image, the matches that the map agrees with, the template as a flat mesh (in widths of the image)."""
    log.frame(number, time_s)
    log.image(as_bgr(image))
    log.status(frame.method if frame.warp is not None else f"{frame.method}: {frame.reason}")
    if frame.warp is None:
        log.matches(np.zeros((0, 2)), np.zeros((0, 2)))
        return
    use = frame.warp.inlier
    log.matches(frame.warp.template_xy[use], frame.warp.image_xy[use])
    vertices, visible = mesh.moved(frame.warp)
    log.surface(vertices, mesh.triangles, mesh.colors, visible)
    if np.isfinite(frame.zncc):
        log.scalar("zncc", frame.zncc)
