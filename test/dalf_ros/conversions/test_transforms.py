"""Chains of frames against the same points taken through them one by one."""
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dalf_ros.conversions.transforms import StaticTransforms, rigid_transform

POINTS = np.random.default_rng(2).normal(size=(20, 3))
TREE = {("base", "camera"): (0.3, -0.1, 1.2, 0.1, 0.2, -0.3, 0.9), ("camera", "color"): (0.0, 0.015, 0.0, -0.5, 0.5, -0.5, 0.5),
        ("camera", "depth"): (0.0, -0.05, 0.01, -0.48, 0.52, -0.5, 0.5), ("elsewhere", "table"): (1, 1, 1, 0, 0, 0, 1)}


def message(*edges: tuple[str, str], slash: str = "") -> SimpleNamespace:
    """A tf2_msgs/TFMessage."""
    transforms = []
    for parent, child in edges:
        x, y, z, qx, qy, qz, qw = TREE[parent, child]
        transforms.append(SimpleNamespace(
            header=SimpleNamespace(frame_id=slash + parent), child_frame_id=slash + child,
            transform=SimpleNamespace(translation=SimpleNamespace(x=x, y=y, z=z), rotation=SimpleNamespace(x=qx, y=qy, z=qz, w=qw))))
    return SimpleNamespace(transforms=transforms)


def to_parent(edge: tuple[str, str], points: np.ndarray) -> np.ndarray:
    values = TREE[edge]
    return Rotation.from_quat(values[3:]).apply(points) + values[:3]


def from_parent(edge: tuple[str, str], points: np.ndarray) -> np.ndarray:
    values = TREE[edge]
    return Rotation.from_quat(values[3:]).inv().apply(points - values[:3])


def moved(transforms: StaticTransforms, source: str, target: str) -> np.ndarray:
    found = transforms.find(source, target)
    assert found is not None
    return POINTS @ found.rotation.T + found.translation


@pytest.mark.parametrize("slash", ["", "/"])
def test_through_the_tree(slash: str) -> None:
    transforms = StaticTransforms()
    transforms.add(message(("camera", "color"), ("elsewhere", "table"), slash=slash))
    assert transforms.find("depth", "color") is None
    transforms.add(message(("base", "camera"), ("camera", "depth"), slash=slash))
    camera, color, depth = ("base", "camera"), ("camera", "color"), ("camera", "depth")
    np.testing.assert_allclose(moved(transforms, "depth", "color"), from_parent(color, to_parent(depth, POINTS)))
    np.testing.assert_allclose(moved(transforms, "color", "/base"), to_parent(camera, to_parent(color, POINTS)))
    np.testing.assert_allclose(moved(transforms, "base", "depth"), from_parent(depth, from_parent(camera, POINTS)))
    np.testing.assert_allclose(moved(transforms, "color", "color"), POINTS)
    assert transforms.find("table", "color") is None


def test_a_ring_of_frames_ends() -> None:
    TREE["a", "b"] = TREE["b", "a"] = (1, 0, 0, 0, 0, 0, 1)
    transforms = StaticTransforms()
    transforms.add(message(("a", "b"), ("b", "a")))
    assert transforms.find("a", "c") is None and transforms.find("a", "b") is not None


@pytest.mark.parametrize("values", [[0] * 7, [1, 2, 3], [np.nan, 0, 0, 0, 0, 0, 1]])
def test_what_is_no_transform(values: list) -> None:
    with pytest.raises(ValueError, match="x, y, z and a quaternion"):
        rigid_transform(values)


def test_a_quaternion_of_any_length() -> None:
    found = rigid_transform([1, 2, 3, 0, 0, 2, 2])
    np.testing.assert_allclose(found.rotation, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(found.after(found.inverse()).rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found.after(found.inverse()).translation, 0, atol=1e-12)
