"""registration_node: depth and matches in, the deforming surface out. See docs/registration_node.md."""
from __future__ import annotations

if __name__ == "__main__":      # before the imports that take their time
    from dalf_ros.nodes.quiet_start import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import sys
import time
from typing import Any

import numpy as np

from dalf_core import NonRigidRegistration, PinholeCamera
from dalf_core.depth_units import unit_hint
from dalf_core.templates.coarser_surface import vertices_of_one
from dalf_core.tracking import SurfaceTracker

from .conversions import topics
from .conversions.based_results import Placement
from .conversions.messages import matches_of, prediction_message, stamp_ns
from .conversions.pinhole_view import PinholeView, lens_prediction, pinhole_view
from .conversions.results import SurfaceResults, frame_id_of
from .errors import SetupError
from .images.image_conversion import to_color, to_mask
from .nodes.frame_views import FrameViews
from .nodes.inputs import RESULT_QOS
from .nodes.lifecycle_main import run_nodes
from .nodes.node_statistics import ERROR, OK, WARN
from .nodes.worker_node import WorkerNode
from .services.base_frame import BaseFrame
from .services.object_selection import ObjectSelection
from .services.point_tracking import PointTracking
from .services.saving import Saving
from .templates.template_message import template_of_message

TELL_S = 5.0                # so often the log says how it goes
LEVELS = {"tracked": OK, "degraded": WARN, "waiting": WARN, "lost": ERROR}


