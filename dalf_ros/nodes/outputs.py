"""What a node publishes: one publisher a topic, and which of them anyone listens to."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos_overriding_options import QoSOverridingOptions

from ..conversions import topics
from ..conversions.message_factory import ros_class, ros_message
from .inputs import LATCHED_QOS, RESULT_QOS

NO_EVENTS = PublisherEventCallbacks(use_default_callbacks=False)     # as of the inputs


class Outputs:
    """The publishers of a node. publish() may be called from any one thread. below: put before all names."""

    def __init__(self, node: Any, names: Iterable[str], below: str = "") -> None:
        self._node = node
        self._publishers = {}
        for name in names:
            self._publishers[name] = node.create_publisher(
                ros_class(topics.TYPES[name]), below + name, LATCHED_QOS if name in topics.LATCHED else RESULT_QOS,
                event_callbacks=NO_EVENTS,
                qos_overriding_options=QoSOverridingOptions.with_default_policies())

    def wanted(self) -> set[str]:
        """The topics worth making a message for: subscribed ones, and those that are never made on demand only."""
        return {name for name, publisher in self._publishers.items()
                if name not in topics.ON_DEMAND or publisher.get_subscription_count() > 0}

    def publish(self, messages: Iterable[tuple[str, dict]]) -> None:
        """Publish (topic, fields) pairs."""
        for name, fields in messages:
            self._publishers[name].publish(ros_message(topics.TYPES[name], fields))

    def close(self) -> None:
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers.clear()
