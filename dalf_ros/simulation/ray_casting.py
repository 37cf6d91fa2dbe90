"""Open3D's ray casting, which the simulation and its ground truth use, or one clear error where there is no Open3D."""
from __future__ import annotations

from typing import Any

MISSING = ("The simulation needs Open3D, which is not here. It has no release for Python 3.14: simulate with Python 3.10 to 3.13; "
           "following cameras and recordings needs no Open3D.")


def ray_casting_scene(threads: int = 0) -> Any:
    """An empty open3d.t.geometry.RaycastingScene. threads: 0 takes one a core.

    Raises ModuleNotFoundError without Open3D, which has no release for Python 3.14.
    """
    try:
        import open3d
    except ModuleNotFoundError as error:
        if error.name != "open3d":
            raise
        raise ModuleNotFoundError(MISSING, name="open3d") from None
    return open3d.t.geometry.RaycastingScene(nthreads=threads)
