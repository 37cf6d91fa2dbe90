"""An object becomes the reference without a mask: by ~/select_object (a pixel), clicked_point (a point), or auto_select (a rule)."""
from __future__ import annotations

import math
import time
import traceback
from typing import Any

import cv2
import numpy as np

from dalf_core.camera import PinholeCamera
from dalf_core.drawing.draw import draw_mask
from dalf_core.lens import Lens
from dalf_core.options import NO_RULE
from dalf_core.templates.auto_selection import find_object
from dalf_core.templates.selection import SelectionError, nearest_reading, select_object
from dalf_core.templates.template import Template
from dalf_core.tracking.wanted_points import pinhole_pixel

from ..conversions import topics
from ..conversions.messages import header, stamp_ns
from ..conversions.results import frame_id_of
from ..images.image_conversion import from_color, to_color
from ..late_answers import Later, answers_late
from ..nodes.complaints import Complaints
from ..nodes.frame_views import FrameViews
from ..templates.template_message import template_message
from .aside import Aside
from .clicked_points import ClickedPoints
from .saving import template_options

NAME = "selection"          # of the template that a selection is
LOOK_EVERY_S = 0.5          # by a rule; each takes a third of a second at VGA
TAKEN_WITHIN_S = 10.0       # a selection that feature_node does not follow after so long is made anew
OFF_M, OFF = 0.03, 0.05     # a point farther than this, and this share of its distance, from what is seen there is of something else


class ObjectSelection:
    """Serves registration_node, which has the images, depth and cameras, and the parameter auto_select.

    What is selected becomes a template, on the topic `selection`; feature_node extracts its features and follows it as any other, so
    that a reset keeps it. Objects are looked for on a thread of their own: the first time Open3D is loaded, which takes seconds.
    """

    def __init__(self, node: Any, views: FrameViews) -> None:
        from dalf.srv import SelectObject

        self._node, self._views = node, views
        self._waits = False             # for the rule to find something
        self._looking = False
        self._next_s = -math.inf        # steady time of the next look
        self._told = Complaints()
        self._clicks = ClickedPoints(node, self._newest, self._on_point)
        self._aside = Aside(node, "selection")
        self._service = node.create_service(SelectObject, "~/select_object", self._on_request)
        answers_late(self._service, node)

    def configure(self) -> None:
        self._waits, self._next_s = self._node.values["auto_select"] != NO_RULE, -math.inf

    def listen(self) -> None:
        """Subscribe to clicked_point."""
        self._clicks.listen()
        if self._waits:
            self._node.get_logger().info(f"auto_select {self._node.values['auto_select']}: waiting for an image with depth that shows an "
                                         "object; ~/select_object and clicked_point select one too")

    def arrived(self) -> None:
        """An image or depth has come. On the executor's thread."""
        if self._waits and not self._looking and time.monotonic() >= self._next_s:
            self._looking = True
            self._aside.do(self._look)

    def taken(self) -> None:
        """A template is followed, so that nothing is looked for any more."""
        self._waits = False

    # ---------------------------------------------------------------- who asks

    def _look(self) -> None:
        """By the rule, in the newest image."""
        self._next_s = time.monotonic() + LOOK_EVERY_S
        try:
            message = self._select(self._newest(), self._node.values["auto_select"])[0]
        except ValueError as error:
            if self._told.is_news(str(error), once=True):
                self._node.get_logger().info(f"nothing is selected yet: {error}")
        except ModuleNotFoundError as error:
            self._waits = False
            self._node.get_logger().error(f"auto_select: {error}")
        else:
            self._next_s = time.monotonic() + TAKEN_WITHIN_S
            self._node.get_logger().info(message)
        finally:
            self._looking = False

    def _on_request(self, request: Any, response: Any) -> Any:
        response.message = self._node.why_not_active()
        if response.message:
            return response
        try:
            frame, at = self._newest(), request.rule or (request.x, request.y)
        except ValueError as error:
            response.message = str(error)
            return response
        work = self._aside.begin(lambda: self._select(frame, at))

        def answer() -> Any:
            try:
                response.message, response.pixels = work.result()
                response.success = True
                self._node.get_logger().info(response.message)
            except (ValueError, ModuleNotFoundError) as error:
                response.message = str(error)
            except Exception as error:      # of Open3D or OpenCV: whoever asked gets it, and the node lives on
                response.message = f"{type(error).__name__}: {error}"
                self._node.get_logger().error(traceback.format_exc())
            return response

        return Later(work, answer)

    def _on_point(self, point: np.ndarray, frame: dict[str, Any]) -> None:
        """A clicked point, (3,) metres in the optical frame."""
        def select() -> None:
            try:
                self._node.get_logger().info(self._select(frame, point)[0])
            except (ValueError, ModuleNotFoundError) as error:
                self._node.get_logger().warning(f"{topics.CLICKED_POINT}: {error}")

        self._aside.do(select)

    # ---------------------------------------------------------------- what is done

    def _newest(self) -> dict[str, Any]:
        """The newest colour image with depth, and its camera_info or None. Raises SelectionError where there is none, or nobody to follow
        what is selected.
        """
        node = self._node
        missing = [role for role in ("image", "depth") if not node.inputs.received.get(role)]
        if missing:
            told = " and no ".join(f"{role} on {node.inputs.topic(role)} (publishers: {node.count_publishers(node.inputs.topic(role))})"
                                   for role in missing)
            raise SelectionError(f"there is no image to select in yet: no {told}; image must be remapped to the colour camera")
        frame = node.synchronizer.newest("image", "depth", optional=("camera_info",))
        if frame is None:
            raise SelectionError("there is no image to select in: no image and depth of one stamp are kept (stamp_tolerance)")
        topic = node.resolve_topic_name(topics.SELECTION)
        if not node.count_subscribers(topic):
            raise SelectionError(f"nothing would follow a selection: no feature_node hears {topic}. Where it follows `objects`, each keeps "
                                 "its template: start it without them, or with a template of this object too")
        return frame

    def _select(self, frame: dict[str, Any], at: tuple[float, float] | np.ndarray | str) -> tuple[str, int]:
        """Make what is at a pixel, at a point, or found by a rule the reference. Returns what to say, and its pixels. Raises ValueError."""
        image = to_color(frame["image"])
        view, lens = self._views.plain(frame, image)
        options, size = template_options(self._node.values), (view.camera.width, view.camera.height)
        limits = {name: options[name] for name in ("near_m", "far_m")}
        picture = view.image if view.image.shape[1::-1] == size else cv2.resize(view.image, size, interpolation=cv2.INTER_AREA)
        if isinstance(at, str):
            found = find_object(view.depth_m, view.camera, at, picture, **limits)
        else:
            if isinstance(at, np.ndarray):
                told = f"point ({at[0]:.3f}, {at[1]:.3f}, {at[2]:.3f}) m"
                pixel = _seen(at, view.camera, view.depth_m, told)
            else:
                told = f"pixel ({at[0]:g}, {at[1]:g})"
                pixel = _pinhole(at, lens, (image.shape[1], image.shape[0]), view.camera)
            found = select_object(view.depth_m, view.camera, pixel, picture, **limits, told=told)
        template = Template.of_frame(NAME, view.image, view.depth_m, view.camera, found.mask, **options)
        self._announce(template, frame["image"])
        assert template.surface is not None
        pixels, away = int(found.mask.sum()), float(np.median(template.surface.vertices[:, 2]))
        return f"selected: an object of {pixels} pixels, {away:.2f} m away, which the next images are matched to", pixels

    def _announce(self, template: Template, image: Any) -> None:
        """On the worker's thread, as all that is published. Raises SelectionError where there is none any more."""
        if problem := self._node.why_not_active():
            raise SelectionError(problem)
        shown = draw_mask(template.image, template.mask)

        def publish() -> None:
            if self._node.outputs is not None:
                self._node.outputs.publish([
                    (topics.SELECTION, template_message(template, time.time_ns())),
                    (topics.SELECTED_IMAGE, from_color(shown, header(stamp_ns(image.header), frame_id_of(image))))])

        self._node.do(publish)


