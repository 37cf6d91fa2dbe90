"""The recording played through live nodes: feature_node, registration_node and play as processes of their own, and a listener here."""
from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..conversions import topics
from ..conversions.message_factory import bag_typestore, ros_class
from ..conversions.messages import STATUS_NAMES
from ..launch_support.child_process import Process
from ..nodes.ros_home import ensure_ros_home
from ..simulation.recording import CAMERA_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC, MASK_TOPIC

IMAGE = "sensor_msgs/msg/Image"
CAMERA_TOPICS = {COLOR_TOPIC: IMAGE, DEPTH_TOPIC: IMAGE, MASK_TOPIC: IMAGE, CAMERA_INFO_TOPIC: "sensor_msgs/msg/CameraInfo"}
RESULT_TOPICS = {f"/{name}": topics.TYPES[name] for name in
                 (topics.FEATURES, topics.MATCHES, topics.STATUS, topics.MESH, topics.POINTS, topics.DEFORMATION, topics.REFERENCE)}
REMAPPINGS = {"image": COLOR_TOPIC, "depth": DEPTH_TOPIC, "camera_info": CAMERA_INFO_TOPIC, "mask": MASK_TOPIC}
READY_S, QUIET_S, PATIENCE_S = 90.0, 4.0, 30.0


class LiveError(RuntimeError):
    """The live part did not work; the message says what was seen."""


@dataclass
class Delivery:
    """What arrived on one topic. times: seconds, when each message came. stamps: sensor stamps, nanoseconds. frames: frame_id's seen."""

    times: list[float] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Messages a second between the first and the last; NaN for fewer than two."""
        return (len(self.times) - 1) / (self.times[-1] - self.times[0]) if len(self.times) > 1 else float("nan")


@dataclass(frozen=True)
class LiveResult:
    """deliveries: by topic. meshes: SurfaceMesh messages, references first. status: name by stamp. published: images played."""

    deliveries: dict[str, Delivery]
    meshes: list[Any]
    status: dict[int, str]
    published: int

    def latency_ms(self, topic: str) -> np.ndarray:
        """Milliseconds from a colour image's arrival to that of the results of the same stamp."""
        color = self.deliveries[COLOR_TOPIC]
        arrival = dict(zip(color.stamps, color.times))
        result = self.deliveries[topic]
        return np.array([1e3 * (moment - arrival[stamp]) for stamp, moment in zip(result.stamps, result.times) if stamp in arrival])

    def table(self) -> str:
        """One line a topic."""
        lines = [f"{'topic':44} {'received':>9} {'rate/Hz':>8}   latency/ms (median, 95th percentile)"]
        for topic, delivery in self.deliveries.items():
            count = f"{len(delivery.times)}/{self.published}" if topic in CAMERA_TOPICS else str(len(delivery.times))
            latency = self.latency_ms(topic) if topic not in CAMERA_TOPICS else np.zeros(0)
            late = f"{np.median(latency):9.0f} {np.percentile(latency, 95):6.0f}" if len(latency) else ""
            rate = f"{delivery.rate:8.2f}" if np.isfinite(delivery.rate) else f"{'':8}"
            lines.append(f"{topic:44} {count:>9} {rate} {late}")
        return "\n".join(lines)


def run_live(bag: Path, frames: int, logs: Path, *, top_k: int, weights: str | None, device: str, precision: str,
             rate: float) -> LiveResult:
    """Start the nodes, play the bag once at `rate` times its speed, collect what comes. Raises LiveError.

    frames: images in the bag. logs: folder for the processes' output.
    """
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(1, 99))   # heard by nobody else on this machine
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    common = {"use_mask": "true"}
    extra = {"device": device, "precision": precision, "top_k": str(top_k)} | ({"weights": weights} if weights else {})
    processes: list[Process] = []
    listener: Listener | None = None
    ensure_ros_home()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        listener = Listener()
        processes.append(Process("feature_node", _ros_args(common | extra), logs / "feature_node.log"))
        processes.append(Process("registration_node", _ros_args(common), logs / "registration_node.log"))
        listener.spin(READY_S, until=listener.nodes_are_ready, watch=processes)
        player = Process("play", [str(bag), "--rate", str(rate), "--wait", "10", "--topics", *CAMERA_TOPICS], logs / "play.log")
        processes.append(player)
        listener.spin(PATIENCE_S + 6 / rate, until=player.has_ended, watch=processes[:2])
        if player.stop() != 0:
            raise LiveError(f"play failed:\n{player.tail()}")
        listener.spin(PATIENCE_S, until=listener.is_quiet, watch=processes[:2], fail=False)
        result = LiveResult(listener.deliveries, [*listener.references, *listener.meshes], listener.status, frames)
    finally:
        codes = {process.name: process.stop() for process in processes}
        if listener is not None:
            listener.close()
        rclpy.try_shutdown()
    bad = [f"{name} ended with {code}" for name, code in codes.items() if code != 0]
    if bad:
        raise LiveError(f"{', '.join(bad)}; output in {logs}")
    return result


