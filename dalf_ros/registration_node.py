"""registration_node: depth and matches in, the deforming surface out. See docs/registration_node.md."""
from __future__ import annotations

if __name__ == "__main__":      # before the imports that take their time
    from dalf_ros.nodes.quiet_start import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import sys
import threading
import time
from typing import Any

import numpy as np

from dalf_core import NonRigidRegistration, PinholeCamera
from dalf_core.depth_units import unit_hint
from dalf_core.lens import Lens
from dalf_core.sixteen_bit import to_eight_bit
from dalf_core.tracking import SurfaceTracker

from .conversions import topics
from .conversions.based_results import Placement
from .conversions.camera_model import is_empty, is_rectified, lens_of, same_camera
from .conversions.cloud_depth import cloud_depth
from .conversions.depth_camera import DepthCamera
from .conversions.messages import matches_of, prediction_message, stamp_ns
from .conversions.pinhole_view import PinholeView, lens_prediction, no_matches, pinhole_view, view_lens
from .conversions.results import SurfaceResults, frame_id_of
from .conversions.transforms import IDENTITY, plain_frame
from .errors import SetupError
from .images.image_conversion import to_color, to_depth, to_mask
from .images.organised_cloud import is_cloud, organised_points
from .nodes.depth_alignment import DepthAlignment
from .nodes.inputs import RESULT_QOS
from .nodes.lifecycle_main import run_nodes
from .nodes.node_statistics import ERROR, OK, WARN
from .nodes.save_surface import save_surface
from .nodes.worker_node import WorkerNode
from .services.base_frame import BaseFrame
from .services.object_selection import ObjectSelection
from .services.point_tracking import PointTracking
from .templates.save_template import save_reference
from .templates.template_message import template_of_message

TELL_S = 5.0                # so often the log says how it goes
LEVELS = {"tracked": OK, "degraded": WARN, "waiting": WARN, "lost": ERROR}