def _pinhole(xy: tuple[float, float], lens: Lens, size: tuple[int, int], camera: PinholeCamera) -> tuple[float, float]:
    """A pixel of the image as it came, of (width, height), in the view. Raises SelectionError where it has none."""
    told = f"pixel ({xy[0]:g}, {xy[1]:g})"
    if not (-0.5 <= xy[0] < size[0] - 0.5 and -0.5 <= xy[1] < size[1] - 0.5):
        raise SelectionError(f"{told} is not in the image: x is 0 to {size[0] - 1}, y 0 to {size[1] - 1}")
    x, y = pinhole_pixel(lens, xy, size, camera)
    if not _is_in(x, y, camera):
        raise SelectionError(f"{told} is beyond what is left of the image without its lens distortion: take one nearer to its middle")
    return x, y


def _seen(point: np.ndarray, camera: PinholeCamera, depth_m: np.ndarray, told: str) -> tuple[float, float]:
    """The pixel of a point, (3,) metres. Raises SelectionError where it is not seen, or something else is in its direction."""
    x, y = (float(place) for place in camera.project(point[None])[0])
    if not _is_in(x, y, camera):
        raise SelectionError(f"{told} is not in the camera's view")
    column, row = nearest_reading(np.nan_to_num(depth_m), (x, y), told)
    seen = float(depth_m[row, column])
    off = float(point[2]) - seen
    if abs(off) > OFF_M + OFF * seen:
        raise SelectionError(f"{told} is {abs(off):.2f} m {'behind' if off > 0 else 'before'} what is seen in its direction: was it "
                             "clicked in another image, or is its frame not where TF has it?")
    return x, y


def _is_in(x: float, y: float, camera: PinholeCamera) -> bool:
    return -0.5 <= x < camera.width - 0.5 and -0.5 <= y < camera.height - 0.5
