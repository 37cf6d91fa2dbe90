"""Frames of a registration run for the Rerun viewer."""
from __future__ import annotations

import numpy as np

from dalf_core.drawing.draw import as_bgr
from dalf_core.viewing.rerun_log import RerunLog

from .run_pictures import Shot


def log_shot(log: RerunLog, shot: Shot, time_s: float, status: str) -> None:
    """One frame. time_s: seconds from the first one."""
    log.frame(shot.number, time_s)
    log.image(as_bgr(shot.image))
    log.status(status)
    matches = shot.features.matches if shot.features else None
    if matches is not None:
        use = matches.matches.inlier
        scale = np.array(matches.image_size, float) / matches.reference_image_size
        log.matches(matches.reference_xy[use] * scale, matches.query_xy[use])
    result = shot.surface.registration if shot.surface else None
    if result is not None and shot.triangles is not None:
        log.surface(result.vertices, shot.triangles, shot.colors, result.visible)
        if np.isfinite(result.residual_m):
            log.scalar("residual", 1e3 * result.residual_m)
