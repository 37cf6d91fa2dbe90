#!/usr/bin/env python3
"""Memory of registration_node while a camera of 1280x720 and 30 Hz sends to it, and its matches come late and seldom, as a CPU finds them.

    ./run exec python benchmarks/registration_memory.py [--minutes 5] [--lag 1.0] [--limit 500]

Depth (16UC1, a wavy wall), colour and camera_info come at 30 Hz, exact matches once in `lag` seconds for the images of `lag` seconds ago.
Once a second the node's resident memory is read from /proc. Prints where it starts (ready, before any data), its greatest value and how
far it grows after the first minute (Theil and Sen's slope). Exit status 0 when it stays within --limit MB of its start and grows by less
than 2 % of it, 1 when not.
"""
from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import theilslopes
from tqdm import tqdm

from dalf_ros.launch_support.child_process import Process

WIDTH, HEIGHT, HZ = 1280, 720, 30.0
TOPICS = {"depth": "sensor_msgs/msg/Image", "image": "sensor_msgs/msg/Image", "camera_info": "sensor_msgs/msg/CameraInfo",
          "matches": "dalf/msg/MatchArray"}
SETTLED_S, GROWTH = 60.0, 0.02


class Camera:
    """Publishes the frames; only their stamps differ."""

    def __init__(self, node: Any) -> None:
        from dalf_core.camera import PinholeCamera
        from dalf_ros.conversions.message_factory import ros_class, ros_message
        from dalf_ros.conversions.messages import camera_info, header
        from dalf_ros.images.image_conversion import from_color, from_depth
        from dalf_ros.nodes.inputs import RESULT_QOS

        self.publishers = {name: node.create_publisher(ros_class(kind), name, RESULT_QOS) for name, kind in TOPICS.items()}
        x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        depth = 0.8 + 0.03 * np.sin(x / 90) * np.cos(y / 70)
        camera, head = PinholeCamera(900.0, 900.0, (WIDTH - 1) / 2, (HEIGHT - 1) / 2, WIDTH, HEIGHT), header(0, "camera")
        color = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        fields = {"depth": from_depth(depth, head, "16UC1"), "image": from_color(color, head), "camera_info": camera_info(camera, head)}
        self.messages = {name: ros_message(TOPICS[name], value) for name, value in fields.items()}

    def send(self, stamp: int) -> None:
        for name, message in self.messages.items():
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
            self.publishers[name].publish(message)

    def match(self, stamp: int, reference: int) -> None:
        """Exact matches: the wall does not move."""
        from dalf_core.tracking import FrameMatches
        from dalf_core.types import Matches
        from dalf_ros.conversions.message_factory import ros_message
        from dalf_ros.conversions.messages import match_array

        xy = np.random.default_rng(1).uniform([20, 20], [WIDTH - 20, HEIGHT - 20], (500, 2)).astype(np.float32)
        index = np.arange(500)
        matches = Matches(index, index, np.zeros(500, np.float32), np.ones(500, bool))
        frame = FrameMatches(stamp, reference, (WIDTH, HEIGHT), (WIDTH, HEIGHT), matches, xy, xy)
        self.publishers["matches"].publish(ros_message(TOPICS["matches"], match_array(frame, "camera")))


def memory_mb(process: Process) -> float:
    """Resident. Raises RuntimeError when the process has ended."""
    if process.has_ended():
        raise RuntimeError(f"{process.name} ended with {process.exit_status()}:\n{process.tail()}")
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1e3


def feed(camera: Camera, process: Process, executor: Any, minutes: float, lag_s: float) -> list[float]:
    """Send frames for so long; memory once a second."""
    memory: list[float] = []
    sent: deque[int] = deque()          # stamps that have not been matched yet
    began = due = time.monotonic()
    first = 0                           # the reference image's stamp
    with tqdm(total=round(60 * minutes), unit="s") as bar:
        while time.monotonic() - began < 60 * minutes:
            sent.append(time.time_ns())
            camera.send(sent[-1])
            if sent[-1] - sent[0] > 2e9 * lag_s:        # it was found in the newest image a while ago, and has been worked on since
                matched = next(stamp for stamp in sent if sent[-1] - stamp <= 1e9 * lag_s)
                first = first or matched
                camera.match(matched, first)
                while sent[0] <= matched:
                    sent.popleft()
            executor.spin_once(timeout_sec=0)
            if time.monotonic() - began > len(memory):
                memory.append(memory_mb(process))
                bar.set_postfix_str(f"{memory[-1]:.0f} MB", refresh=False)
                bar.update()
            due += 1 / HZ
            time.sleep(max(0.0, due - time.monotonic()))
    return memory


def main() -> int:
    """Exit status as the module says."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--minutes", type=float, default=5.0)
    p.add_argument("--lag", type=float, default=1.0, help="seconds that matching takes")
    p.add_argument("--limit", type=float, default=500.0, help="MB above the start")
    options = p.parse_args()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(61, 99))
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    log = Path(tempfile.mkdtemp(prefix="dalf_memory_")) / "registration_node.log"
    process = Process("registration_node", [], log)
    try:
        node, executor, got = rclpy.create_node("camera"), SingleThreadedExecutor(), []
        executor.add_node(node)
        camera = Camera(node)
        from dalf_ros.conversions.message_factory import ros_class
        node.create_subscription(ros_class("dalf/msg/RegistrationStatus"), "status", lambda m: got.append(m.status), 10)
        while not all(publisher.get_subscription_count() for publisher in camera.publishers.values()):
            memory_mb(process)
            executor.spin_once(timeout_sec=0.2)
        time.sleep(2)
        start = memory_mb(process)
        memory = np.array(feed(camera, process, executor, options.minutes, options.lag))
    finally:
        status = process.stop()
        rclpy.try_shutdown()
    settled = memory[int(min(SETTLED_S, len(memory) / 2)):]
    growth = theilslopes(settled)[0] * len(settled)
    print(f"{len(got)} frames, {sum(s == 1 for s in got)} of them tracked, exit status {status}")
    print(f"start {start:.0f} MB, greatest {memory.max():.0f} MB (+{memory.max() - start:.0f}), after the first minute "
          f"{np.median(settled):.0f} MB, which grows by {growth:+.1f} MB")
    return int(memory.max() - start > options.limit or abs(growth) > GROWTH * np.median(settled) or not got or status != 0)


if __name__ == "__main__":
    sys.exit(main())
