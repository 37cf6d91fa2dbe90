"""Makes the recording: an ordinary rosbag2 folder as a camera driver would fill it, and the ground truth beside it."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dalf_core.camera import PinholeCamera

from ..bags.bag_writer import BagWriter
from ..conversions import messages
from ..images.image_conversion import from_color, from_depth, from_mask
from .cloth import DURATION_S, ClothMotion, simulate_cloth
from .occluder import hand_place, make_hand
from .sensor import Scene, expose, measure_depth
from .truth import GroundTruth, visible_vertices

COLOR_TOPIC = "/camera/color/image_raw"
DEPTH_TOPIC = "/camera/aligned_depth_to_color/image_raw"
CAMERA_INFO_TOPIC = "/camera/color/camera_info"
MASK_TOPIC = "/camera/object_mask"
FRAME_ID = "camera_color_optical_frame"
FIRST_STAMP_NS = 1_767_225_600_000_000_000    # 2026-01-01 00:00:00 UTC
BOARD_MARGIN_M = 0.05


@dataclass(frozen=True)
class Frame:
    """One frame as the sensor delivers it. color: HxWx3 uint8 BGR. depth_mm: HxW uint16, 0 = none. mask: HxW uint8, 255 where the depth
    is not seen to be the board's. visible: (V,) bool, of the true cloth's vertices."""

    stamp_ns: int
    color: np.ndarray
    depth_mm: np.ndarray
    mask: np.ndarray
    visible: np.ndarray


def default_camera(width: int = 640, height: int = 480) -> PinholeCamera:
    """The simulated camera: 59 degrees wide."""
    return PinholeCamera(570.0, 570.0, 319.5, 239.5, 640, 480).scaled(width, height)


def sample_times(frames: int) -> np.ndarray:
    """(frames,) seconds: the whole motion in so many frames; 180 make 30 a second."""
    if frames < 2:
        raise ValueError(f"frames = {frames}: a recording needs at least 2")
    return np.arange(frames) * (DURATION_S / frames)


def observe(motion: ClothMotion, camera: PinholeCamera, seed: int) -> Iterator[Frame]:
    """What the camera delivers, frame by frame. The same seed gives the same bytes."""
    scene = Scene(camera, motion.uv, motion.triangles, make_hand(), np.random.default_rng([seed, 0]))
    board = scene.board_depth()
    for number, (time, vertices) in enumerate(zip(motion.time_s, motion.vertices)):
        rng = np.random.default_rng([seed, 1, number])
        view = scene.view(vertices, hand_place(float(time)))
        depth = measure_depth(view, camera, rng)
        not_board = depth < 1000 * (board - BOARD_MARGIN_M)       # no reading, as in the hand's shadow, may be of the cloth
        mask = cv2.morphologyEx(not_board.astype(np.uint8) * 255, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        yield Frame(FIRST_STAMP_NS + round(float(time) * 1e9), expose(view, float(time), rng), depth, mask,
                    visible_vertices(view, vertices, motion.triangles, camera))


def record(path: Path, truth_path: Path, *, frames: int = 180, seed: int = 0, camera: PinholeCamera | None = None,
           times: np.ndarray | None = None, progress: Callable[[str, int], None] | None = None) -> GroundTruth:
    """Simulate and write the bag folder `path` (which must not exist) and the ground truth. progress("physics" | "camera", frame).

    frames: the whole motion in so many; or times: (T,) seconds of the motion to record.
    """
    camera = camera or default_camera()
    report = progress or (lambda _stage, _number: None)
    motion = simulate_cloth(sample_times(frames) if times is None else times, lambda number: report("physics", number))
    visible, stamps = [], []
    with BagWriter(path) as bag:
        for number, frame in enumerate(observe(motion, camera, seed)):
            write_frame(bag, frame, camera)
            visible.append(frame.visible)
            stamps.append(frame.stamp_ns)
            report("camera", number)
    truth = GroundTruth(motion.vertices, motion.triangles, motion.uv, np.array(visible), np.array(stamps, np.int64), camera)
    truth.save(truth_path)
    return truth


def write_frame(bag: BagWriter, frame: Frame, camera: PinholeCamera) -> None:
    """One frame's messages, recorded at the sensor's stamp."""
    header = messages.header(frame.stamp_ns, FRAME_ID)
    color = from_color(cv2.cvtColor(frame.color, cv2.COLOR_BGR2RGB), header) | {"encoding": "rgb8"}
    depth = from_depth(frame.depth_mm * np.float32(1e-3), header, "16UC1")
    for topic, type_name, fields in ((CAMERA_INFO_TOPIC, "sensor_msgs/msg/CameraInfo", messages.camera_info(camera, header)),
                                     (COLOR_TOPIC, "sensor_msgs/msg/Image", color), (DEPTH_TOPIC, "sensor_msgs/msg/Image", depth),
                                     (MASK_TOPIC, "sensor_msgs/msg/Image", from_mask(frame.mask, header))):
        bag.write(topic, type_name, frame.stamp_ns, fields)
