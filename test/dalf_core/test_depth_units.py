"""Depth in other units than REP 118's: read as told, and recognised where it cannot be metres."""
from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from dalf_core.depth_units import unit_hint
from dalf_ros.images.image_conversion import to_depth

METRES = np.array([[0.5, 0.75], [0.25, np.nan]], np.float32)


def raw(pixels: np.ndarray, encoding: str) -> SimpleNamespace:
    return SimpleNamespace(height=2, width=2, encoding=encoding, is_bigendian=0, step=pixels.strides[0], data=pixels.tobytes())


@pytest.mark.parametrize(("encoding", "kind", "unit"), [
    ("16UC1", np.uint16, 0.0001), ("16UC1", np.uint16, 0.00025), ("mono16", np.uint16, 0.0001), ("32FC1", np.float32, 0.001),
])
def test_a_given_unit_is_taken(encoding: str, kind: type, unit: float) -> None:
    stored = np.nan_to_num(METRES / unit).round().astype(kind)
    np.testing.assert_allclose(to_depth(raw(stored, encoding), unit), METRES, rtol=1e-6)
    np.testing.assert_allclose(to_depth(raw(stored, encoding), metres_per_unit=unit), METRES, rtol=1e-6)


def test_a_given_unit_is_taken_of_compressed_depth() -> None:
    stored = np.nan_to_num(METRES / 0.0001).astype(np.uint16)
    png = cv2.imencode(".png", stored)[1].tobytes()
    np.testing.assert_allclose(to_depth(SimpleNamespace(format="16UC1; compressedDepth png", data=bytes(12) + png), 0.0001), METRES)
    head = np.array([0], "<i4").tobytes() + np.array([1000.0, 10.0], "<f4").tobytes()       # millimetres = 1000 / (value - 10)
    inverse = cv2.imencode(".png", np.array([[0, 12]], np.uint16))[1].tobytes()
    np.testing.assert_allclose(to_depth(SimpleNamespace(format="32FC1; compressedDepth png", data=head + inverse), 0.001), [[np.nan, 0.5]])


def test_depth_that_cannot_be_metres_is_recognised() -> None:
    millimetres = to_depth(raw((1000 * METRES).astype(np.float32), "32FC1"))
    hint = unit_hint(millimetres, "--depth-scale")
    assert "median depth is 500 m" in hint and "--depth-scale" in hint and "0.001" in hint
    assert unit_hint(METRES) == unit_hint(np.full((2, 2), np.nan, np.float32)) == unit_hint(np.full((2, 2), 49.0, np.float32)) == ""
