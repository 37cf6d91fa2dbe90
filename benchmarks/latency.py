#!/usr/bin/env python3
"""What ROS adds to a frame, without network and solver.

    ./run exec python benchmarks/latency.py

First: 640x480 colour and depth images at 30 Hz from one process to another, taken as the nodes do (subscriptions, synchronised by
stamp, one-slot mailbox, worker thread): from the stamp, set just before publishing, to the worker, and on to NumPy arrays. Then: filling
and publishing result messages through the package's own message factory, with a subscriber in another process. With the Fast DDS profile of
config/ unless --no-profile.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

PROFILE = Path(__file__).resolve().parents[1] / "config" / "fastdds.xml"
WIDTH, HEIGHT = 640, 480
TOPICS = {"image": "/benchmark/image", "depth": "/benchmark/depth", "matches": "/benchmark/matches", "features": "/benchmark/features"}
TYPES = {"matches": "dalf/msg/MatchArray", "features": "dalf/msg/FeatureArray"}
DONE = "/benchmark/done"
PATIENCE_S = 30.0


# ---------------------------------------------------------------- the sending process

def camera(options: argparse.Namespace) -> dict:
    """Publish the images, then the results; returns what was sent and how long the results took."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    from dalf_ros.conversions.message_factory import ros_class
    from dalf_ros.nodes.inputs import RESULT_QOS

    rclpy.init()
    node = rclpy.create_node("benchmark_camera")
    best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    images = {role: node.create_publisher(ros_class("sensor_msgs/msg/Image"), TOPICS[role], best_effort) for role in ("image", "depth")}
    results = {role: node.create_publisher(ros_class(TYPES[role]), TOPICS[role], RESULT_QOS) for role in TYPES}
    done = node.create_publisher(ros_class("std_msgs/msg/UInt32"), DONE, RESULT_QOS)
    wait_for_subscribers([*images.values(), *results.values(), done])
    count = send_images(images, options.seconds, options.rate)
    report = {"sent": count} | {role: publish_times(results[role], role, options.rounds) for role in TYPES}
    done.publish(ros_class("std_msgs/msg/UInt32")(data=count))
    time.sleep(1.0)
    rclpy.shutdown()
    return report


