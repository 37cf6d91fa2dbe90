"""Core types to messages and back, through both factories; numbers stay the same."""
from __future__ import annotations

import array
import time
from dataclasses import replace

import numpy as np
import pytest

from dalf_core.drawing.palette import BAD, GOOD
from dalf_core.matching.keyframes import KeyframeMatches
from dalf_core.matching.prediction import Prediction
from dalf_core.tracking import FrameMatches, SurfaceFrame
from dalf_core.types import Features, Matches, Registration
from dalf_ros.conversions import messages, visual_messages
from dalf_ros.conversions.message_factory import bag_message, bag_typestore, ros_message

HEAD = messages.header(1_700_000_000_123_456_789, "camera_optical")
REFERENCE = messages.header(1_700_000_000_000_000_001, "camera_optical")
rng = np.random.default_rng(3)


@pytest.fixture(params=["ros", "bag", "wire"])
def build(request: pytest.FixtureRequest):
    """Fields to a message: rclpy's, rosbags', or rosbags' read from what rclpy would send."""
    if request.param == "bag":
        return bag_message
    serialization = pytest.importorskip("rclpy.serialization")
    if request.param == "ros":
        return ros_message
    return lambda kind, fields: bag_typestore().deserialize_cdr(serialization.serialize_message(ros_message(kind, fields)), kind)


