"""Points that somebody clicks in RViz or Foxglove, taken to the camera's optical frame; in a frame that nothing connects: refused."""
from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from ..conversions.results import frame_id_of
from ..conversions.topics import CLICKED_POINT
from ..conversions.transforms import IDENTITY, StaticTransforms, plain_frame
from ..nodes.depth_alignment import STATIC_QOS
from ..nodes.inputs import RESULT_QOS

POINT = "geometry_msgs/msg/PointStamped"
TF = "tf2_msgs/msg/TFMessage"
PATIENCE_S = 3.0        # for a transform to come; /tf is subscribed to by the first point of another frame alone, for it is busy
RETRY_S = 0.1
TF_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE)


class ClickedPoints:
    """Serves one node. newest(): messages of the newest image, as {"image": ...}; raises ValueError where there is none. chosen(point,
    frame): called with (3,) metres in that image's optical frame, and what newest() gave; raises ValueError where it cannot be used.
    """

    def __init__(self, node: Any, newest: Callable[[], dict[str, Any]], chosen: Callable[[np.ndarray, dict[str, Any]], None]) -> None:
        self._node, self._newest, self._chosen = node, newest, chosen
        self._transforms = StaticTransforms()       # of /tf too: the newest one counts
        self._listens = False                       # to TF
        self._pending: tuple[Any, float] | None = None      # a point that waits for a transform, until when
        self._timer: Any = None

    def listen(self) -> None:
        """Subscribe to clicked_point."""
        self._listens, self._pending = False, None
        self._node.inputs.add("clicked_point", CLICKED_POINT, POINT, self._clicked, RESULT_QOS, optional=True)

    def _clicked(self, message: Any) -> None:
        self._try(message, time.monotonic() + PATIENCE_S)

    def _try(self, message: Any, until: float) -> None:
        """Every click is told of, however often the same is wrong: somebody waits for the answer."""
        try:
            self._pending = None if self._take(message, until) else (message, until)
        except (ValueError, ModuleNotFoundError) as error:
            self._pending = None
            self._node.get_logger().warning(f"{CLICKED_POINT}: {error}")
        if self._pending is not None and self._timer is None:
            self._timer = self._node.create_timer(RETRY_S, self._retry, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _retry(self) -> None:
        if self._pending is not None:
            self._try(*self._pending)
        if self._pending is None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    def _take(self, message: Any, until: float) -> bool:
        """Give a point out; False: its transform is not known yet. Raises ValueError where it cannot be used."""
        point, frame = np.array([message.point.x, message.point.y, message.point.z]), self._newest()
        theirs, ours = plain_frame(frame_id_of(message)), plain_frame(frame_id_of(frame["image"]))
        if not np.isfinite(point).all():
            raise ValueError("the point has a coordinate that is no number")
        if not (theirs and ours):
            raise ValueError(f"the {'image' if theirs else 'point'} names no frame_id, so that nothing tells whether the point is in the "
                             f"camera's optical frame{' ' + ours if ours else ''}")
        to_camera = IDENTITY if theirs == ours else self._transforms.find(theirs, ours)
        if to_camera is None:
            self._listen_to_tf(theirs, ours)
            if time.monotonic() >= until:
                raise ValueError(f"the point is in frame {theirs}, the camera's optical frame is {ours}, and no transform between them has "
                                 f"come on /tf or /tf_static within {PATIENCE_S:g} s")
            return False
        self._chosen(to_camera.rotation @ point + to_camera.translation, frame)
        return True

    def _listen_to_tf(self, theirs: str, ours: str) -> None:
        if self._listens:
            return
        try:
            for topic, qos in (("/tf", TF_QOS), ("/tf_static", STATIC_QOS)):
                self._node.inputs.add(f"clicked_point {topic}", topic, TF, self._transforms.add, qos, optional=True)
        except ImportError as error:
            raise ValueError(f"the point is in frame {theirs}, the camera's optical frame is {ours}, and without tf2_msgs nothing tells "
                             f"how one lies in the other: send points in {ours} (RViz: the fixed frame), or install tf2_msgs") from error
        self._listens = True
