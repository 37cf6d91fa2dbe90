#!/usr/bin/env python3
"""How long a node takes from the start of its process to its first result, with images coming all the time.

    ./run exec python benchmarks/nodes/start.py [--node feature_node|tracker] [--rounds 3]

A picture of a plane is published at 10 Hz to the node, a process of its own; its first message on `matches` (tracker: on `status`, of the
surface) ends the measurement. `CPU` is what the process used until then. The first round may fill caches: look at the later ones.
"""
from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PICTURES = Path(__file__).parents[2] / "dalf_ros" / "simulation" / "data"
RESULT = {"feature_node": ("matches", "dalf/msg/MatchArray"), "tracker": ("status", "dalf/msg/RegistrationStatus")}
WIDTH, HEIGHT = 640, 480
DISTANCE_M = 0.7
PERIOD_S = 0.1
PATIENCE_S = 120.0


def camera_messages() -> dict[str, Any]:
    """Image, depth and camera_info of one view, by topic."""
    from dalf_core.camera import PinholeCamera
    from dalf_ros.conversions.message_factory import ros_message
    from dalf_ros.conversions.messages import camera_info, header
    from dalf_ros.images.image_conversion import from_color, from_depth

    picture = cv2.resize(cv2.imread(str(next(PICTURES.glob("*.jpg")))), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    head = header(0, "camera")
    info = camera_info(PinholeCamera(600.0, 600.0, WIDTH / 2 - 0.5, HEIGHT / 2 - 0.5, WIDTH, HEIGHT), head)
    return {"image": ros_message("sensor_msgs/msg/Image", from_color(picture, head)),
            "depth": ros_message("sensor_msgs/msg/Image", from_depth(np.full((HEIGHT, WIDTH), DISTANCE_M), head)),
            "camera_info": ros_message("sensor_msgs/msg/CameraInfo", info)}


def measure(node_name: str, listener: Any, messages: dict[str, Any]) -> tuple[float, float]:
    """Seconds from the start of the node's process to its first result, and the CPU seconds that it used. RuntimeError: none came."""
    import rclpy

    from dalf_ros.conversions.message_factory import ros_class
    from dalf_ros.nodes.inputs import IMAGE_QOS, RESULT_QOS

    got: list[Any] = []
    topic, kind = RESULT[node_name]
    subscription = listener.create_subscription(ros_class(kind), topic, got.append, RESULT_QOS)
    publishers = {name: listener.create_publisher(type(message), name, IMAGE_QOS) for name, message in messages.items()}
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", f"dalf_ros.{node_name}"])
    try:
        while not got:
            if process.poll() is not None or time.monotonic() - started > PATIENCE_S:
                raise RuntimeError(f"{node_name} gave nothing on {topic} within {time.monotonic() - started:.0f} s; what it says is above")
            stamp = time.time_ns()
            for name, message in messages.items():
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
                publishers[name].publish(message)
            rclpy.spin_once(listener, timeout_sec=PERIOD_S)
        return time.monotonic() - started, cpu_seconds(process.pid)
    finally:
        process.terminate()
        process.wait()
        for publisher in publishers.values():
            listener.destroy_publisher(publisher)
        listener.destroy_subscription(subscription)


def cpu_seconds(pid: int) -> float:
    """Of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    import rclpy

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node", choices=tuple(RESULT), default="feature_node")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(61, 99))
    rclpy.init(args=[])
    listener = rclpy.create_node("benchmark_start")
    messages = camera_messages()
    for number in range(options.rounds):
        wall, cpu = measure(options.node, listener, messages)
        print(f"{options.node}, start {number + 1}: {wall:.1f} s to the first result, {cpu:.1f} s CPU", flush=True)
    listener.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
