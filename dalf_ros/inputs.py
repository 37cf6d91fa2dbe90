"""What a node listens to: subscriptions whose callback only enqueues, and the warning that says why nothing comes."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.qos_overriding_options import QoSOverridingOptions

from .message_factory import ros_class

IMAGE_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
RESULT_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE)
LATCHED_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE,
                         durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Inputs:
    """The subscriptions of an active node, by role."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._subscriptions: dict[str, Any] = {}
        self.received: dict[str, int] = {}

    def add(self, role: str, topic: str, type_name: str, callback: Callable[[Any], None], qos: QoSProfile = IMAGE_QOS) -> None:
        """Subscribe; the callback runs for every message, on the executor's thread."""
        def arrived(message: Any) -> None:
            self.received[role] += 1
            callback(message)

        self.received.setdefault(role, 0)
        self._subscriptions[role] = self._node.create_subscription(
            ros_class(type_name), topic, arrived, qos, qos_overriding_options=QoSOverridingOptions.with_default_policies())

    def add_image(self, role: str, topic: str, callback: Callable[[Any], None], transport: str = "raw") -> None:
        """Subscribe to an Image topic; for another transport than "raw" to the CompressedImage topic beside it, named after the
        transport (as image_transport does, after remapping).
        """
        if transport == "raw":
            self.add(role, topic, "sensor_msgs/msg/Image", callback)
        else:
            self.add(role, f"{self._node.resolve_topic_name(topic)}/{transport}", "sensor_msgs/msg/CompressedImage", callback)

    def topic(self, role: str) -> str:
        """The resolved topic of a role; empty when it is not subscribed."""
        subscription = self._subscriptions.get(role)
        return "" if subscription is None else str(subscription.topic_name)

    def close(self) -> None:
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def explain(self) -> str:
        """One line a topic: resolved name, messages, publishers, and what stands in the way."""
        return "; ".join(f"{role}: {self._explain(role, subscription)}" for role, subscription in self._subscriptions.items())

    def _explain(self, role: str, subscription: Any) -> str:
        topic = subscription.topic_name
        publishers = self._node.get_publishers_info_by_topic(topic)
        text = f"{topic} has {len(publishers)} publisher{'' if len(publishers) == 1 else 's'}, {self.received[role]} messages came"
        wanted = subscription.msg_type.__module__.split(".")[0] + "/msg/" + subscription.msg_type.__name__
        for publisher in publishers:
            if publisher.topic_type != wanted:
                text += f"; {publisher.node_name} publishes {publisher.topic_type}, not {wanted}"
                continue
            compatible, reason = qos_check_compatible(publisher.qos_profile, subscription.qos_profile)
            if compatible == QoSCompatibility.ERROR:
                text += f"; QoS of {publisher.node_name} does not match: {reason}"
        return text
