"""The demo's error of named points on a made-up cloth that turns: places, axes and covariances are known exactly."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("open3d")
pytest.importorskip("rosbags")

from dalf_core.camera import PinholeCamera  # noqa: E402
from dalf_core.templates.named_points import FollowedPoint  # noqa: E402
from dalf_ros.conversions import messages, point_messages, topics  # noqa: E402
from dalf_ros.conversions.message_factory import bag_message  # noqa: E402
from dalf_ros.demo.point_errors import PLACES, compare_points, text_of, wanted_of  # noqa: E402
from dalf_ros.simulation.truth import GroundTruth  # noqa: E402

START_NS, SIDE = 1_767_225_600_000_000_000, 21
TURN = Rotation.from_euler("xyz", (20, -10, 35), degrees=True)
FACING = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])        # columns: the frame of a point of the flat cloth, z to the camera


@pytest.fixture
def truth() -> GroundTruth:
    """A flat cloth in the first frame, turned in the others; its left half is seen."""
    u, v = np.meshgrid(np.linspace(0, 1, SIDE), np.linspace(0, 1, SIDE))
    flat = np.stack([0.2 * u - 0.1, 0.2 * v - 0.1, np.zeros_like(u)], axis=-1).reshape(-1, 3)
    corner = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).ravel()
    triangles = np.concatenate([corner[:, None] + [0, SIDE, 1], corner[:, None] + [1, SIDE, SIDE + 1]]).astype(np.int32)
    vertices = np.float32([flat, TURN.apply(flat), TURN.apply(flat)]) + np.float32([0, 0, 0.7])
    uv = np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32)
    camera = PinholeCamera(500, 500, 320, 240, 640, 480)
    return GroundTruth(vertices, triangles, uv, np.tile(uv[:, 0] < 0.6, (3, 1)), START_NS + np.arange(3), camera)


def message(frame: int, position: np.ndarray, rotation: np.ndarray, said_seen: bool = True):
    point = FollowedPoint("middle", position, rotation[:, 2], rotation, np.diag([4e-6, 1e-6, 1e-6]), said_seen, 1.0)
    head, reference = messages.header(START_NS + frame, "camera"), messages.header(START_NS, "camera")
    return bag_message(topics.TYPES[topics.NAMED_POINTS], point_messages.surface_points([point], head, reference, 1))


STATUS = {START_NS: "tracked", START_NS + 1: "tracked", START_NS + 2: "lost"}
PLACE = np.array([-0.02, 0.03, 0.0])


def test_what_is_right_has_no_error_and_a_lost_frame_does_not_count(truth: GroundTruth) -> None:
    now = TURN.apply(PLACE) + [0, 0, 0.7]
    sent = [message(0, PLACE + [0, 0, 0.7], FACING), message(1, now, TURN.as_matrix() @ FACING), message(2, now, FACING)]
    error, = compare_points(sent, STATUS, truth)
    assert error.error_m < 1e-6 and error.degrees < 0.05 and error.seen and error.said_seen


def test_offsets_turns_and_covariances_come_out(truth: GroundTruth) -> None:
    now = TURN.apply(PLACE) + [0.004, 0, 0.7]
    turned = TURN.as_matrix() @ FACING @ Rotation.from_euler("z", 12, degrees=True).as_matrix()
    error, = compare_points([message(0, PLACE + [0, 0, 0.7], FACING), message(1, now, turned, False)], STATUS, truth)
    assert error.error_m == pytest.approx(0.004, abs=1e-6) and error.degrees == pytest.approx(12, abs=0.05)
    assert error.normalised == pytest.approx(0.004 / 0.002 / np.sqrt(3), rel=1e-3) and not error.said_seen
    assert "median 1.15 where it is seen" in text_of([error]) and "4.0 / 4.0 mm, 12.0 / 12.0 degrees in 1 frames" in text_of([error])


def test_the_places_are_wanted_where_the_first_image_has_them(truth: GroundTruth) -> None:
    wanted = {point.name: point.xy for point in wanted_of(truth)}
    assert wanted.keys() == PLACES.keys()
    x, y = wanted["middle"]         # u 0.5, v 0.58: the vertex in row 12 of 20
    assert (x, y) == (pytest.approx(320.0, abs=0.1), pytest.approx(240 + 500 * 0.02 / 0.7, abs=0.1))
