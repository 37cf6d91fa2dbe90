"""One frame of a running camera: its topics, joined by their stamps and made a pinhole camera's as registration_node does."""
from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from dalf_core.commands.template import View

from ..bags.bag_topics import CLOUD, CameraTopics, choose_topics
from ..bags.raw_message import BagTopic
from ..conversions import topics
from ..conversions.messages import NANOSECONDS, stamp_ns
from ..conversions.stamps import set_missing_stamp
from ..images.image_conversion import to_color, to_mask
from ..nodes.frame_views import FrameViews
from ..nodes.inputs import Inputs
from ..nodes.parameters import TABLES
from ..nodes.ros_home import ensure_ros_home
from ..nodes.synchronizer import MEGABYTE, Synchronizer, size_of

GRAPH_S = 1.0               # from the first sight of the camera until all of its topics are known
LOOK_S = 0.05
SILENT_S = 1.0              # a topic that brought nothing for so long is told of where no frame comes


def read_topics(options: argparse.Namespace) -> View:
    """The frame that the options name, without lens distortion, its depth on colour's pixels; the first after `--frame` others.

    Options: topic, depth_topic, camera_info_topic, mask_topic, depth_scale, frame, wait: seconds for the topics to be there, and then for
    the frame. Raises ValueError: no such frame comes, with what is known of its topics; BagError: topics that cannot be told.
    """
    if options.intrinsics is not None:
        raise ValueError("--intrinsics is of a recording or a picture; a running camera tells its own on camera_info")
    with _graph() as (context, executor):
        chosen = _choose(context, executor, options)
        print(f"{chosen.color}, depth {chosen.depth or 'none'}, mask {chosen.mask or 'none'}")
        camera = _Camera(context, chosen, options.depth_scale)
        executor.add_node(camera)
        try:
            return camera.view(executor, options.frame, options.wait)
        finally:
            executor.remove_node(camera)
            camera.destroy_node()


@contextmanager
def _graph() -> Iterator[tuple[rclpy.Context, SingleThreadedExecutor]]:
    ensure_ros_home()
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    executor = SingleThreadedExecutor(context=context)
    try:
        yield context, executor
    except ExternalShutdownException:
        raise KeyboardInterrupt from None
    finally:
        executor.shutdown()
        rclpy.try_shutdown(context=context)


def _choose(context: rclpy.Context, executor: SingleThreadedExecutor, options: argparse.Namespace) -> CameraTopics:
    """As of a bag: those that are named, once they are there, and what belongs to the colour images by type and name."""
    node = Node("dalf_template_topics", context=context, enable_rosout=False, start_parameter_services=False)
    executor.add_node(node)
    named = [name for name in (options.topic, options.depth_topic, options.camera_info_topic, options.mask_topic) if name]
    try:
        seen, deadline = None, time.monotonic() + options.wait
        while (now := time.monotonic()) < deadline and (seen is None or now < seen + GRAPH_S):
            executor.spin_once(timeout_sec=LOOK_S)
            if seen is None and all(node.count_publishers(name) for name in named):
                seen = now
        there = {name: BagTopic(name, kinds[0], None) for name, kinds in node.get_topic_names_and_types() if node.count_publishers(name)}
    finally:
        executor.remove_node(node)
        node.destroy_node()
    return choose_topics(there, color=options.topic, depth=options.depth_topic, camera_info=options.camera_info_topic,
                         mask=options.mask_topic, bag="the ROS graph")


class _Camera(Node):
    """Listens to a camera's topics with the defaults of registration_node's parameters, until a frame is complete and can be used."""

    def __init__(self, context: rclpy.Context, chosen: CameraTopics, depth_scale: float | None) -> None:
        given = {"image": chosen.color, "depth": chosen.depth, "camera_info": chosen.camera_info, "mask": chosen.mask}
        rules = [word for role, topic in given.items() if topic for word in ("-r", f"{role}:={topic}")]
        super().__init__("dalf_template", context=context, cli_args=["--ros-args", *rules], enable_rosout=False,
                         start_parameter_services=False)
        self.values: dict[str, Any] = {parameter.name: parameter.default for parameter in TABLES["registration_node"]}
        self.values["depth_scale"] = depth_scale or 0.0
        self.inputs = Inputs(self)
        self._has_depth, self._has_mask = chosen.depth is not None, chosen.mask is not None
        required = [role for role, has in (("depth", self._has_depth), ("mask", self._has_mask)) if has]
        self._synchronizer = Synchronizer("image", required, ("camera_info",), max_bytes=self.values["buffer_megabytes"] * MEGABYTE,
                                          tolerance_ns=int(self.values["stamp_tolerance"] * NANOSECONDS),
                                          length_ns=int(self.values["buffer_seconds"] * NANOSECONDS))
        self._views = FrameViews(self, lambda: None)
        self._groups: list[dict[str, Any]] = []
        self._problem = ""
        self._listen(chosen)

    def _listen(self, chosen: CameraTopics) -> None:
        self.inputs.add_image("image", "image", lambda message: self.arrived("image", message), _transport(self, chosen.color))
        if self._has_mask:
            assert chosen.mask is not None
            self.inputs.add_image("mask", "mask", lambda message: self.arrived("mask", message), _transport(self, chosen.mask))
        if self._has_depth:
            assert chosen.depth is not None
            self.values["depth_transport"] = _transport(self, chosen.depth)
            self.inputs.add_image("depth", "depth", lambda message: self.arrived("depth", message), self.values["depth_transport"])
            self._views.listen()

    def arrived(self, role: str, message: Any) -> None:
        """A message has come; also what FrameViews calls."""
        set_missing_stamp(message, time.time_ns())
        group = self._synchronizer.put(role, stamp_ns(message.header), message, size_of(message))
        if group is not None:
            self._groups.append(group)

    def refuse(self, reason: str) -> None:
        """A message that cannot be read: what Inputs calls."""
        self._problem = reason

    def view(self, executor: SingleThreadedExecutor, after: int, patience_s: float) -> View:
        """Of the first usable frame, with so many before it. Raises ValueError where it has not come so soon."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            executor.spin_once(timeout_sec=LOOK_S)
            self.inputs.look_for_latched()
            for group in self._groups:
                try:
                    found = self._view(group)
                except ValueError as error:
                    self._problem = str(error)
                    continue
                if after == 0:
                    return found
                after -= 1
            self._groups.clear()
        why = [self._problem] if self._problem else [self.inputs.explain(SILENT_S), self._synchronizer.mismatch()]
        raise ValueError("no frame to make a template of has come (--wait): " + ". ".join(filter(None, why)))

    def _view(self, group: dict[str, Any]) -> View:
        image = to_color(group["image"])
        mask = to_mask(group["mask"]) if self._has_mask else None
        if not self._has_depth:
            return View(image, mask=mask)
        view, _ = self._views.plain(group, image, mask)
        return View(image if view.image is None else view.image, view.depth_m, view.camera, view.mask)


def _transport(node: Node, topic: str) -> str:
    """By which the images of a topic come, from its name or its type."""
    if any(info.topic_type == CLOUD for info in node.get_publishers_info_by_topic(topic)):
        return topics.CLOUD
    return next((packed for packed in topics.PACKED if topic.endswith(f"/{packed}")), "raw")
