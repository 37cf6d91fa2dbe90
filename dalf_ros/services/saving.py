"""The services ~/save_surface and ~/save_template of registration_node, and what they write: the newest frame, and the reference."""
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from dalf_core.tracking import SurfaceFrame, SurfaceTracker

from ..conversions.pinhole_view import PinholeView
from .save_surface import save_surface
from .save_template import save_reference


class Saving:
    """Serves one node, which has the parameter save_folder, and those of template_options().

    Requests are answered on the executor's thread, while the worker keeps frames.
    last: the frame that was followed last, and the frame_id of its results; None: nothing may be saved.
    """

    def __init__(self, node: Any) -> None:
        from dalf.srv import SaveSurface, SaveTemplate

        self._node = node
        self._tracker: SurfaceTracker | None = None
        self._reference: PinholeView | None = None      # the frame that became the reference
        self.last: tuple[SurfaceFrame, str] | None = None
        self._last_lock = threading.Lock()
        self._services = [node.create_service(SaveSurface, "~/save_surface", self._on_surface),
                          node.create_service(SaveTemplate, "~/save_template", self._on_template)]

    def configure(self, tracker: SurfaceTracker) -> None:
        self._tracker = tracker

    def unload(self) -> None:
        self._tracker = self._reference = self.last = None

    def keep(self, frame: SurfaceFrame, frame_id: str, view: PinholeView, is_current: Callable[[], bool]) -> None:
        """After each frame. view: what it was made of. is_current(): whether no new reference has been asked for since the frame came."""
        with self._last_lock:
            if is_current():
                self.last = (frame, frame_id)
        if frame.is_reference:
            self._reference = view

    def discard(self) -> None:
        """The frame in work, if any, is of the old reference: it is not to be saved."""
        with self._last_lock:
            self.last = None

    def forget(self) -> None:
        """After the tracker was reset."""
        self.last = self._reference = None

    def _on_surface(self, request: Any, response: Any) -> Any:
        saved = save_surface(request.path, request.overwrite, self._node.values["save_folder"], self._tracker, self.last)
        response.success, response.message, response.path = saved
        return response

    def _on_template(self, request: Any, response: Any) -> Any:
        tracker = self._tracker
        points = {} if tracker is None else dict(zip(tracker.points.names, tracker.points.positions))
        reference = self._reference or (None if tracker is None else tracker.template)
        saved = save_reference(request, self._node.values["save_folder"], reference, points, **template_options(self._node.values))
        response.success, response.message, response.path = saved
        return response


def template_options(values: dict[str, Any]) -> dict[str, Any]:
    """Of Template.of_frame, for templates of a node's surfaces. values: its parameters."""
    return {"max_vertices": values["max_vertices"], "pieces": values["pieces"], "near_m": values["min_depth"], "far_m": values["max_depth"]}
