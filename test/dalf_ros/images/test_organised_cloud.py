"""PointCloud2 bytes laid out by hand, to points; and clouds that are no images."""
from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest

from dalf_ros.errors import ImageError, SetupError
from dalf_ros.images.organised_cloud import is_cloud, organised_points

HEIGHT, WIDTH = 3, 4
FLOAT32, FLOAT64 = 7, 8


def field(name: str, offset: int, datatype: int = FLOAT32, count: int = 1) -> SimpleNamespace:
    return SimpleNamespace(name=name, offset=offset, datatype=datatype, count=count)


XYZ = [field("x", 0), field("y", 4), field("z", 8)]


def cloud(data: bytes = bytes(HEIGHT * WIDTH * 16), fields: list = XYZ, **changes: object) -> SimpleNamespace:
    return SimpleNamespace(**{"height": HEIGHT, "width": WIDTH, "point_step": 16, "row_step": 16 * WIDTH, "is_bigendian": False,
                              "fields": fields, "data": np.frombuffer(data, np.uint8), **changes})


def point(row: int, column: int) -> tuple[float, float, float]:
    return 0.5 * column - 1, 0.25 * row, 1 + row + 0.125 * column


def test_padding_order_and_other_fields_are_heeded() -> None:
    """z before x, a double for y, colour between, bytes without meaning in points, at the end of rows and behind it all."""
    data = b""
    for row in range(HEIGHT):
        for column in range(WIDTH):
            x, y, z = point(row, column)
            data += struct.pack("<f4sfdH", z, b"\xff\x7f\xc0\x7f", x, y, 7) + b"junk!!"
        data += b"\xee" * 10
    fields = [field("rgb", 4), field("y", 12, FLOAT64), field("z", 0), field("x", 8), field("ring", 20, 4)]
    message = cloud(data + b"more", fields, point_step=28, row_step=28 * WIDTH + 10)
    assert is_cloud(message)
    points = organised_points(message)
    assert points.dtype == np.float32 and points.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(points, [[point(row, column) for column in range(WIDTH)] for row in range(HEIGHT)])
    np.testing.assert_allclose(organised_points(message, 0.001), points / 1000, rtol=1e-6)
    whole_rows = cloud(data[:-10], fields, point_step=28, row_step=28 * WIDTH + 10)      # without the padding of the last row
    np.testing.assert_array_equal(organised_points(whole_rows), points)


def test_what_is_no_point_is_nan() -> None:
    values = np.ones((HEIGHT, WIDTH, 4), "<f4")
    values[0, 0, 2] = np.nan
    values[0, 1, 0] = np.inf
    values[1, 2, :3] = 0
    values[2, 3, :2] = 0            # on the axis: a point
    found = np.isfinite(organised_points(cloud(values.tobytes()))).all(axis=-1)
    assert np.argwhere(~found).tolist() == [[0, 0], [0, 1], [1, 2]]


@pytest.mark.parametrize(("changes", "words"), [
    ({"height": 1, "width": 12}, "not organised: 12x1 points have no rows .*ordered_pc"),
    ({"is_bigendian": True}, "big-endian, .* publish it little-endian"),
    ({"fields": XYZ[:2]}, "no field z, only x, y: is it the right topic"),
    ({"fields": []}, "no field x, y, z, only none"),
    ({"fields": [*XYZ[:2], field("z", 8, 4)]}, "z is 1 UINT16, expected one FLOAT32 or FLOAT64"),
    ({"fields": [*XYZ[:2], field("z", 8, 99)]}, "z is 1 datatype 99"),
    ({"fields": [*XYZ[:2], field("z", 8, count=3)]}, "z is 3 FLOAT32"),
    ({"fields": [*XYZ[:2], field("z", 13)]}, "z lies at byte 13 of points of 16 bytes"),
    ({"fields": [*XYZ[:2], field("z", 9, FLOAT64)]}, "z lies at byte 9 of points of 16 bytes"),
    ({"point_step": 0}, "x lies at byte 0 of points of 0 bytes"),
])
def test_clouds_that_the_set_up_must_mend(changes: dict, words: str) -> None:
    with pytest.raises(SetupError, match=words):
        organised_points(cloud(**changes))


@pytest.mark.parametrize(("changes", "words"), [
    ({"row_step": 60}, "row_step 60 is less than a row of 4 points of 16 bytes"),
    ({"data": bytes(HEIGHT * WIDTH * 16 - 1)}, "cut off: 4x3 points, row_step 64, need 192 bytes, 191 came"),
    ({"data": b""}, "cut off"),
    ({"height": 2**32 - 1}, "cut off"),
    ({"height": 2**32 - 1, "width": 2**32 - 1, "row_step": 2**36}, "cut off"),
    ({"height": 0}, "is empty"),
])
def test_clouds_that_are_damaged(changes: dict, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        organised_points(cloud(**changes))