class RegistrationNode(WorkerNode):
    """Wires `matches`, `depth`, `camera_info`, `image` and `mask` to a SurfaceTracker, and its results to the surface topics.

    objects: how many are followed in this process, each by a node of its own; their surfaces share the parameter max_vertices.
    """

    camera_role = "depth"

    def __init__(self, cli_args: list[str] | None = None, objects: int = 1) -> None:
        super().__init__("registration_node", topics.SURFACE_TOPICS, primary="matches", required=("depth",),
                         optional=("image", "camera_info"), cli_args=cli_args)
        self._objects = objects
        self._tracker: SurfaceTracker | None = None
        self._results: SurfaceResults | None = None
        self._told_s = 0.0                      # when the log last said how it goes
        self._views = FrameViews(self, self.forget)
        self._template_ns: int | None = None    # by what matches name the last template
        self._base = BaseFrame(self)
        self._points = PointTracking(self)
        self._saving = Saving(self)
        self._selection = ObjectSelection(self, self._views)

    def load(self) -> None:
        self._views.configure()
        self._base.configure()
        if self.values["min_depth"] >= self.values["max_depth"]:
            raise ValueError(f"min_depth {self.values['min_depth']:g} must be less than max_depth {self.values['max_depth']:g}")
        # refuses a device that it cannot use
        device = NonRigidRegistration(PinholeCamera(1, 1, 0, 0, 1, 1), self.values["device"]).device
        max_vertices = vertices_of_one(self.values["max_vertices"], self._objects)
        self._tracker = SurfaceTracker(device=self.values["device"], max_vertices=max_vertices,
                                       node_spacing=self.values["node_spacing"] or None, pieces=self.values["pieces"],
                                       grow_to=self.values["grow_to"], near_m=self.values["min_depth"], far_m=self.values["max_depth"],
                                       depth_noise_m=self.values["depth_noise"])
        self._results = SurfaceResults(self._tracker)
        self._points.configure(self._tracker)
        self._saving.configure(self._tracker)
        self._selection.configure()
        started = time.perf_counter()
        self._tracker.warm_up()
        where = "the CPU" if device == "cpu" else device
        self.get_logger().info(f"registration on {where}, warmed up in {time.perf_counter() - started:.1f} s")

    def unload(self) -> None:
        self._tracker = self._results = self._template_ns = None
        self._points.unload()
        self._saving.unload()

    def listen(self) -> None:
        self.inputs.add("matches", "matches", topics.TYPES[topics.MATCHES], lambda m: self.arrived("matches", m), RESULT_QOS)
        self.inputs.add_image("depth", "depth", lambda m: self._seen("depth", m), self.values["depth_transport"])
        self._views.listen()
        self.inputs.add_image("image", "image", lambda m: self._seen("image", m), self.values["image_transport"], optional=True)
        if self.values["use_mask"]:
            self.inputs.add_image("mask", "mask", lambda m: self.arrived("mask", m))
        self._base.listen()
        self.inputs.add("template", topics.TEMPLATE, topics.TYPES[topics.TEMPLATE], self._template_arrived, RESULT_QOS, optional=True,
                        latched=True)
        self._selection.listen()

    def _seen(self, role: str, message: Any) -> None:
        self.arrived(role, message)
        self._selection.arrived()

    def _template_arrived(self, message: Any) -> None:
        def adopt() -> None:
            if self._tracker is None or stamp_ns(message.header) == self._template_ns:      # heard twice: once as it came, once as kept
                return
            template, self._template_ns = template_of_message(message)
            self._tracker.adopt(template, self._template_ns)
            self._selection.taken()
            self.forget()

        self.do(adopt)

    def process(self, item: dict[str, Any]) -> None:
        started = time.perf_counter()
        assert self._tracker is not None and self._results is not None and self.outputs is not None
        stamp = stamp_ns(item["matches"].header)
        if not self.is_in_order(stamp):
            return
        try:
            view, frame_id = self._view(item)
        except ValueError as error:     # told by the worker; here, that who waits for this frame need not
            frame = self._tracker.unusable(stamp, str(error))
            self.outputs.publish([self._results.status(frame, frame_id_of(item["matches"]), 0.0, self.mailbox.dropped)])
            raise
        with self._points.at_work:
            frame = self._tracker.process(view.matches, view.depth_m, view.camera, view.image, view.mask)
            assert self._views.lens is not None       # of this view
            self._points.attend(frame, self._views.lens, view.matches.image_size)
        self._tell_prediction(view, frame_id_of(item["matches"]))
        frame, place = self._base.placed(frame, frame_id)
        self._saving.keep(frame, frame_id, view, self.is_current)
        self._publish(frame, view, frame_id, place, started)
        self.done(stamp, started)

    def _view(self, item: dict[str, Any]) -> tuple[PinholeView, str]:
        """A group of messages as registration takes it, and its frame. Raises ValueError (SetupError) where it cannot be used."""
        assert self._tracker is not None
        matches = matches_of(item["matches"])
        depth, lens, own, is_aligned = self._views.depth(item)
        lens = self._views.take(lens)
        begins = self._tracker.begins(matches, lens.camera)
        problem = unit_hint(depth) if begins else ""
        if problem:
            raise SetupError(problem)
        frame_id = frame_id_of(item["depth" if is_aligned else "matches"])
        if begins and not matches.template:
            self._base.require(frame_id, matches.stamp_ns)
        if begins and item["image"] is None and self.inputs.received["image"]:
            self.refuse("no colour image of the reference's stamp is kept: the surface is grey (buffer_megabytes, stamp_tolerance)")
        image = to_color(item["image"]) if begins and item["image"] is not None else None
        mask = to_mask(item["mask"]) if "mask" in item else None
        return pinhole_view(lens, matches, depth, image, mask, own), frame_id

    def _tell_prediction(self, view: PinholeView, frame_id: str) -> None:
        """First of all results: feature_node waits for it to search the next image."""
        assert self.outputs is not None and self._tracker is not None
        if topics.PREDICTION not in self.outputs.wanted():
            return
        prediction = self._tracker.prediction()
        if prediction is not None and self._views.lens is not None:
            prediction = lens_prediction(prediction, self._views.lens, view.matches.image_size)
            self.outputs.publish([(topics.PREDICTION, prediction_message(prediction, frame_id))])

    def _publish(self, frame: Any, view: PinholeView, frame_id: str, place: Placement | None, started: float) -> None:
        """Results in the order of their use, the status always; last what takes long. Without a place nothing that has positions."""
        results, outputs = self._results, self.outputs
        assert results is not None and outputs is not None
        results.marker_triangles, results.marker_rate = self.values["marker_triangles"], self.values["marker_rate"]
        results.covariance_rate = self.values["covariance_rate"]
        wanted = outputs.wanted()
        if place is not None:
            outputs.publish(results.surface(frame, place, wanted))
        self._points.publish_frames(frame, frame_id)
        if place is not None:
            outputs.publish(results.points(frame, place, wanted))
            outputs.publish(results.landmarks(frame, view.matches, view.depth_m, view.camera, place, wanted))
        outputs.publish([results.status(frame, frame_id, 1e3 * (time.perf_counter() - started), self.mailbox.dropped)])
        if place is not None:
            outputs.publish(results.covariance(frame, place, wanted))
        self._tell(frame)

    def _tell(self, frame: Any) -> None:
        """The reference, once; then how it goes, every five seconds: to who reads the log silence says nothing."""
        now, found = time.monotonic(), frame.registration
        if frame.is_reference and found is not None:
            self.get_logger().info(f"reference surface: {len(found.vertices)} vertices, {np.median(found.vertices[:, 2]):.2f} m away, "
                                   f"{frame.matches} keypoints on it")
        elif frame.status != "tracked":
            self.get_logger().info(f"{frame.status}: {frame.reason}", throttle_duration_sec=TELL_S)
        elif now - self._told_s >= TELL_S:
            self.get_logger().info(f"tracked, {self.statistics.summary()['rate_hz']} surfaces a second, residual "
                                   f"{1e3 * found.residual_m:.1f} mm, {frame.inliers} matches")
        else:
            return
        self._told_s = now

    def discard(self) -> None:
        self._saving.discard()

    def forget(self) -> None:
        if self._tracker is not None and self._results is not None:
            with self._points.at_work:
                self._tracker.reset()
                self._points.forget()
            self._results.forget()
        self._base.forget()
        self._saving.forget()

    def health(self) -> tuple[int, str, dict[str, str]]:
        last = self._saving.last
        if last is None:
            return WARN, "waiting for a reference surface", {}
        frame = last[0]
        more = {"status": frame.status, "matches": str(frame.matches), "inliers": str(frame.inliers)}
        if frame.registration is not None:
            more["residual_m"] = f"{frame.registration.residual_m:.5f}"
        level = max(LEVELS[frame.status], WARN if frame.reason else OK)     # tracked, but not published
        return level, frame.reason or frame.status, more


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_nodes(lambda: [RegistrationNode()], args)


if __name__ == "__main__":
    sys.exit(main())
