"""Named points of registration_node: the service ~/track_point, the parameter track_points, TF frames."""
from __future__ import annotations

import threading
from typing import Any

import numpy as np

from dalf_core.lens import Lens
from dalf_core.templates.named_points import PointError
from dalf_core.tracking import SurfaceFrame, SurfaceTracker
from dalf_core.tracking.wanted_points import PointPlacer, pinhole_pixel, wanted_points
from dalf_core.types import LOST

from ..conversions.message_factory import ros_class, ros_message
from ..conversions.messages import header
from ..conversions.point_messages import point_transforms
from ..nodes.inputs import RESULT_QOS

TF = "tf2_msgs/msg/TFMessage"


class PointTracking:
    """Serves one node, which has the parameters track_points and publish_tf.

    The service answers on the executor's thread: `at_work` is held by whoever uses the tracker, for a place is meant in one frame.
    """

    def __init__(self, node: Any) -> None:
        from dalf.srv import TrackPoint

        self._node = node
        self.at_work = threading.Lock()
        self._tracker: SurfaceTracker | None = None
        self._placer: PointPlacer | None = None
        self._now: tuple[SurfaceFrame, Lens, tuple[int, int]] | None = None        # followed last, and the size of its colour image
        self._tf: Any = None
        self._service = node.create_service(TrackPoint, "~/track_point", self._on_request)

    def configure(self, tracker: SurfaceTracker) -> None:
        """Read the parameters. Raises ValueError where they are wrong."""
        try:
            wanted = wanted_points(self._node.values["track_points"])
        except ValueError as error:
            raise ValueError(f"parameter track_points: {error}") from error
        self._tracker, self._placer, self._now = tracker, PointPlacer(wanted, self._node.get_logger().warning), None

    def unload(self) -> None:
        self._tracker = self._placer = self._now = None
        if self._tf is not None:
            self._node.destroy_publisher(self._tf)
            self._tf = None

    def attend(self, frame: SurfaceFrame, lens: Lens, image_size: tuple[int, int]) -> None:
        """After each frame. lens: of the colour image, of the given (width, height)."""
        assert self._tracker is not None and self._placer is not None
        self._now = frame, lens, image_size
        self._placer.attend(self._tracker, frame, lens, image_size)

    def forget(self) -> None:
        """After the tracker was reset."""
        self._now = None
        if self._tracker is not None and self._placer is not None:
            self._placer.attend(self._tracker)

    def publish_frames(self, frame: SurfaceFrame, frame_id: str) -> None:
        """Each point as a TF frame, at the image's stamp; none while the surface is lost."""
        if self._tracker is None or not len(self._tracker.points) or frame.registration is None or frame.status == LOST:
            return
        if not self._node.values["publish_tf"] or not self._has_tf():
            return
        if not frame_id:
            self._node.get_logger().warning("named points are no TF frames: the images name no frame_id", once=True)
            return
        points = self._tracker.points.follow(frame.registration)
        self._tf.publish(ros_message(TF, point_transforms(points, header(frame.stamp_ns, frame_id.lstrip("/")))))

    def _has_tf(self) -> bool:
        """Whether there is a publisher on /tf; it is made when the first point is there."""
        if self._tf is None:
            try:
                self._tf = self._node.create_publisher(ros_class(TF), "/tf", RESULT_QOS)
            except ImportError:
                self._node.get_logger().warning("named points are no TF frames: tf2_msgs is not installed (publish_tf: false is quiet)",
                                                once=True)
                return False
        return True

    # ---------------------------------------------------------------- service

    def _on_request(self, request: Any, response: Any) -> Any:
        with self.at_work:
            try:
                response.message = self._answer(request, response)
                response.success = True
            except PointError as error:
                response.success, response.message = False, str(error)
            response.names = [] if self._tracker is None else list(self._tracker.points.names)
        return response

    def _answer(self, request: Any, response: Any) -> str:
        if request.action not in (request.ADD, request.REMOVE, request.LIST):
            raise PointError(f"action {request.action} is neither ADD ({request.ADD}), REMOVE ({request.REMOVE}) nor LIST ({request.LIST})")
        if self._tracker is None or self._tracker.registration is None:
            raise PointError("there is no reference surface yet: points are named when there is one")
        if request.action == request.REMOVE:
            self._tracker.points.remove(request.name)
            return f"{request.name} is removed"
        if request.action == request.LIST:
            response.positions = self._positions()
            return f"{len(self._tracker.points)} named points"
        return self._add(request)

    def _add(self, request: Any) -> str:
        assert self._tracker is not None and self._tracker.registration is not None
        frame, lens, image_size = self._now or (None, None, None)
        if frame is None or lens is None or image_size is None or frame.registration is None:
            raise PointError("the newest frame could not be followed: name the point when the surface is")
        points, registration = self._tracker.points, self._tracker.registration
        if request.use_pixel:
            pixel = pinhole_pixel(lens, (request.x, request.y), image_size, registration.camera)
            if not np.isfinite(pixel).all():
                raise PointError(f"pixel ({request.x:g}, {request.y:g}) is outside of what the lens's calibration covers")
            points.add_at_pixel(request.name, pixel, registration, frame.registration)
        else:
            place = request.position
            points.add_at_position(request.name, np.array([place.x, place.y, place.z]), registration, frame.registration)
        return f"{request.name} is followed"

    def _positions(self) -> list[Any]:
        assert self._tracker is not None
        kind, found = ros_class("geometry_msgs/msg/Point"), self._now[0].registration if self._now else None
        if found is None:
            return [kind(x=float("nan"), y=float("nan"), z=float("nan")) for _ in self._tracker.points.names]
        return [kind(x=x, y=y, z=z) for x, y, z in (point.position.tolist() for point in self._tracker.points.follow(found))]