def features(count: int, dim: int = 128) -> Features:
    descriptors = rng.normal(size=(count, dim)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return Features(rng.random((count, 2), np.float32) * 600, rng.random(count, np.float32), descriptors, (640, 480))


def frame_matches(count: int) -> FrameMatches:
    matches = Matches(np.arange(count), np.arange(count)[::-1].copy(), rng.random(count, np.float32), rng.random(count) > 0.5)
    return FrameMatches(5_000_000_007, 4_000_000_001, (640, 480), (320, 240), matches, rng.random((count, 2), np.float32),
                        rng.random((count, 2), np.float32),
                        KeyframeMatches(np.arange(count) // 7 + 1, np.arange(count) % 7, rng.random((count, 2), np.float32)))


def test_stamps_and_frames(build) -> None:
    message = build("dalf/msg/FeatureArray", messages.feature_array(features(2), HEAD))
    assert messages.stamp_ns(message.header) == 1_700_000_000_123_456_789
    assert message.header.frame_id == "camera_optical"


@pytest.mark.parametrize(("kind", "tolerance"), [(messages.FLOAT32, 0), (messages.FLOAT16, 1e-3)])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_features(build, kind: int, tolerance: float, count: int) -> None:
    sent = features(count)
    got = messages.features_of(build("dalf/msg/FeatureArray", messages.feature_array(sent, HEAD, kind)))
    np.testing.assert_array_equal(got.keypoints, sent.keypoints)
    np.testing.assert_array_equal(got.scores, sent.scores)
    assert len(got.descriptors) == count
    np.testing.assert_allclose(got.descriptors.ravel(), sent.descriptors.ravel(), atol=tolerance)
    assert got.image_size == sent.image_size


def test_features_without_descriptors(build) -> None:
    got = messages.features_of(build("dalf/msg/FeatureArray", messages.feature_array(features(5), HEAD, None)))
    assert got.descriptors.shape == (5, 0)


@pytest.mark.parametrize("count", [0, 40])
def test_matches(build, count: int) -> None:
    sent = frame_matches(count)
    got = messages.matches_of(build("dalf/msg/MatchArray", messages.match_array(sent, "cam")))
    assert (got.stamp_ns, got.reference_stamp_ns, got.image_size, got.reference_image_size) == (
        sent.stamp_ns, sent.reference_stamp_ns, sent.image_size, sent.reference_image_size)
    np.testing.assert_array_equal(got.reference_xy, sent.reference_xy)
    np.testing.assert_array_equal(got.query_xy, sent.query_xy)
    for name in ("reference_index", "query_index", "distance", "inlier"):
        np.testing.assert_array_equal(getattr(got.matches, name), getattr(sent.matches, name))
    for name in ("keyframe", "index", "query_xy"):
        np.testing.assert_array_equal(getattr(got.keyframes, name), getattr(sent.keyframes, name))


def test_matches_that_were_carried(build) -> None:
    sent = frame_matches(40)
    index = sent.matches.query_index.copy()
    index[::2] = -1
    age = np.where(index < 0, 1.25, 0).astype(np.float32)
    sent = replace(sent, matches=replace(sent.matches, query_index=index), age_s=age)
    message = build("dalf/msg/MatchArray", messages.match_array(sent, "cam"))
    assert list(message.found[:2]) == [message.CARRIED, message.DETECTED] and message.query_index[0] == message.NO_INDEX
    got = messages.matches_of(message)
    np.testing.assert_array_equal(got.matches.query_index, index)
    np.testing.assert_array_equal(got.age_s, age)
    message.age = message.age[:-1]
    with pytest.raises(ValueError, match="40 matches has the age of 39"):
        messages.matches_of(message)


def test_prediction(build) -> None:
    sent = Prediction(5, 2, np.array([0, 3]), np.array([7, 1]), np.array([[1.5, 2], [np.nan, np.nan]], np.float32), np.array([True, False]))
    message = build("dalf/msg/LandmarkPrediction", messages.prediction_message(sent, "cam"))
    got = messages.prediction_of(message)
    for name in ("stamp_ns", "reference_stamp_ns", "view", "index", "xy", "visible"):
        np.testing.assert_array_equal(getattr(got, name), getattr(sent, name))
    message.visible = message.visible[:1]
    with pytest.raises(ValueError, match="2, 2, 2 and 1"):
        messages.prediction_of(message)


def test_mesh(build) -> None:
    vertices, triangles = rng.random((4, 3), np.float32), np.array([[0, 1, 2], [1, 2, 3]])
    colors, visible = rng.integers(0, 255, (4, 3), np.uint8), np.array([True, False, True, True])
    fields = messages.surface_mesh(HEAD, REFERENCE, 3, vertices, vertices, visible, triangles, colors)
    message = build("dalf/msg/SurfaceMesh", fields)
    got = messages.mesh_of(message)
    expected = {"vertices": vertices, "normals": vertices, "visible": visible, "triangles": triangles, "colors": colors}
    for name, values in expected.items():
        np.testing.assert_array_equal(got[name], values)
    assert message.topology_id == 3 and messages.stamp_ns(message.reference_header) == 1_700_000_000_000_000_001
    bare = messages.mesh_of(build("dalf/msg/SurfaceMesh", messages.surface_mesh(HEAD, REFERENCE, 3, vertices)))
    assert bare["triangles"] is None and bare["colors"] is None


def test_covariance(build) -> None:
    half = rng.random((4, 3, 3), np.float32)
    covariance = half + half.transpose(0, 2, 1)
    message = build("dalf/msg/SurfaceCovariance", messages.surface_covariance(HEAD, REFERENCE, 3, covariance))
    assert list(message.covariance[:6]) == [covariance[0, i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))]
    np.testing.assert_array_equal(messages.covariance_of(message), covariance)
    assert message.topology_id == 3 and messages.stamp_ns(message.reference_header) == 1_700_000_000_000_000_001


def test_quaternions() -> None:
    """x, y, z, w with w >= 0, also where the turn is by half a circle; of any length; none at all; zero is an error."""
    given = np.array([[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.5, 0.5, 0.5, 0.5], [-0.5, 0.5, -0.5, 0.5]])
    turned = messages.rotation_matrices(7 * given)
    np.testing.assert_allclose(turned[3], np.diag([-1, -1, 1]), atol=1e-7)
    np.testing.assert_allclose(turned[4], [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-7)
    np.testing.assert_allclose(messages.quaternions(turned), given, atol=1e-6)
    np.testing.assert_allclose(messages.quaternions(messages.rotation_matrices(-given))[4:], given[4:], atol=1e-6)
    assert messages.quaternions(np.zeros((0, 3, 3))).shape == (0, 4) and messages.rotation_matrices(np.zeros((0, 4))).shape == (0, 3, 3)
    with pytest.raises(ValueError, match="zero norm"):
        messages.rotation_matrices(np.zeros((1, 4)))


def test_deformation(build) -> None:
    rotation = messages.rotation_matrices(np.vstack([rng.normal(size=(30, 4)), np.eye(4)]))
    position, translation, radius = rng.random((34, 3)), rng.normal(size=(34, 3)), rng.random(34)
    got = messages.deformation_of(build("dalf/msg/DeformationField", messages.deformation_field(HEAD, REFERENCE, position, rotation,
                                                                                               translation, radius)))
    for name, expected in (("position", position), ("rotation", rotation), ("translation", translation), ("radius", radius)):
        np.testing.assert_allclose(got[name], expected, atol=2e-6)


@pytest.mark.parametrize("size", [(640, 480), (61, 33), (9, 8)])
def test_image_warp(build, size: tuple[int, int]) -> None:
    """An affine map, of which bilinear interpolation loses nothing: everywhere in the reference, its border included."""
    from dalf_core.image_registration.image_warp import fit_image_warp

    width, height = size
    xy = rng.random((60, 2)) * [width - 1, height - 1]
    turn, move = np.array([[0.9, -0.2], [0.25, 1.1]]), np.array([7.0, -3.0])
    warp = fit_image_warp(xy, xy @ turn.T + move, size, (700, 500))
    message = build("dalf/msg/ImageWarp", messages.image_warp(warp, HEAD, REFERENCE))
    assert (message.reference_width, message.reference_height, message.width, message.height, message.matches) == (*size, 700, 500, 60)
    corners = np.array([[0, 0], [width - 1, height - 1], [width - 1, 0], [width / 3, height / 7]])
    np.testing.assert_allclose(messages.warp_positions(message, corners), corners @ turn.T + move, atol=1e-3)
    assert len(message.support) == message.columns * message.rows
    assert (message.columns - 2) * message.step < width - 1 <= (message.columns - 1) * message.step
    message.rows += 1
    with pytest.raises(ValueError, match="positions"):
        messages.warp_positions(message, corners)


@pytest.mark.parametrize(("status", "code"), [("waiting", 0), ("tracked", 1), ("degraded", 2), ("lost", 3)])
def test_status(build, status: str, code: int) -> None:
    result = Registration(status, "why", np.zeros((4, 3)), np.zeros((4, 3)), np.array([1, 1, 0, 1], bool), 0.0015, np.ones(2, bool),
                          np.zeros((2, 3, 3)), np.zeros((2, 3)))
    frame = SurfaceFrame(9, 8, None if status == "waiting" else result, status, "why", False, 1, 7, 5)
    message = build("dalf/msg/RegistrationStatus", messages.registration_status(frame, "cam", 12.5, 4, 2, 3))
    assert (message.status, message.reason, message.matches, message.inliers, message.dropped) == (code, "why", 7, 5, 3)
    assert (message.vertices, message.nodes, message.milliseconds) == (4, 2, 12.5)
    if status == "waiting":
        assert np.isnan(message.residual_m) and message.visible_fraction == 0
    else:
        assert message.residual_m == pytest.approx(0.0015) and message.visible_fraction == 0.75


def test_point_cloud(build) -> None:
    vertices, colors = rng.random((5, 3), np.float32), rng.integers(0, 255, (5, 3), np.uint8)
    message = build("sensor_msgs/msg/PointCloud2", visual_messages.point_cloud(vertices, colors, HEAD))
    assert [field.name for field in message.fields] == ["x", "y", "z", "rgb"]
    assert [field.offset for field in message.fields] == [0, 4, 8, 12]
    table = np.frombuffer(message.data, np.float32).reshape(message.height * message.width, message.point_step // 4)
    np.testing.assert_array_equal(table[:, :3], vertices)
    packed = np.ascontiguousarray(table[:, 3]).view(np.uint32)
    np.testing.assert_array_equal(np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1), colors)
    assert message.row_step == 80 and message.is_dense


def test_mesh_marker(build) -> None:
    vertices, colors = rng.random((4, 3)), rng.integers(0, 255, (4, 3), np.uint8)
    triangles = np.array([[0, 1, 3]])
    message = build("visualization_msgs/msg/Marker", visual_messages.mesh_marker(vertices, triangles, colors, HEAD))
    assert (message.type, message.id, message.action, message.pose.orientation.w) == (11, 0, 0, 1.0)
    np.testing.assert_allclose([[p.x, p.y, p.z] for p in message.points], vertices[[0, 1, 3]])
    np.testing.assert_allclose([[c.r, c.g, c.b] for c in message.colors], colors[[0, 1, 3]] / 255, atol=1e-6)


def test_landmark_marker(build) -> None:
    start, end = np.zeros((2, 3)), np.ones((2, 3))
    message = build("visualization_msgs/msg/Marker", visual_messages.landmark_marker(start, end, np.array([0.0, 1.0]), HEAD))
    assert message.type == 5 and len(message.points) == 4 and len(message.colors) == 4
    for color, expected in ((message.colors[0], GOOD), (message.colors[2], BAD)):
        np.testing.assert_allclose(np.rint(np.array([color.b, color.g, color.r]) * 255), expected)
    assert message.points[1].x == 1.0


def test_decimation_keeps_the_shape() -> None:
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 50), indexing="xy"), -1).reshape(-1, 2)
    vertices = np.column_stack([grid, 0.1 * np.sin(6 * grid[:, 0])])
    index = np.arange(3000).reshape(50, 60)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    triangles = np.concatenate([np.column_stack([a, c, b]), np.column_stack([b, c, d])])
    for most in (50, 500, 5000):
        fewer = visual_messages.decimate(vertices, triangles, most)
        assert 0.3 * most < len(fewer) <= most
        a, b, c = (vertices[fewer[:, k], :2] for k in range(3))
        area = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).sum() / 2
        assert area == pytest.approx(1.0, abs=0.03)
        # no hole: an edge of one triangle alone runs along the sheet's own border
        edges, count = np.unique(np.sort(fewer[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0, return_counts=True)
        ends = vertices[edges[count == 1], :2]
        assert count.max() <= 2 and np.isin(ends, (0, 1)).any(axis=-1).all()
    assert visual_messages.decimate(vertices, triangles, 10_000) is triangles


@pytest.mark.parametrize("fields", [{"reference_xy": np.zeros(3, np.float32)}, {"query_xy": np.zeros(2, np.float32)},
                                    {"inlier": np.zeros(1, np.uint8)}, {"keyframe": np.zeros(1, np.uint32)},
                                    {"keyframe_xy": np.full(80, np.inf, np.float32)}, {"query_xy": np.full(80, np.nan, np.float32)}])
def test_arrays_that_do_not_fit_are_refused(build, fields: dict) -> None:
    message = build("dalf/msg/MatchArray", messages.match_array(frame_matches(40), "cam") | fields)
    with pytest.raises(ValueError, match=r"multiple|length|finite"):
        messages.matches_of(message)


def test_descriptors_that_do_not_fit_are_refused(build) -> None:
    fields = messages.feature_array(features(5), HEAD)
    for change in ({"descriptor_dim": 64}, {"descriptor_dtype": 3}, {"scores": np.zeros(4, np.float32)}):
        with pytest.raises(ValueError, match=r"fit|FLOAT32"):
            messages.features_of(build("dalf/msg/FeatureArray", fields | change))


def test_ros_arrays_are_never_lists() -> None:
    pytest.importorskip("rclpy")
    message = ros_message("dalf/msg/MatchArray", messages.match_array(frame_matches(3), "cam"))
    for name in ("reference_index", "query_index", "reference_xy", "query_xy", "distance", "inlier", "keyframe", "keyframe_index",
                 "keyframe_xy"):
        assert type(getattr(message, name)) is array.array, name


def test_filling_is_quick() -> None:
    """2048 x 128 descriptors: 0.5 ms measured; a setter that goes through them element by element takes longer than to list them does."""
    pytest.importorskip("rclpy")
    sent = features(2048)
    data = messages.feature_array(sent, HEAD)["descriptors"]
    best, listing = (min(_seconds(job) for _ in range(10)) for job in (
        lambda: ros_message("dalf/msg/FeatureArray", messages.feature_array(sent, HEAD)), lambda: array.array("B", list(data.tobytes()))))
    assert best < listing / 2


def _seconds(job) -> float:
    """Of this thread on a processor: what else the machine does is not counted."""
    started = time.thread_time()
    job()
    return time.thread_time() - started
