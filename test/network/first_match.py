"""Starts the tracker, which is both nodes in one process, sends it images of a board that moves, and waits for verified matches."""
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import rclpy

from dalf_ros.conversions import messages as convert
from dalf_ros.conversions import topics
from dalf_ros.conversions.message_factory import ros_class, ros_message
from dalf_ros.images.image_conversion import from_color
from dalf_ros.nodes.inputs import RESULT_QOS

IMAGE = "sensor_msgs/msg/Image"
PATIENCE_S = 120.0

noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
board = cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)
tracker = subprocess.Popen([sys.executable, "-m", "dalf_ros.tracker", "--ros-args", "-p", "top_k:=300"])
rclpy.init()
node = rclpy.create_node("first_match")
publisher = node.create_publisher(ros_class(IMAGE), "/image", RESULT_QOS)
inliers: list[int] = []
node.create_subscription(ros_class(topics.TYPES[topics.MATCHES]), topics.MATCHES,
                         lambda message: inliers.append(int(convert.matches_of(message).matches.inlier.sum())), RESULT_QOS)
deadline = time.monotonic() + PATIENCE_S
while max(inliers, default=0) < 50 and time.monotonic() < deadline and tracker.poll() is None:
    fields = from_color(np.roll(board, len(inliers) % 10, axis=1), convert.header(time.time_ns(), "camera"))
    publisher.publish(ros_message(IMAGE, fields))
    rclpy.spin_once(node, timeout_sec=0.2)
tracker.send_signal(signal.SIGINT)
status = tracker.wait(PATIENCE_S)
print(f"{max(inliers, default=0)} verified matches, exit status {status}")
sys.exit(status or max(inliers, default=0) < 50)
