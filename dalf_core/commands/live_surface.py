"""`./run live --depth`: the surface in 3D, from a depth camera without ROS."""
from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ..depth_units import to_metres, unit_hint
from ..lens import Lens
from ..tracking.surface_tracker import SurfaceTracker
from ..viewing.frame_rate import FrameRate
from ..viewing.live_picture import live_picture, reduced
from ..viewing.page_server import PageServer

if TYPE_CHECKING:
    import argparse
    import threading

    from ..interruption import Interruption
    from ..tracking import SurfaceFrame
    from ..tracking.background_tracker import BackgroundTracker



class LiveSurface:
    """From colour and depth to the page. lens: of the colour pictures, at any resolution. options: those of `live`."""

    def __init__(self, page: PageServer, tracker: BackgroundTracker, asked: threading.Event, lens: Lens,
                 options: argparse.Namespace) -> None:
        self._page, self._tracker, self._asked = page, tracker, asked
        self._lens, self._metres_per_unit, self._width = lens, options.depth_scale, options.width
        self._surfaces = SurfaceTracker(near_m=options.min_depth, far_m=options.max_depth)
        self._topology = -1
        self._rate = FrameRate()
        self._unit_is_checked = False

    def warm_up(self) -> None:
        """Compile what is compiled on first use."""
        self._tracker.warm_up()
        self._surfaces.warm_up()

    def follow(self, source: Any, max_frames: int | None, interruption: Interruption) -> None:
        """Until the source ends, somebody presses Ctrl-C, or so many frames have come."""
        for image, numbers in islice(source, max_frames):
            if interruption.asked:
                break
            if self._asked.is_set():
                self._asked.clear()
                self._tracker.reset()
                self._surfaces.reset()
            self.process(image, numbers, time.monotonic_ns())

    def process(self, image: np.ndarray, numbers: np.ndarray, stamp_ns: int) -> SurfaceFrame | None:
        """One frame through both halves and onto the page. numbers: (h, w) uint16. None: there are no matches to it yet."""
        depth_m = to_metres(numbers, self._metres_per_unit)
        if not self._unit_is_checked:
            self._unit_is_checked = True
            self._page.show_note(unit_hint(depth_m, "--depth-scale"))
        image, depth_m = self._lens.rectify_image(reduced(image, self._width)), self._lens.rectify_depth(depth_m)
        matches = None
        for result in self._tracker.process(image, stamp_ns):
            if result.frame is None:
                self._page.show_note(result.problem)
            elif result.frame.matches is not None and result.stamp_ns == stamp_ns:
                matches = result.frame.matches
        if self._page.viewers:
            self._page.show_image(live_picture(image, matches))
        if matches is None:
            self._page.show_status("waiting", "waiting for DALF's first look: hold still what is to be followed")
            return None
        surface = self._surfaces.process(matches, depth_m, self._lens.camera, image)
        if (prediction := self._surfaces.prediction()) is not None:
            self._tracker.predict(prediction)
        self._show_surface(surface, len(matches.matches))
        return surface

    def _show_surface(self, surface: SurfaceFrame, count: int) -> None:
        self._rate.tick()
        result = surface.registration
        parts = [surface.status, f"{self._rate.hz:.0f} Hz"]
        if result is not None:
            if surface.topology_id != self._topology:
                self._topology = surface.topology_id
                self._page.show_topology(self._surfaces.triangles, self._surfaces.colors)
                self._page.show_note(f"the reference has {len(result.vertices)} vertices")
            self._page.show_surface(result.vertices, result.visible)
            parts += [f"{1e3 * result.residual_m:.1f} mm", f"{surface.inliers} of {count} matches",
                      f"{result.visible.mean():.0%} of the surface seen"]
        self._page.show_status(surface.status, ", ".join(parts) + (f": {surface.reason}" if surface.reason else ""))
