"""The save_surface service: the followed surface to a PLY or OBJ file, whole or not at all."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from dalf_core.files.obj_file import save_obj
from dalf_core.surface import save_ply
from dalf_core.tracking import SurfaceTracker

WRITERS = {".ply": save_ply, ".obj": save_obj}


class NotSaved(Exception):
    """Why there is no file, in one line."""


def save_surface(path: str, overwrite: bool, tracker: SurfaceTracker | None, last: Any) -> tuple[bool, str, str]:
    """Write the last frame's surface. last: (SurfaceFrame, frame_id) or None. Returns success, message, absolute path."""
    frame = None if last is None else last[0]
    surface = None if tracker is None else tracker.surface     # taken once: the worker may drop it at any time
    if surface is None or frame is None or frame.registration is None:
        return False, "there is no surface yet", ""
    result = frame.registration
    if len(result.vertices) != len(surface.vertices):
        return False, "the reference has just changed; try again", ""
    try:
        target = target_file(path or f"surface_{frame.stamp_ns}.ply", overwrite)
        WRITERS[target.suffix.lower()](target, result.vertices, surface.triangles, surface.colors, result.normals)
    except NotSaved as error:
        return False, str(error), ""
    except OSError as error:
        return False, f"{path} cannot be written: {error.strerror or error}", ""
    lost = "; the surface is lost at present, this is where it was last" if frame.status == "lost" else ""
    return True, f"{len(result.vertices)} vertices written to {target}{lost}", str(target)


def target_file(path: str, overwrite: bool) -> Path:
    """The file that a request means. Raises NotSaved; OSError where the folder cannot be looked into.

    A relative path is one below the working directory of the node, which the one who asks may not know: .. does not lead out of it.
    """
    try:
        named = Path(path).expanduser()
    except RuntimeError as error:
        raise NotSaved(f"{path}: {error}") from error
    if not named.is_absolute() and not (Path.cwd() / named).resolve().is_relative_to(Path.cwd().resolve()):
        raise NotSaved(f"{path} leads out of the node's working directory {Path.cwd()}; give an absolute path")
    target = named.absolute()
    if target.suffix.lower() not in WRITERS:
        raise NotSaved(f"{target} must end in {' or '.join(WRITERS)}")
    if not target.parent.is_dir():
        raise NotSaved(f"the folder {target.parent} does not exist")
    if target.is_dir() or (target.exists() and not target.is_file()):
        raise NotSaved(f"{target} is no ordinary file")
    if (target.exists() or target.is_symlink()) and not overwrite:
        raise NotSaved(f"{target} exists already; say overwrite: true to replace it")
    return target
