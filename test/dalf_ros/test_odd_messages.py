"""Whatever a message holds, conversion either succeeds or refuses it by ValueError (ImageError): it never crashes otherwise."""
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalf_ros.conversions import messages
from dalf_ros.images import image_conversion as ic

encodings = st.sampled_from([*ic.LAYOUT, "rgb16", "", "32FC3", "nv21", "nv12", "nv24", "BGR8"])
sizes = st.integers(0, 40)
images = st.builds(SimpleNamespace, height=sizes, width=sizes, step=st.integers(0, 200), encoding=encodings,
                   is_bigendian=st.integers(0, 255), data=st.binary(max_size=4000))
formats = st.sampled_from(["jpeg", "png", "16UC1; compressedDepth png", "32FC1; compressedDepth", "16UC1; compressedDepth rvl", "zstd",
                           "32FC1; compressedDepth rvl", "?"])
rvl_head = bytes(12) + np.array([9, 7], "<u4").tobytes()
compressed = st.builds(SimpleNamespace, format=formats, data=st.one_of(
    st.binary(max_size=200), st.binary(max_size=40).map(lambda b: rvl_head + b),
    st.binary(max_size=40).map(lambda b: b"\x89PNG\r\n\x1a\n" + b)))


@settings(max_examples=1500, deadline=None)
@given(message=images | compressed)
@pytest.mark.parametrize("convert", [ic.to_color, ic.to_depth, ic.to_mask])
def test_images(convert, message: SimpleNamespace) -> None:
    try:
        pixels = convert(message)
    except ic.ImageError:
        return
    assert pixels.dtype in (np.uint8, np.float32)
    if not ic.is_compressed(message):
        assert pixels.shape[:2] == (message.height, message.width)


def header() -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=2), frame_id="")


floats = st.lists(st.floats(width=32), max_size=8)
indices = st.lists(st.integers(0, 2**32 - 1), max_size=4)


@settings(max_examples=1000, deadline=None)
@given(xy=floats, uv=floats, a=indices, b=indices, distance=floats, inlier=st.binary(max_size=4),
       keyframes=st.tuples(indices, indices, floats))
def test_matches(xy: list, uv: list, a: list, b: list, distance: list, inlier: bytes, keyframes: tuple[list, list, list]) -> None:
    message = SimpleNamespace(header=header(), reference_header=header(), width=1, height=1, reference_width=1, reference_height=1,
                              reference_xy=xy, query_xy=uv, reference_index=a, query_index=b, distance=distance, inlier=list(inlier),
                              keyframe=keyframes[0], keyframe_index=keyframes[1], keyframe_xy=keyframes[2])
    try:
        matches = messages.matches_of(message)
    except ValueError:
        return
    assert len(matches.reference_xy) == len(matches.query_xy) == len(matches.matches)


@settings(max_examples=500, deadline=None)
@given(keypoints=floats, scores=floats, dim=st.integers(0, 300), kind=st.integers(0, 255), data=st.binary(max_size=64))
def test_features(keypoints: list, scores: list, dim: int, kind: int, data: bytes) -> None:
    message = SimpleNamespace(header=header(), width=1, height=1, keypoints=keypoints, scores=scores, descriptor_dim=dim,
                              descriptor_dtype=kind, descriptors=data)
    try:
        features = messages.features_of(message)
    except ValueError:
        return
    assert features.descriptors.shape == (len(features), dim)
