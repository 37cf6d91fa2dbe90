"""`./run play BAG`: publish a recording's messages over ROS, for machines without `ros2 bag`.

Publishers are reliable (KEEP_LAST 10), which reliable and best-effort subscribers both accept; topics that were recorded as latched
are latched again. Message bytes are passed on as they are.
"""
from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dalf_core.interruption import Interruption

from .bags.bag_source import BagError, BagSource, RawMessage
from .nodes.ros_home import ensure_ros_home

EXIT_STATUS = ("exit status: 0 played, 2 an error (told in one line), 130 ended by Ctrl-C, 143 by SIGTERM; with --ros-args, as launch\n"
               "starts it, 0 for those too: launch calls everything else a death")
CLOCK_HZ = 100.0                # between messages /clock goes on so often
NANOSECONDS = 1_000_000_000


def parser() -> argparse.ArgumentParser:
    """The command line; everything after --ros-args goes to ROS."""
    p = argparse.ArgumentParser(prog="play", description=__doc__, epilog=EXIT_STATUS, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bag", type=Path, help="rosbag2 folder, .mcap, .db3 (also .zstd) or ROS 1 .bag")
    p.add_argument("--rate", type=float, default=1.0, help="speed, 1 = as recorded (default)")
    p.add_argument("--loop", action="store_true", help="begin again at the end, until Ctrl-C")
    p.add_argument("--clock", action="store_true", help="publish /clock with the recording's time")
    p.add_argument("--clock-rate", type=float, default=CLOCK_HZ, metavar="HZ",
                   help=f"between messages /clock goes on so often (default {CLOCK_HZ:g})")
    p.add_argument("--topics", nargs="+", metavar="TOPIC", help="only these (default: all)")
    p.add_argument("--wait", type=float, default=0.0, metavar="SECONDS",
                   help="wait until every topic has a subscriber, so long at most (default 0: do not wait)")
    p.add_argument("--wait-for", nargs="+", default=[], metavar="NODE",
                   help="with --wait: and until each of these nodes, named in full, subscribes to one of the topics")
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: EXIT_STATUS."""
    words = list(sys.argv[1:] if args is None else args)
    at = words.index("--ros-args") if "--ros-args" in words else len(words)
    status = run(words[:at], words[at:])
    return 0 if status in (130, 143) and words[at:] else status


def run(words: list[str], ros_args: list[str]) -> int:
    """Do what the command line says. Exit status: 0 played, 2 an error, 130 or 143 interrupted."""
    options = parser().parse_args(words)
    try:
        if not options.rate > 0:
            raise BagError(f"--rate {options.rate} must be greater than 0")
        if not options.clock_rate > 0:
            raise BagError(f"--clock-rate {options.clock_rate} must be greater than 0")
        with Interruption() as interruption, BagSource(options.bag) as source:
            return play(source, options, ros_args, interruption)
    except KeyboardInterrupt:
        return 130
    except (BagError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def play(source: BagSource, options: argparse.Namespace, ros_args: list[str], interruption: Interruption) -> int:
    """Publish the recording. Returns the exit status."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    names = chosen_topics(source, options.topics)
    if source.damaged:
        print(f"warning: {source.damaged}", file=sys.stderr)
    ensure_ros_home()
    rclpy.init(args=ros_args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = rclpy.create_node("dalf_play")
        player = Player(node, source, names, options.clock_rate if options.clock else None)
        with spinning(node):
            player.wait_for_subscribers(options.wait, options.wait_for, interruption)
            rounds = 0
            while not interruption.asked and (rounds == 0 or options.loop):
                player.play(options.rate, interruption)
                rounds += 1
            player.drain()
        print(player.report())
    finally:
        rclpy.try_shutdown()
    return interruption.exit_code


@contextmanager
def spinning(node: Any) -> Iterator[None]:
    """The node answers its services (`ros2 param list` asks them) from a thread of its own meanwhile."""
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)

    def spin() -> None:
        with suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join()


def chosen_topics(source: BagSource, wanted: list[str] | None) -> list[str]:
    """The topics to play. Raises BagError when one is not in the recording."""
    from .bags.bag_topics import list_topics

    missing = [name for name in wanted or [] if name not in source.topics]
    if missing:
        raise BagError(f"{source.path} has no topic {', '.join(missing)}. It holds:\n" + list_topics(source.topics.values()))
    return list(wanted or source.topics)


class Player:
    """Publishers for a recording's topics, and the timing."""

    def __init__(self, node: Any, source: BagSource, topics: list[str], clock_hz: float | None) -> None:
        self._node, self._source = node, source
        self._publishers: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._bytes = 0
        self._seconds = 0.0
        self._latest_s = 0.0
        for name in topics:
            self._add(name)
        if not self._publishers:
            raise BagError("none of the topics can be published: their message packages are not installed")
        self._clock = self._clock_publisher() if clock_hz else None
        self._step_s = 1 / clock_hz if clock_hz else 0.1
        self._told_ns: int | None = None

    def _add(self, name: str) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

        from .conversions.message_factory import ros_class

        kind = self._source.topics[name].type
        latched = name == "/tf_static" or self._source.is_latched(name)
        qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE,
                         durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)
        try:
            self._publishers[name] = self._node.create_publisher(ros_class(kind), name, qos)
        except (ImportError, AttributeError):
            print(f"warning: {name} is left out: the messages of {kind} are not installed", file=sys.stderr)
            return
        self._counts[name] = 0

    def _clock_publisher(self) -> Any:
        from rosgraph_msgs.msg import Clock

        return self._node.create_publisher(Clock, "/clock", 10)

    def wait_for_subscribers(self, seconds: float, nodes: list[str], interruption: Interruption) -> None:
        """Wait until each topic has one, and each of the nodes is one."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not interruption.asked:
            if not self._silent(nodes):
                time.sleep(0.2)      # their side learns of the match a little later
                return
            time.sleep(0.02)
        silent = self._silent(nodes)
        if seconds > 0 and silent and not interruption.asked:
            print(f"after {seconds:g} s {'; '.join(silent)}; playing all the same", file=sys.stderr)

    def _silent(self, nodes: list[str]) -> list[str]:
        """What is still waited for, in words: topics that nobody listens to, nodes that listen to none."""
        lonely = [name for name, publisher in self._publishers.items() if publisher.get_subscription_count() == 0]
        heard = [info for name in self._publishers for info in self._node.get_subscriptions_info_by_topic(name)] if nodes else []
        listening = {f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in heard}
        deaf = [name for name in nodes if name not in listening]
        return ([f"nobody listens to {', '.join(lonely)}"] if lonely else []) + ([f"{', '.join(deaf)} listens to nothing"] if deaf else [])

    def play(self, rate: float, interruption: Interruption) -> None:
        """Publish every message once, at its time."""
        start: int | None = None
        began = time.monotonic()
        for raw in self._messages():
            start = raw.time_ns if start is None else start
            self._sleep_until(began, (raw.time_ns - start) / NANOSECONDS / rate, start, rate, interruption)
            if interruption.asked:
                break
            self._latest_s = max(self._latest_s, time.monotonic() - began - (raw.time_ns - start) / NANOSECONDS / rate)
            self._tick(raw.time_ns)
            data = self._source.cdr(raw)
            self._publishers[raw.topic].publish(data)
            self._counts[raw.topic] += 1
            self._bytes += len(data)
        self._seconds += time.monotonic() - began

    def drain(self) -> None:
        """Let the last messages be taken before the publishers go: data in flight dies with them."""
        from rclpy.duration import Duration

        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=2.0))
        time.sleep(0.3)

    def report(self) -> str:
        """What was published, and how fast."""
        lines = [f"{name}: {count} messages, {count / max(self._seconds, 1e-9):.2f} a second" for name, count in self._counts.items()]
        total = f"{self._bytes / 1e6:.1f} MB in {self._seconds:.2f} s; latest message {1e3 * self._latest_s:.1f} ms behind its time"
        return "\n".join([*lines, total])

    def _messages(self) -> Iterator[RawMessage]:
        return self._source.messages(list(self._publishers))

    def _sleep_until(self, began: float, due_s: float, start_ns: int, rate: float, interruption: Interruption) -> None:
        """Sleep in small steps, /clock going on meanwhile."""
        while not interruption.asked:
            now = time.monotonic() - began
            if due_s - now <= 0:
                return
            self._tick(start_ns + int(now * rate * NANOSECONDS))
            time.sleep(min(due_s - now, self._step_s))

    def _tick(self, time_ns: int) -> None:
        if self._clock is None or time_ns == self._told_ns:
            return
        from .conversions.message_factory import ros_message

        self._told_ns = time_ns
        stamp = {"sec": time_ns // NANOSECONDS, "nanosec": time_ns % NANOSECONDS}
        self._clock.publish(ros_message("rosgraph_msgs/msg/Clock", {"clock": stamp}))


if __name__ == "__main__":
    sys.exit(main())