def _ros_args(parameters: dict[str, str]) -> list[str]:
    words = ["--ros-args"]
    for name, value in parameters.items():
        words += ["-p", f"{name}:={value}"]
    for name, value in REMAPPINGS.items():
        words += ["-r", f"{name}:={value}"]
    return words


class Listener:
    """A node that receives every topic as raw bytes and notes when and with which stamp."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

        self.deliveries = {topic: Delivery() for topic in (*CAMERA_TOPICS, *RESULT_TOPICS)}
        self.meshes: list[Any] = []
        self.references: list[Any] = []
        self.status: dict[int, str] = {}
        self._last = time.monotonic()
        self._node = rclpy.create_node("dalf_demo_listener")
        for topic, kind in (CAMERA_TOPICS | RESULT_TOPICS).items():
            latched = topic.lstrip("/") in topics.LATCHED
            qos = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT if topic in CAMERA_TOPICS else ReliabilityPolicy.RELIABLE,
                             durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)
            self._node.create_subscription(ros_class(kind), topic, partial(self._arrived, topic, kind), qos, raw=True)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)

    def _arrived(self, topic: str, kind: str, data: bytes) -> None:
        now = time.monotonic()
        second, nanosecond = struct.unpack_from("<iI", data, 4)     # every type here begins with its header's stamp
        stamp = second * 1_000_000_000 + nanosecond
        self.deliveries[topic].times.append(now)
        self.deliveries[topic].stamps.append(stamp)
        self._last = now
        if topic.lstrip("/") == topics.STATUS:
            self.status[stamp] = STATUS_NAMES[int(bag_typestore().deserialize_cdr(data, kind).status)]
        elif topic.lstrip("/") == topics.MESH:
            self.meshes.append(bag_typestore().deserialize_cdr(data, kind))
        elif topic.lstrip("/") == topics.REFERENCE:
            self.references.append(bag_typestore().deserialize_cdr(data, kind))

    def close(self) -> None:
        """Before the context is shut down: an executor that outlives it ends with a traceback."""
        self._executor.shutdown()
        self._node.destroy_node()

    def nodes_are_ready(self) -> bool:
        """Both nodes listen to the camera and publish."""
        node = self._node
        heard = node.count_subscribers(COLOR_TOPIC) >= 3 and node.count_subscribers(DEPTH_TOPIC) >= 2
        return heard and all(node.count_publishers(f"/{name}") > 0 for name in (topics.MATCHES, topics.STATUS))

    def is_quiet(self) -> bool:
        """Nothing has come for some seconds."""
        return time.monotonic() - self._last > QUIET_S

    def spin(self, seconds: float, *, until: Any, watch: Sequence[Process], fail: bool = True) -> None:
        """Receive until a condition holds. Raises LiveError when a watched process ends, and when time is up if `fail`."""
        deadline = time.monotonic() + seconds
        while not until():
            for process in watch:
                if process.has_ended():
                    raise LiveError(f"{process.name} ended by itself:\n{process.tail()}")
            if time.monotonic() > deadline:
                if fail:
                    raise LiveError(f"waited {seconds:.0f} s in vain for the live nodes:\n" + "\n".join(p.tail() for p in watch))
                return
            for _ in range(32):
                self._executor.spin_once(timeout_sec=0.02)
