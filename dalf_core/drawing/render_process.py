"""SurfaceRenderers in a process of their own: VTK keeps Python's lock while it draws, and the work beside it would wait."""
from __future__ import annotations

import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

import numpy as np

from ..camera import PinholeCamera
from ..interruption import die_with_parent
from .render import RenderingUnavailable, SurfaceRenderer, check_rendering

_renderer: SurfaceRenderer | None = None        # in that process, of the last camera


class RenderProcess:
    """Draws what SurfaceRenderers draw, while other threads of the caller go on.

    It begins with begin(), or the first picture, and ends with close(), or with the thread that called for either.
    """

    def __init__(self) -> None:
        self._process = ProcessPoolExecutor(1, get_context("spawn"), _begin)     # a fork would have the locks of OpenVINO's threads

    def begin(self) -> None:
        """Have it load its libraries, which takes a second or two, meanwhile."""
        self._process.submit(check_rendering)

    def render(self, camera: PinholeCamera, *args: Any, **options: Any) -> np.ndarray:
        """As SurfaceRenderer(camera).render. RenderingUnavailable: as there, or the process has ended."""
        try:
            return self._process.submit(_render, camera, args, options).result()
        except BrokenProcessPool as error:
            raise RenderingUnavailable("the process that draws the surface has ended: it was killed, or memory ran out") from error

    def close(self) -> None:
        """End the process."""
        self._process.shutdown()


def _begin() -> None:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl-C goes to both; the caller finishes its pictures


def _render(camera: PinholeCamera, args: tuple, options: dict[str, Any]) -> np.ndarray:
    global _renderer  # noqa: PLW0603 (this process has no other task)
    if _renderer is None or _renderer.camera != camera:
        if _renderer is not None:
            _renderer.close()
        _renderer = SurfaceRenderer(camera)
    return _renderer.render(*args, **options)
