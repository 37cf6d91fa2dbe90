"""What a node listens to: subscriptions whose callback only enqueues, and the warning that says why nothing comes."""
from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.qos_overriding_options import QoSOverridingOptions

from ..conversions import topics
from ..conversions.message_factory import bag_typestore, ros_class
from ..images.video_stream import VideoStreams

IMAGE_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
RESULT_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE)
LATCHED_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE,
                         durability=DurabilityPolicy.TRANSIENT_LOCAL)
# The executor goes over every event of every topic, in Python, whenever anything comes: at 30 Hz that took a third of a core.
# What the events of a subscription would tell, explain() does.
NO_EVENTS = SubscriptionEventCallbacks(use_default_callbacks=False)


class Inputs:
    """The subscriptions of an active node, by role."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._subscriptions: dict[str, Any] = {}
        self._late: dict[str, Callable[[], Any]] = {}       # subscribes to what was published before the node started
        self._latched: dict[str, Any] = {}                  # those second subscriptions
        self._optional: set[str] = set()
        self._heard: dict[str, float] = {}          # steady time of the last message
        self.received: dict[str, int] = {}

    def add(self, role: str, topic: str, type_name: str, callback: Callable[[Any], None], qos: QoSProfile = IMAGE_QOS,
            optional: bool = False, latched: bool = False, large: bool = False) -> None:
        """Subscribe; the callback runs for every message, on the executor's thread. optional: the node works without it.

        latched: what was published once, before the node started, is heard too (look_for_latched).
        large: rosbags makes the message, of the bytes as they came: rclpy copies an image three times on the way, for 2 ms at VGA.
        """
        def arrived(message: Any) -> None:
            self.received[role] += 1
            self._heard[role] = time.monotonic()
            try:
                message = bag_typestore().deserialize_cdr(message, type_name) if large else message
            except Exception as error:      # of any kind: they are foreign bytes
                self._node.refuse(f"a message on {self.topic(role)} cannot be read: {error}")
                return
            callback(message)

        if optional:
            self._optional.add(role)

        self.received.setdefault(role, 0)
        self._subscriptions[role] = self._node.create_subscription(
            ros_class(type_name), topic, arrived, qos, raw=large, event_callbacks=NO_EVENTS,
            qos_overriding_options=QoSOverridingOptions.with_default_policies())
        if latched:
            self._late[role] = lambda: self._node.create_subscription(ros_class(type_name), topic, arrived, LATCHED_QOS)

    def look_for_latched(self) -> None:
        """Subscribe to what publishers keep for those who come late, where nothing has come so far. To be called now and then.

        A subscription that asks for what is kept does not hear publishers that keep nothing, so it is a second one.
        """
        for role, subscribe in self._late.items():
            if self.received[role] == 0 and role not in self._latched and any(
                    info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
                    for info in self._node.get_publishers_info_by_topic(self.topic(role))):
                self._latched[role] = subscribe()

    def add_image(self, role: str, topic: str, callback: Callable[[Any], None], transport: str = "raw", optional: bool = False) -> None:
        """Subscribe to an Image topic; for another transport than "raw" to the CompressedImage topic beside it, named after the
        transport (as image_transport does, after remapping), for "points" to a PointCloud2 topic. Of a film (H.264, H.265) the
        callback gets each picture as a VideoFrame.
        """
        videos = VideoStreams()
        if transport in ("raw", topics.CLOUD):
            kind = "sensor_msgs/msg/Image" if transport == "raw" else "sensor_msgs/msg/PointCloud2"
            self.add(role, topic, kind, callback, optional=optional, large=True)
        else:
            self.add(role, topics.of_transport(self._node.resolve_topic_name(topic), transport), "sensor_msgs/msg/CompressedImage",
                     lambda message: callback(videos.decoded(role, message)), optional=optional, large=True)

    def camera_info_topic(self, name: str, image: str) -> tuple[str, str]:
        """The resolved topic of the CameraInfo called `name`, and why it is that one, in words: as it is remapped, else beside the topic of
        `image`, as image_transport has it."""
        resolve = self._node.resolve_topic_name
        if self._is_remapped(name):
            return resolve(name), "as it is remapped"
        return resolve(topics.camera_info_beside(resolve(image))), f"beside {resolve(image)}, as {name} is not remapped"

    def _is_remapped(self, name: str) -> bool:
        """Also to the name that it has anyway, which the command line alone tells."""
        if self._node.resolve_topic_name(name) != self._node.resolve_topic_name(name, only_expand=True):
            return True
        return any(re.match(rf"([^:=]*[:/])?{name}:=", word) for word in sys.argv)

    def topic(self, role: str) -> str:
        """The resolved topic of a role; empty when it is not subscribed."""
        subscription = self._subscriptions.get(role)
        return "" if subscription is None else str(subscription.topic_name)

    def close(self) -> None:
        for subscription in (*self._subscriptions.values(), *self._latched.values()):
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._late.clear()
        self._latched.clear()

    def explain(self, silence_s: float) -> str:
        """What the node waits for and, a topic at a time, what is known of it; silence_s: without a message for so long it does not come.

        Optional topics are mentioned only where something is wrong with them.
        """
        now = time.monotonic()
        silent = [role for role in self._subscriptions if now - self._heard.get(role, float("-inf")) > silence_s]
        needed = [role for role in silent if role not in self._optional]
        parts = ["waiting for " + " and ".join(needed) if needed else "every topic comes, but nothing that belongs together"]
        for role, subscription in self._subscriptions.items():
            problems = self._problems(subscription)
            if role in self._optional and not problems:
                continue
            where = f"{role}{' (optional)' if role in self._optional else ''}: {subscription.topic_name}"
            parts.append("; ".join([where + (self._state(role, subscription, now) if role in silent else " comes"), *problems]))
        return ". ".join(parts)

    def _state(self, role: str, subscription: Any, now: float) -> str:
        count, received = self._node.count_publishers(subscription.topic_name), self.received[role]
        last = f", the last {now - self._heard[role]:.0f} s ago" if role in self._heard else ""
        return f" has {count} publisher{'' if count == 1 else 's'}, {received} message{'' if received == 1 else 's'} came{last}"

    def _problems(self, subscription: Any) -> list[str]:
        """Publishers that this subscription does not hear, and why; several that it hears at once."""
        problems, heard = [], []
        wanted = subscription.msg_type.__module__.split(".")[0] + "/msg/" + subscription.msg_type.__name__
        for publisher in self._node.get_publishers_info_by_topic(subscription.topic_name):
            if publisher.topic_type != wanted:
                problems.append(f"{publisher.node_name} publishes {publisher.topic_type}, not {wanted}")
                continue
            compatible, reason = qos_check_compatible(publisher.qos_profile, subscription.qos_profile)
            if compatible == QoSCompatibility.ERROR:
                problems.append(f"QoS of {publisher.node_name} does not match: {reason}")
            else:
                heard.append(publisher.node_name)
        if len(heard) > 1 and not wanted.startswith("tf2_msgs/"):       # TF is there to be published by many
            problems.append(f"{', '.join(heard)} publish it at once, so stamps mix")
        return problems
