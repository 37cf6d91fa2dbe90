"""Whatever a message holds, conversion either succeeds or refuses it by ValueError (ImageError): it never crashes otherwise."""
from __future__ import annotations

import gzip
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalf_ros.conversions import messages
from dalf_ros.errors import SetupError
from dalf_ros.images import image_conversion as ic
from dalf_ros.images.organised_cloud import organised_points

encodings = st.sampled_from([*ic.LAYOUT, "rgb16", "", "32FC3", "nv21", "nv12", "nv24", "BGR8"])
sizes = st.integers(0, 40)
images = st.builds(SimpleNamespace, height=sizes, width=sizes, step=st.integers(0, 200), encoding=encodings,
                   is_bigendian=st.integers(0, 255), data=st.binary(max_size=4000))
formats = st.sampled_from(["jpeg", "png", "16UC1; compressedDepth png", "32FC1; compressedDepth", "16UC1; compressedDepth rvl", "zstd",
                           "32FC1; compressedDepth rvl", "?"])
rvl_head = bytes(12) + np.array([9, 7], "<u4").tobytes()
zstd = st.builds(lambda height, width, big, step, name, data, length: struct.pack("<IIBII", height, width, big, step, length or len(name))
                 + name.encode() + gzip.compress(data), sizes, sizes, st.integers(0, 255), st.integers(0, 200), encodings,
                 st.binary(max_size=4000), st.one_of(st.just(0), st.integers(0, 2**32 - 1)))
compressed = st.builds(SimpleNamespace, header=st.none(), format=formats, data=st.one_of(
    st.binary(max_size=200), st.binary(max_size=40).map(lambda b: rvl_head + b),
    st.binary(max_size=40).map(lambda b: b"\x89PNG\r\n\x1a\n" + b)))


@settings(max_examples=1500, deadline=None)
@given(message=images | compressed | st.builds(SimpleNamespace, header=st.none(), format=st.just("zstd"), data=zstd))
@pytest.mark.parametrize("convert", [ic.to_color, ic.to_depth, ic.to_mask])
def test_images(convert, message: SimpleNamespace) -> None:
    try:
        pixels = convert(message)
    except ic.ImageError:
        return
    assert pixels.dtype in (np.uint8, np.float32)
    if not ic.is_compressed(message):
        assert pixels.shape[:2] == (message.height, message.width)


point_fields = st.builds(SimpleNamespace, name=st.sampled_from(["x", "y", "z", "rgb", ""]), offset=st.integers(0, 40) | st.just(2**32 - 1),
                         datatype=st.sampled_from([7, 8, 6, 0, 255]), count=st.sampled_from([1, 1, 1, 0, 2**32 - 1]))
good_fields = [SimpleNamespace(name=name, offset=4 * number, datatype=7, count=1) for number, name in enumerate("xyz")]
clouds = st.builds(SimpleNamespace, height=sizes | st.just(2**32 - 1), width=sizes | st.just(2**32 - 1), point_step=st.integers(0, 40),
                   row_step=st.integers(0, 900) | st.just(2**32 - 1), is_bigendian=st.sampled_from([False, False, True]),
                   fields=st.just(good_fields) | st.lists(point_fields, max_size=5), data=st.binary(max_size=4000))


@settings(max_examples=1500, deadline=None)
@given(cloud=clouds)
def test_clouds(cloud: SimpleNamespace) -> None:
    try:
        points = organised_points(cloud, 0.001)
    except (ic.ImageError, SetupError):
        return
    assert points.shape == (cloud.height, cloud.width, 3) and points.dtype == np.float32
    there = np.isfinite(points)
    assert (there.all(axis=-1) == there.any(axis=-1)).all()



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
