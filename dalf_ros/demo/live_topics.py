"""The topics of the simulated camera and of the nodes, and what a listener heard on each."""
from __future__ import annotations

import numpy as np

from ..conversions import topics
from ..simulation.recording import CAMERA_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC, MASK_TOPIC
from .live import LiveLoop
from .played_recording import PlayedRecording

IMAGE = "sensor_msgs/msg/Image"
CAMERA_TOPICS = {COLOR_TOPIC: IMAGE, DEPTH_TOPIC: IMAGE, MASK_TOPIC: IMAGE, CAMERA_INFO_TOPIC: "sensor_msgs/msg/CameraInfo"}
RESULT_TOPICS = {f"/{name}": topics.TYPES[name] for name in
                 (topics.FEATURES, topics.MATCHES, topics.STATUS, topics.MESH, topics.POINTS, topics.DEFORMATION, topics.REFERENCE)}


def ages_ms(loop: LiveLoop, topic: str, recording: PlayedRecording, rate: float) -> np.ndarray:
    """Milliseconds from when the image of a message's stamp was due to the message's arrival."""
    due = dict(zip(recording.stamps_ns.tolist(), recording.due_ns.tolist()))
    return np.array([(loop.clock.at(arrival.time_s) - due[arrival.stamp_ns]) * 1e-6 / rate for arrival in loop.arrivals[topic]
                     if arrival.stamp_ns in due])


def delivery_table(loop: LiveLoop, recording: PlayedRecording, rate: float) -> str:
    """One line a topic: how many messages came, how often, how old."""
    lines = [f"{'topic':44} {'received':>9} {'rate/Hz':>8}   age/ms (median, 95th percentile)"]
    for topic in CAMERA_TOPICS | RESULT_TOPICS:
        times, ages = [arrival.time_s for arrival in loop.arrivals[topic]], ages_ms(loop, topic, recording, rate)
        count = f"{len(times)}/{len(recording.stamps_ns)}" if topic in CAMERA_TOPICS else str(len(times))
        old = f"{np.median(ages):9.0f} {np.percentile(ages, 95):6.0f}" if len(ages) else ""
        hertz = f"{(len(times) - 1) / (times[-1] - times[0]):8.2f}" if len(times) > 1 else f"{'':8}"
        lines.append(f"{topic:44} {count:>9} {hertz} {old}")
    return "\n".join(lines)
