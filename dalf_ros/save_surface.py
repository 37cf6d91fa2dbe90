"""The save_surface service: the followed surface to a PLY file, whole or not at all."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from dalf_core.surface import save_ply
from dalf_core.tracking import SurfaceTracker


def save_surface(path: str, overwrite: bool, tracker: SurfaceTracker | None, last: Any) -> tuple[bool, str, str]:
    """Write the last frame's surface. last: (SurfaceFrame, frame_id) or None. Returns success, message, absolute path."""
    frame = None if last is None else last[0]
    surface = None if tracker is None else tracker.surface     # taken once: the worker may drop it at any time
    if surface is None or frame is None or frame.registration is None:
        return False, "there is no surface yet", ""
    target = Path(path or f"surface_{frame.stamp_ns}.ply").expanduser().absolute()
    if target.suffix.lower() != ".ply":
        return False, f"{target} must end in .ply", ""
    if not target.parent.is_dir():
        return False, f"the folder {target.parent} does not exist", ""
    if target.exists() and (target.is_dir() or not overwrite):
        return False, f"{target} exists already; say overwrite: true to replace it", ""
    vertices = frame.registration.vertices
    if len(vertices) != len(surface.vertices):
        return False, "the reference has just changed; try again", ""
    try:
        save_ply(target, vertices, surface.triangles, surface.colors, frame.registration.normals)
    except OSError as error:
        return False, f"{target} cannot be written: {error.strerror or error}", ""
    return True, f"{len(vertices)} vertices written to {target}", str(target)
