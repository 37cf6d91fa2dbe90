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


def save_surface(path: str, overwrite: bool, folder: str, tracker: SurfaceTracker | None, last: Any) -> tuple[bool, str, str]:
    """Write the last frame's surface. last: (SurfaceFrame, frame_id) or None. Returns success, message, absolute path.

    folder: nothing is written outside it; empty: the working directory.
    """
    frame = None if last is None else last[0]
    surface = None if tracker is None else tracker.surface     # taken once: the worker may drop it at any time
    if surface is None or frame is None or frame.registration is None:
        return False, "there is no surface yet", ""
    result = frame.registration
    if len(result.vertices) != len(surface.vertices):
        return False, "the reference has just changed; try again", ""
    try:
        target = target_file(path or f"surface_{frame.stamp_ns}.ply", overwrite, folder)
        WRITERS[target.suffix.lower()](target, result.vertices, surface.triangles, surface.colors, result.normals)
    except NotSaved as error:
        return False, str(error), ""
    except OSError as error:
        return False, f"{path} cannot be written: {error.strerror or error}", ""
    lost = "; the surface is lost at present, this is where it was last" if frame.status == "lost" else ""
    return True, f"{len(result.vertices)} vertices written to {target}{lost}", str(target)


def target_file(path: str, overwrite: bool, folder: str, suffixes: tuple[str, ...] = tuple(WRITERS)) -> Path:
    """The file that a request means: a relative path is one below `folder`, an absolute one must lead there.

    Anybody in the ROS graph may ask, so links and .. are followed first. Raises NotSaved; OSError where a folder cannot be looked into.
    """
    home = Path(folder or ".").expanduser().resolve()
    named = home / path
    parent = named.parent.resolve()
    if not parent.is_relative_to(home) or named.name in ("", ".."):
        raise NotSaved(f"{path} leads out of {home}, the only folder that this node writes to: give a path below it, or start the node "
                       "with another save_folder")
    target = parent / named.name
    if target.suffix.lower() not in suffixes:
        raise NotSaved(f"{target} must end in {' or '.join(suffixes)}")
    if not target.parent.is_dir():
        raise NotSaved(f"the folder {target.parent} does not exist")
    if target.is_dir() or (target.exists() and not target.is_file()):
        raise NotSaved(f"{target} is no ordinary file")
    if (target.exists() or target.is_symlink()) and not overwrite:
        raise NotSaved(f"{target} exists already; say overwrite: true to replace it")
    return target
