"""Named points as messages, through the bytes of a recording."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dalf_core.templates.named_points import FollowedPoint
from dalf_ros.conversions import messages, point_messages, topics

pytest.importorskip("rosbags")

from dalf_ros.conversions.message_factory import bag_message, bag_typestore  # noqa: E402

HEADER = messages.header(1_700_000_000_123_456_789, "optical")


def points() -> list[FollowedPoint]:
    rng, turns = np.random.default_rng(0), Rotation.random(2, random_state=1).as_matrix()
    return [FollowedPoint(name, rng.normal(size=3), turn[:, 2], turn, rng.normal(size=(3, 3)), name == "a", 0.25)
            for name, turn in zip(("a", "arm/b"), turns)]


def through_bytes(kind: str, fields: dict):
    store = bag_typestore()
    return store.deserialize_cdr(store.serialize_cdr(bag_message(kind, fields), kind), kind)


def test_points_survive_the_way_through_a_bag() -> None:
    message = through_bytes(topics.TYPES[topics.NAMED_POINTS], point_messages.surface_points(points(), HEADER, HEADER, 7))
    assert message.topology_id == 7 and messages.stamp_ns(message.header) == 1_700_000_000_123_456_789
    for was, now in zip(points(), point_messages.points_of(message), strict=True):
        assert (now.name, now.visible, now.confidence) == (was.name, was.visible, 0.25)
        for field in ("position", "normal", "rotation", "covariance"):
            np.testing.assert_allclose(getattr(now, field), getattr(was, field), atol=1e-6)


def test_transforms_and_poses_turn_the_axes_as_the_points_do() -> None:
    """The transform takes coordinates of the point's frame to the optical frame: its z axis is the normal."""
    tree = through_bytes("tf2_msgs/msg/TFMessage", point_messages.point_transforms(points(), HEADER))
    poses = through_bytes(topics.TYPES[topics.POINT_POSES], point_messages.pose_array(points(), HEADER)).poses
    for point, link, pose in zip(points(), tree.transforms, poses, strict=True):
        assert (link.header.frame_id, link.child_frame_id) == ("optical", point.name)
        for q, p in ((link.transform.rotation, link.transform.translation), (pose.orientation, pose.position)):
            np.testing.assert_allclose(Rotation.from_quat([q.x, q.y, q.z, q.w]).apply([0, 0, 1]), point.normal, atol=1e-9)
            np.testing.assert_allclose([p.x, p.y, p.z], point.position)


def test_markers_begin_by_taking_the_old_ones_away() -> None:
    markers = through_bytes(topics.TYPES[topics.POINT_MARKERS], point_messages.point_markers(points(), HEADER)).markers
    assert [m.action for m in markers] == [3, 0, 0, 0, 0] and len({(m.ns, m.id) for m in markers[1:]}) == 4
    assert [m.text for m in markers if m.type == 9] == ["a", "arm/b"]
    start, tip = markers[1].points
    along = np.array([tip.x - start.x, tip.y - start.y, tip.z - start.z])
    np.testing.assert_allclose(along, point_messages.ARROW_M * points()[0].normal, atol=1e-12)
