"""The parameter base_frame: where the camera was, by TF, when an image was taken; so results are given in a frame of the user's."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from dalf_core.tracking import SurfaceFrame
from dalf_core.types import LOST

from ..conversions.based_results import Placement, optical
from ..conversions.message_factory import ros_class
from ..conversions.transforms import RigidTransform, plain_frame
from ..nodes.depth_alignment import STATIC_QOS
from .clicked_points import TF, TF_QOS
from .moving_transforms import MovingTransforms, TransformError

PATIENCE_S = 0.1            # for a transform that is on its way: /tf may come after the results of a quick frame
HISTORY_S = 10.0            # beside the time that matches may take


class BaseFrame:
    """Serves one node, which has the parameters base_frame, stamp_tolerance and buffer_seconds.

    All but listen() and the callbacks belongs to the node's worker thread.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self.name = ""
        self._transforms = MovingTransforms(HISTORY_S, 0.0)
        self.forget()

    def configure(self) -> None:
        """Read the parameters. Raises ValueError where there is a base_frame, but no TF."""
        values = self._node.values
        self.name = plain_frame(values["base_frame"])
        self._transforms = MovingTransforms(HISTORY_S + values["buffer_seconds"], values["stamp_tolerance"])
        self.forget()
        if not self.name:
            return
        try:
            ros_class(TF)
        except ImportError as error:
            raise ValueError(f"base_frame {self.name} is reached by TF, and tf2_msgs is not installed: install it "
                             "(ros-$ROS_DISTRO-tf2-msgs), or leave base_frame empty") from error

    def listen(self) -> None:
        """Subscribe to TF, if there is a base_frame."""
        if self.name:
            for topic, callback, qos in (("/tf", self._transforms.add, TF_QOS), ("/tf_static", self._transforms.add_static, STATIC_QOS)):
                self._node.inputs.add(f"base_frame {topic}", topic, TF, callback, qos, optional=True)

    def forget(self) -> None:
        """After the reference was dropped."""
        self._asked: tuple[str, int] | None = None          # frame and stamp of the camera's place that was found last
        self._camera: RigidTransform | None = None
        self._surface: RigidTransform | None = None         # of the frame in which the surface was seen last, None: not known
        self._reference: tuple[int, RigidTransform] | None = None       # stamp of the reference, and the camera's place then

    def require(self, frame_id: str, stamp: int) -> None:
        """Before a frame becomes the reference. Raises TransformError where it could not be told where that is."""
        if self.name:
            try:
                self._at(frame_id, stamp)
            except TransformError as error:
                raise TransformError(f"{error}; an image without it does not become the reference") from error

    def placed(self, frame: SurfaceFrame, frame_id: str) -> tuple[SurfaceFrame, Placement | None]:
        """The frame, and where its results are to be given; None: nowhere, for nothing tells where the camera was, or where the surface.

        Then the frame's reason says so too, beside that of the tracker, whose status stays as it is, and the node warns.
        """
        if not self.name:
            return frame, optical(frame_id)
        if frame.registration is None:
            return frame, None
        try:
            return frame, self._place(frame, frame_id)
        except TransformError as error:
            reason = f"{error}; the results of this frame are not published"
            self._node.refuse(reason)
            return replace(frame, reason="; ".join(filter(None, (frame.reason, reason)))), None

    def _place(self, frame: SurfaceFrame, frame_id: str) -> Placement | None:
        seen = frame.is_reference or frame.status != LOST
        if seen:
            self._surface = None        # until it is known
        camera = self._at(frame_id, frame.stamp_ns)
        known = self._reference is not None and self._reference[0] == frame.reference_stamp_ns
        if seen:
            self._surface = camera
            if frame.is_reference or not known:     # a template, whose own camera is in no tree of frames
                self._reference, known = (frame.reference_stamp_ns, camera), True
        if not known:
            return None                 # a template that has not been seen yet is nowhere
        if self._surface is None:
            raise TransformError(f"no transform from {plain_frame(frame_id)} to {self.name} was known when the surface was seen last")
        assert self._reference is not None
        return Placement(self.name, camera, self._surface, self._reference[1])

    def _at(self, frame_id: str, stamp: int) -> RigidTransform:
        """From the optical frame to base_frame at a stamp. Raises TransformError."""
        if not plain_frame(frame_id):
            raise TransformError(f"no transform to {self.name}: the images name no frame_id")
        if self._asked != (frame_id, stamp) or self._camera is None:
            self._camera = self._transforms.find(frame_id, self.name, stamp, PATIENCE_S)
            self._asked = frame_id, stamp
        return self._camera
