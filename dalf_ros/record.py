"""`./run record TOPIC... --output DIR`: write topics to an mcap recording, until Ctrl-C.

Topics may appear later. Subscriptions take over what their publishers offer: best effort, and latched topics.
"""
from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from dalf_core.interruption import Interruption

from .bags.bag_source import BagError
from .bags.bag_writer import BagWriter
from .nodes.ros_home import ensure_ros_home

EXIT_STATUS = "exit status: 0 recorded, also when ended by Ctrl-C; 2 an error (told in one line); 3 nothing came; 130 told twice"
REST_S = 5.0                # at most so long it writes, once asked to end, what had come before
LOOK_EVERY_S = 0.2


def parser() -> argparse.ArgumentParser:
    """The command line; everything after --ros-args goes to ROS."""
    p = argparse.ArgumentParser(prog="record", description=__doc__, epilog=EXIT_STATUS,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("topics", nargs="+", metavar="TOPIC", help="topics to record")
    p.add_argument("--output", type=Path, help="folder to make; it must not exist (default: out/recording_ and the time)")
    p.add_argument("--duration", type=float, metavar="SECONDS", help="stop by itself after so long")
    return p


def default_output() -> Path:
    """Below out/, named by the time, as `ros2 bag record` does."""
    return Path("out") / time.strftime("recording_%Y_%m_%d-%H_%M_%S")


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 recorded (also when ended by Ctrl-C), 2 an error, 3 nothing came."""
    words = list(sys.argv[1:] if args is None else args)
    at = words.index("--ros-args") if "--ros-args" in words else len(words)
    options = parser().parse_args(words[:at])
    try:
        with Interruption() as interruption:
            return record(options, words[at:], interruption)
    except KeyboardInterrupt:
        return 130
    except (BagError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def record(options: argparse.Namespace, ros_args: list[str], interruption: Interruption) -> int:
    """Record until interrupted or the duration is over."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    output = options.output or default_output()
    output.parent.mkdir(parents=True, exist_ok=True)
    print(f"recording to {output}", flush=True)
    with BagWriter(output) as bag:
        ensure_ros_home()
        rclpy.init(args=ros_args, signal_handler_options=SignalHandlerOptions.NO)
        try:
            recorder = Recorder(rclpy.create_node("dalf_record"), bag, options.topics)
            executor = SingleThreadedExecutor()
            executor.add_node(recorder.node)
            end = time.monotonic() + options.duration if options.duration else float("inf")
            looked = 0.0
            while not interruption.asked and time.monotonic() < end:
                if recorder.missing and time.monotonic() - looked > LOOK_EVERY_S:
                    recorder.look()
                    looked = time.monotonic()
                executor.spin_once(timeout_sec=0.05)
            recorder.take_the_rest(executor)
        finally:
            rclpy.try_shutdown()
    print(recorder.report())
    return 0 if bag.count else 3


class Recorder:
    """Subscribes to topics as they appear, and writes what comes, stamped with the time of its arrival."""

    def __init__(self, node: Any, bag: BagWriter, topics: list[str]) -> None:
        self.node, self._bag = node, bag
        self._wanted = [node.resolve_topic_name(topic) for topic in topics]
        self._subscriptions: dict[str, Any] = {}
        self._counts: dict[str, int] = {}

    def take_the_rest(self, executor: Any) -> None:
        """What has arrived by now belongs to the recording, though a busy disk may be behind; what still comes does not end it."""
        end, idle = time.monotonic() + REST_S, 0
        while idle < 3 and time.monotonic() < end:
            before = sum(self._counts.values())
            executor.spin_once(timeout_sec=0.01)
            idle = 0 if sum(self._counts.values()) > before else idle + 1

    @property
    def missing(self) -> list[str]:
        """Topics that nobody publishes yet."""
        return [topic for topic in self._wanted if topic not in self._subscriptions]

    def look(self) -> None:
        """Subscribe to those that have appeared."""
        for topic in self.missing:
            publishers = self.node.get_publishers_info_by_topic(topic)
            if publishers:
                self._subscribe(topic, publishers)

    def _subscribe(self, topic: str, publishers: list[Any]) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

        from .conversions.message_factory import bag_typestore, ros_class

        kind = publishers[0].topic_type
        if kind not in bag_typestore().types:
            raise BagError(f"{topic}: {kind} is a type that cannot be recorded (known: those of ROS 2 Jazzy and of dalf)")
        reliable = all(p.qos_profile.reliability == ReliabilityPolicy.RELIABLE for p in publishers)
        latched = all(p.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in publishers)
        qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
                         durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)
        self._counts[topic] = 0
        write = partial(self._write, topic, kind, latched)
        self._subscriptions[topic] = self.node.create_subscription(ros_class(kind), topic, write, qos, raw=True)
        print(f"recording {topic} [{kind}]", flush=True)

    def _write(self, topic: str, kind: str, latched: bool, data: bytes) -> None:
        self._bag.write_raw(topic, kind, self.node.get_clock().now().nanoseconds, data, latched=latched)
        self._counts[topic] += 1

    def report(self) -> str:
        """What was recorded."""
        lines = [f"{topic}: {self._counts[topic]} messages" for topic in self._counts]
        lines += [f"{topic}: nobody published it" for topic in self.missing]
        return "\n".join([*lines, f"written to {self._bag.path}"])


if __name__ == "__main__":
    sys.exit(main())