class RegistrationNode(WorkerNode):
    """Wires `matches`, `depth`, `camera_info`, `image` and `mask` to a SurfaceTracker, and its results to the surface topics."""

    camera_role = "depth"

    def __init__(self, cli_args: list[str] | None = None) -> None:
        super().__init__("registration_node", topics.SURFACE_TOPICS, primary="matches", required=("depth",),
                         optional=("image", "camera_info"), cli_args=cli_args)
        self._tracker: SurfaceTracker | None = None
        self._results: SurfaceResults | None = None
        self._camera_info: Any = None           # the newest that is not empty, else the newest
        self._lens: Lens | None = None          # of the frames
        self._odd_lens: Lens | None = None      # of the last one where it was another
        self._last: Any = None                  # (SurfaceFrame, frame_id): what save_surface writes
        self._last_lock = threading.Lock()
        self._told_s = 0.0                      # when the log last said how it goes
        self._alignment = DepthAlignment(self)
        self._reference: PinholeView | None = None      # the frame that became the reference
        self._template_ns: int | None = None    # by what matches name the last template
        self._base = BaseFrame(self)
        self._points = PointTracking(self)
        self._selection = ObjectSelection(self)
        self._save = self.create_service(_save_class(), "~/save_surface", self._on_save)
        self._save_template = self.create_service(_save_template_class(), "~/save_template", self._on_save_template)

    def load(self) -> None:
        self._alignment.configure()
        self._base.configure()
        if self.values["min_depth"] >= self.values["max_depth"]:
            raise ValueError(f"min_depth {self.values['min_depth']:g} must be less than max_depth {self.values['max_depth']:g}")
        # refuses a device that it cannot use
        device = NonRigidRegistration(PinholeCamera(1, 1, 0, 0, 1, 1), self.values["device"]).device
        self._tracker = SurfaceTracker(device=self.values["device"], max_vertices=self.values["max_vertices"],
                                       node_spacing=self.values["node_spacing"] or None, pieces=self.values["pieces"],
                                       grow_to=self.values["grow_to"], near_m=self.values["min_depth"], far_m=self.values["max_depth"],
                                       depth_noise_m=self.values["depth_noise"])
        self._results = SurfaceResults(self._tracker)
        self._points.configure(self._tracker)
        self._selection.configure()
        started = time.perf_counter()
        self._tracker.warm_up()
        where = "the CPU" if device == "cpu" else device
        self.get_logger().info(f"registration on {where}, warmed up in {time.perf_counter() - started:.1f} s")

    def unload(self) -> None:
        self._tracker = self._results = self._last = self._reference = self._template_ns = None
        self._points.unload()

    def listen(self) -> None:
        self.inputs.add("matches", "matches", topics.TYPES[topics.MATCHES], lambda m: self.arrived("matches", m), RESULT_QOS)
        self.inputs.add_image("depth", "depth", lambda m: self._seen("depth", m), self.values["depth_transport"])
        info_topic, why = self.inputs.camera_info_topic("camera_info", "image")
        self.get_logger().info(f"camera_info from {info_topic}, {why}")
        self.inputs.add("camera_info", info_topic, "sensor_msgs/msg/CameraInfo", self._camera_arrived, latched=True)
        self.inputs.add_image("image", "image", lambda m: self._seen("image", m), self.values["image_transport"], optional=True)
        if self.values["use_mask"]:
            self.inputs.add_image("mask", "mask", lambda m: self.arrived("mask", m))
        self._alignment.listen()
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

    def _camera_arrived(self, message: Any) -> None:
        if is_empty(message):
            self._camera_info = self._camera_info or message        # told when a frame needs it
            return
        self._camera_info = message
        if stamp_ns(message.header):        # one without a stamp holds for all images
            self.arrived("camera_info", message)

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
            assert self._lens is not None       # of this view
            self._points.attend(frame, self._lens, view.matches.image_size)
        self._tell_prediction(view, frame_id_of(item["matches"]))
        frame, place = self._base.placed(frame, frame_id)
        with self._last_lock:
            if self.is_current():
                self._last = (frame, frame_id)
        if frame.is_reference:
            self._reference = view
        self._publish(frame, view, frame_id, place, started)
        self.done(stamp, started)

    def _view(self, item: dict[str, Any]) -> tuple[PinholeView, str]:
        """A group of messages as registration takes it, and its frame. Raises ValueError (SetupError) where it cannot be used."""
        assert self._tracker is not None
        matches = matches_of(item["matches"])
        depth, lens, own, is_aligned = self._depth(item)
        lens = self._adopt(lens)
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

    def plain_view(self, frame: dict[str, Any], image: np.ndarray) -> tuple[PinholeView, Lens]:
        """An image (H, W, 3) or (H, W) with its depth, as a surface would be made of them, and the lens. frame: their messages, and
        camera_info or None. Raises ValueError (SetupError) where it cannot be used.
        """
        depth, lens, own, _ = self._depth({**frame, "matches": frame["image"]})
        if problem := unit_hint(depth):
            raise SetupError(problem)
        return pinhole_view(lens, no_matches((image.shape[1], image.shape[0])), depth, to_eight_bit(image), None, own), lens

    def _depth(self, item: dict[str, Any]) -> tuple[np.ndarray, Lens, DepthCamera | None, bool]:
        """Depth of a group of messages, the colour camera at the resolution of a view, depth's own camera and whether it is aligned."""
        measured = self._measured(item["depth"])
        color, own = self._cameras(item)
        depth = measured if measured.ndim == 2 else self._of_cloud(measured, color, item)
        return depth, view_lens(color, (depth.shape[1], depth.shape[0]), own), own, measured.ndim == 2 and own is None

    def _measured(self, message: Any) -> np.ndarray:
        """Depth (H, W), or the points (H, W, 3) of a cloud, in metres."""
        scale = self.values["depth_scale"]
        return organised_points(message, scale or 1.0) if is_cloud(message) else to_depth(message, scale or None)

    def _of_cloud(self, points: np.ndarray, color: Lens, item: dict[str, Any]) -> np.ndarray:
        """The depth image that a cloud on the colour image's pixels is. Raises SetupError as cloud_depth()."""
        return cloud_depth(points, color, self._alignment.cloud_transform(frame_id_of(item["matches"]), frame_id_of(item["depth"])))

    def _cameras(self, item: dict[str, Any]) -> tuple[Lens, DepthCamera | None]:
        """Of the colour image, and of depth where that is not aligned with it."""
        matched, measured = (frame_id_of(item[role]) for role in ("matches", "depth"))
        info = self._camera_info if item["camera_info"] is None else item["camera_info"]
        if info is None:
            topic = self.inputs.topic("camera_info")
            raise ValueError(f"no camera_info yet on {topic} (publishers: {self.count_publishers(topic)}): a surface needs the camera's "
                             "intrinsics")
        geometry, names = self.values["image_geometry"], [self.inputs.topic(role) for role in ("depth", "image")]
        lens = lens_of(info, is_rectified(geometry, *names))
        if not self.values["check_frames"]:
            return lens, None
        described = frame_id_of(info)
        if plain_frame(described) not in ("", plain_frame(matched)) and matched:
            raise SetupError(f"camera_info is of frame {described}, the matched images are in {matched}: remap camera_info to the colour "
                             "camera's; if it is, and only named otherwise, set check_frames to false")
        if is_cloud(item["depth"]):
            return lens, None
        own = self._alignment.camera(lens, matched, measured)
        apart = own is not None and own.to_color is not IDENTITY        # then the name of the depth topic says nothing of colour
        return (lens_of(info, is_rectified(geometry, names[1])) if apart else lens), own

    def _adopt(self, lens: Lens) -> Lens:
        """The camera of the frames before, where this is the same. Two frames of another one begin anew; ValueError on the first."""
        if self._lens is not None and same_camera(self._lens, lens):
            self._odd_lens = None
            return self._lens
        size = f"{lens.camera.width}x{lens.camera.height}"
        if self._lens is not None:
            if self._odd_lens is None or not same_camera(self._odd_lens, lens):
                self._odd_lens = lens
                raise ValueError(f"a frame of another camera ({size}) is skipped; if the next one is so too, tracking starts anew")
            self.forget()
        said = "no distortion" if lens.is_pinhole else f"{lens.model} distortion, which is undone"
        again = "the camera has changed, tracking starts anew: " if self._lens is not None else ""
        self.get_logger().info(f"{again}depth of {size}, {said}")
        self._lens, self._odd_lens = lens, None
        return lens

    def _tell_prediction(self, view: PinholeView, frame_id: str) -> None:
        """First of all results: feature_node waits for it to search the next image."""
        assert self.outputs is not None and self._tracker is not None
        if topics.PREDICTION not in self.outputs.wanted():
            return
        prediction = self._tracker.prediction()
        if prediction is not None and self._lens is not None:
            prediction = lens_prediction(prediction, self._lens, view.matches.image_size)
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
        """The frame in work, if any, is of the old reference: it is not to be saved."""
        with self._last_lock:
            self._last = None

    def forget(self) -> None:
        if self._tracker is not None and self._results is not None:
            with self._points.at_work:
                self._tracker.reset()
                self._points.forget()
            self._results.forget()
        self._base.forget()
        self._last = self._reference = None

    def health(self) -> tuple[int, str, dict[str, str]]:
        last = self._last
        if last is None:
            return WARN, "waiting for a reference surface", {}
        frame = last[0]
        more = {"status": frame.status, "matches": str(frame.matches), "inliers": str(frame.inliers)}
        if frame.registration is not None:
            more["residual_m"] = f"{frame.registration.residual_m:.5f}"
        level = max(LEVELS[frame.status], WARN if frame.reason else OK)     # tracked, but not published
        return level, frame.reason or frame.status, more

    def _on_save(self, request: Any, response: Any) -> Any:
        response.success, response.message, response.path = save_surface(request.path, request.overwrite, self.values["save_folder"],
                                                                               self._tracker, self._last)
        return response

    def template_options(self) -> dict[str, Any]:
        """Of Template.of_frame, for templates of this node's surfaces."""
        return {"max_vertices": self.values["max_vertices"], "pieces": self.values["pieces"], "near_m": self.values["min_depth"],
                "far_m": self.values["max_depth"]}

    def _on_save_template(self, request: Any, response: Any) -> Any:
        named = None if self._tracker is None else self._tracker.points
        points = {} if named is None else dict(zip(named.names, named.positions))
        reference = self._reference or (None if self._tracker is None else self._tracker.template)
        saved = save_reference(request, self.values["save_folder"], reference, points, **self.template_options())
        response.success, response.message, response.path = saved
        return response


def _save_template_class() -> Any:
    from dalf.srv import SaveTemplate

    return SaveTemplate


def _save_class() -> Any:
    from dalf.srv import SaveSurface

    return SaveSurface


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_nodes(lambda: [RegistrationNode()], args)


if __name__ == "__main__":
    sys.exit(main())