def wait_for_subscribers(publishers: list[Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(publisher.get_subscription_count() == 0 for publisher in publishers):
        if time.monotonic() > deadline:
            raise RuntimeError("the other process does not listen")
        time.sleep(0.05)
    time.sleep(1.0)         # its side may learn of the match later


def send_images(publishers: dict[str, Any], seconds: float, rate: float) -> int:
    """Publish pairs of images at a steady rate; returns how many."""
    from dalf_ros.conversions.message_factory import ros_message
    from dalf_ros.conversions.messages import header
    from dalf_ros.images.image_conversion import from_color, from_depth

    rng = np.random.default_rng(0)
    color = from_color(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8), header(0, "camera"))
    depth = from_depth(rng.uniform(0.5, 1.5, (HEIGHT, WIDTH)), header(0, "camera"), "16UC1")
    messages = {"image": ros_message("sensor_msgs/msg/Image", color), "depth": ros_message("sensor_msgs/msg/Image", depth)}
    count, began = round(seconds * rate), time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        stamp = time.time_ns()
        for role, message in messages.items():
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
            publishers[role].publish(message)
    return count


def publish_times(publisher: Any, role: str, rounds: int) -> dict[str, float]:
    """Median milliseconds, wall and this thread's CPU, of making one message from core types, and of publishing it."""
    from dalf_ros.conversions.message_factory import ros_message
    from dalf_ros.conversions.messages import feature_array, header, match_array

    sample = sample_matches() if role == "matches" else sample_features()
    wall, cpu = [], []
    for _ in range(rounds):
        started, used = time.perf_counter(), time.thread_time()
        fields = match_array(sample, "camera") if role == "matches" else feature_array(sample, header(1, "camera"))
        publisher.publish(ros_message(TYPES[role], fields))
        wall.append(time.perf_counter() - started)
        cpu.append(time.thread_time() - used)
        time.sleep(0.02)
    return {"median": 1e3 * float(np.median(wall)), "p95": 1e3 * float(np.percentile(wall, 95)), "cpu": 1e3 * float(np.median(cpu))}


def sample_matches(count: int = 2000) -> Any:
    from dalf_core.tracking import FrameMatches
    from dalf_core.types import Matches

    rng = np.random.default_rng(0)
    index = np.arange(count)
    matches = Matches(index, index, rng.random(count).astype(np.float32), rng.random(count) > 0.3)
    return FrameMatches(2, 1, (WIDTH, HEIGHT), (WIDTH, HEIGHT), matches, rng.random((count, 2)) * WIDTH, rng.random((count, 2)) * WIDTH)


def sample_features(count: int = 2048, dim: int = 128) -> Any:
    from dalf_core.types import Features

    rng = np.random.default_rng(0)
    return Features(rng.random((count, 2)).astype(np.float32), rng.random(count).astype(np.float32),
                    rng.random((count, dim)).astype(np.float32), (WIDTH, HEIGHT))


# ---------------------------------------------------------------- the receiving process

class Receiver:
    """Takes pairs of images as the nodes do, and notes how old they are."""

    def __init__(self, node: Any) -> None:
        from dalf_ros.conversions.message_factory import ros_class
        from dalf_ros.nodes.inputs import RESULT_QOS, Inputs
        from dalf_ros.nodes.mailbox import Mailbox
        from dalf_ros.nodes.synchronizer import Synchronizer

        self.mailbox: Mailbox[Any] = Mailbox()
        self.arrived_ms: list[float] = []
        self.converted_ms: list[float] = []
        self.over = False
        self._synchronizer = Synchronizer("image", ["depth"], [], tolerance_ns=20_000_000, length_ns=5_000_000_000)
        self._inputs = Inputs(node)
        for role in ("image", "depth"):
            self._inputs.add_image(role, TOPICS[role], lambda message, role=role: self._arrived(role, message))
        for role, kind in TYPES.items():
            node.create_subscription(ros_class(kind), TOPICS[role], lambda _data: None, RESULT_QOS, raw=True)
        node.create_subscription(ros_class("std_msgs/msg/UInt32"), DONE, self._finished, RESULT_QOS)
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    @property
    def received(self) -> dict[str, int]:
        """Messages by role."""
        return self._inputs.received

    def _arrived(self, role: str, message: Any) -> None:
        from dalf_ros.conversions.messages import stamp_ns

        group = self._synchronizer.put(role, stamp_ns(message.header), message)
        if group is not None:
            self.mailbox.put(group)

    def _finished(self, _: Any) -> None:
        self.over = True

    def _work(self) -> None:
        from dalf_ros.conversions.messages import stamp_ns
        from dalf_ros.images.image_conversion import to_color, to_depth

        while not self.mailbox.closed:
            group = self.mailbox.take(timeout=0.2)
            if group is None:
                continue
            now, stamp = time.time_ns(), stamp_ns(group["image"].header)
            to_color(group["image"]), to_depth(group["depth"])
            self.arrived_ms.append((now - stamp) / 1e6)
            self.converted_ms.append((time.time_ns() - stamp) / 1e6)


def receiver(_: argparse.Namespace) -> dict:
    """Listen until the sending process has finished."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    rclpy.init()
    node = rclpy.create_node("benchmark_receiver")
    listener = Receiver(node)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not listener.over:
        executor.spin_once(timeout_sec=0.5)
    report = {"arrived": listener.arrived_ms, "converted": listener.converted_ms, "overwritten": listener.mailbox.dropped,
              "received": listener.received}
    rclpy.shutdown()
    return report


# ---------------------------------------------------------------- the parent

def run(options: argparse.Namespace) -> tuple[dict, dict]:
    """Both processes; what the sender and the receiver report."""
    domain = os.environ.get("ROS_DOMAIN_ID") or str(random.SystemRandom().randint(61, 99))
    environment = {**os.environ, "ROS_DOMAIN_ID": domain, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        environment.pop(name, None)
        if not options.no_profile:
            environment[name] = str(PROFILE)
    command = [sys.executable, __file__, *sys.argv[1:], "--role"]
    processes = [subprocess.Popen([*command, role], env=environment, stdout=subprocess.PIPE, text=True) for role in ("receiver", "camera")]
    try:
        limit = options.seconds + options.rounds * 0.2 + 3 * PATIENCE_S
        output = [process.communicate(timeout=limit)[0] for process in reversed(processes)]
    finally:
        for process in processes:
            process.kill()
    if any(process.returncode for process in processes):
        sys.exit("a process failed; its error is above")
    sent, received = (json.loads(text.splitlines()[-1]) for text in output)
    if not received["arrived"]:
        sys.exit(f"of {sent['sent']} pairs of images none arrived: is the machine too busy?")
    return sent, received


def table(sent: dict, received: dict) -> list[str]:
    """The printed lines."""
    lines = [f"{'':52} {'median':>8} {'95 %':>8} {'target':>12}   met"]

    def line(name: str, median: float, high: float, target: tuple[float, float]) -> None:
        met = "yes" if median <= target[0] and high <= target[1] else "NO"
        wanted = f"{target[0]:g}" + (f" / {target[1]:g}" if np.isfinite(target[1]) else "")
        lines.append(f"{name:52} {median:8.2f} {high:8.2f} {wanted:>12}   {met}")

    for key, name in (("arrived", "stamp to worker, ms"), ("converted", "stamp to NumPy arrays, ms")):
        line(name, float(np.median(received[key])), float(np.percentile(received[key], 95)), (10.0, 30.0))
    for role, name in (("matches", "MatchArray, 2000 matches"), ("features", "FeatureArray, 2048x128")):
        line(f"{name}: fill + publish, ms", sent[role]["median"], sent[role]["p95"], (1.5, np.inf))
        lines.append(f"{'  of it CPU time of the thread, ms':52} {sent[role]['cpu']:8.2f}")
    share = min(received["received"].values()) / sent["sent"]
    lines.append(f"{'delivered, the worse of colour and depth':52} {'':8} {share:8.1%} {'100 %':>12}   {'yes' if share >= 1 else 'NO'}")
    lines.append(f"  of {sent['sent']} pairs; colour {received['received']['image']}, depth {received['received']['depth']}; "
                 f"{len(received['arrived'])} worked on, {received['overwritten']} overwritten by a newer one")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long images are sent")
    parser.add_argument("--rate", type=float, default=30.0, help="pairs of images a second")
    parser.add_argument("--rounds", type=int, default=100, help="messages of each result type")
    parser.add_argument("--no-profile", action="store_true", help="Fast DDS as it comes")
    parser.add_argument("--role", choices=("camera", "receiver"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        print(json.dumps({"camera": camera, "receiver": receiver}[options.role](options)))
        return
    print("\n".join(table(*run(options))))


if __name__ == "__main__":
    main()
