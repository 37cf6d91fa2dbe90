"""A node that notes what arrives on some topics, when and with which stamp. Messages stay as they came: nothing is decoded meanwhile."""
from __future__ import annotations

import struct
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..conversions import topics
from ..conversions.message_factory import ros_class

CLOCK = "/clock"


class Arrival(NamedTuple):
    """One message. time_s: of time.monotonic(). stamp_ns: its header's, of /clock the time it tells. data: its CDR bytes where kept."""

    time_s: float
    stamp_ns: int
    data: bytes = b""


def stamp_of(data: bytes) -> int:
    """Nanoseconds of the stamp that a serialised message begins with: one with a header, or a Clock."""
    second, nanosecond = struct.unpack_from("<iI", data, 4)
    return int(second) * 1_000_000_000 + int(nanosecond)


class Listener:
    """Hears /clock and the topics of `heard` (name: type); the bytes of those in `kept` are kept.

    arrivals: by topic, in the order of their coming, since the last take().
    """

    def __init__(self, heard: Mapping[str, str], kept: Collection[str]) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        heard = {**heard, CLOCK: "rosgraph_msgs/msg/Clock"}
        self._kept = frozenset(kept)
        self.arrivals: dict[str, list[Arrival]] = {name: [] for name in heard}
        self.last_s = time.monotonic()
        self.node = rclpy.create_node("dalf_listener")
        for name, kind in heard.items():
            self.node.create_subscription(ros_class(kind), name, partial(self._arrived, name), _qos(name), raw=True)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def _arrived(self, topic: str, data: bytes) -> None:
        self.last_s = time.monotonic()
        self.arrivals[topic].append(Arrival(self.last_s, stamp_of(data), data if topic in self._kept else b""))

    def take(self) -> dict[str, list[Arrival]]:
        """What has arrived since the last call."""
        taken, self.arrivals = self.arrivals, {name: [] for name in self.arrivals}
        return taken

    def hears(self, topic: str) -> bool:
        return topic in self.arrivals

    def spin(self, seconds: float, until: Callable[[], bool]) -> bool:
        """Receive until the condition holds, which is asked after every message; whether it did in time."""
        deadline = time.monotonic() + seconds
        while not until():
            if time.monotonic() > deadline:
                return False
            self._executor.spin_once(timeout_sec=0.05)
        return True

    def close(self) -> None:
        """Before the context is shut down: an executor that outlives it ends with a traceback."""
        self._executor.shutdown()
        self.node.destroy_node()


def _qos(topic: str) -> Any:
    """Results and the clock reliably, camera topics as the nodes take them."""
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    name = topic.lstrip("/")
    reliable, latched = name in topics.TYPES or topic == CLOCK, name in topics.LATCHED
    return QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)
