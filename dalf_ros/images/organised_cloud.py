"""Organised point clouds: a PointCloud2 whose rows and columns are the pixels of an image."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ImageError, SetupError

FLOATS = {7: "<f4", 8: "<f8"}           # sensor_msgs/PointField's FLOAT32 and FLOAT64
NAMES = {1: "INT8", 2: "UINT8", 3: "INT16", 4: "UINT16", 5: "INT32", 6: "UINT32", 7: "FLOAT32", 8: "FLOAT64"}


def is_cloud(message: Any) -> bool:
    """Whether the message is a PointCloud2."""
    return hasattr(message, "point_step")


def organised_points(message: Any, metres_per_unit: float = 1.0) -> np.ndarray:
    """A PointCloud2's points as (height, width, 3) float32 metres in its own frame, NaN where there is none (NaN, infinite, or all zero).

    Raises SetupError where it is no organised cloud of floats in x, y, z; ImageError where its data are cut off.
    """
    width, height, step, row = int(message.width), int(message.height), int(message.point_step), int(message.row_step)
    if height == 1 or width == 1:
        raise SetupError(f"the point cloud is not organised: {width}x{height} points have no rows and columns of an image; let the driver "
                         "publish organised clouds (realsense2_camera: pointcloud.ordered_pc), or depth images")
    if message.is_bigendian:
        raise SetupError("the point cloud is big-endian, which is not read: publish it little-endian, or depth images")
    layout = _layout(message.fields, step)
    if height < 1 or width < 1:
        raise ImageError("the point cloud is empty")
    if row < width * step:
        raise ImageError(f"the point cloud's row_step {row} is less than a row of {width} points of {step} bytes")
    data = np.frombuffer(message.data, np.uint8)
    needed = (height - 1) * row + width * step
    if data.size < needed:
        raise ImageError(f"the point cloud is cut off: {width}x{height} points, row_step {row}, need {needed} bytes, {data.size} came")
    stored = np.ndarray((height, width), layout, data, strides=(row, step))
    planes = np.empty((3, height, width), np.float32)       # one behind the other: their reductions are many times as quick
    with np.errstate(over="ignore", invalid="ignore"):
        for plane, name in zip(planes, "xyz", strict=True):
            np.multiply(stored[name], metres_per_unit, out=plane, casting="same_kind")
        x, y, z = planes
        planes[:, ~np.isfinite(x + y + z) | ((x == 0) & (y == 0) & (z == 0))] = np.nan
    return np.moveaxis(planes, 0, -1)


def _layout(fields: Any, step: int) -> np.dtype:
    """Where x, y and z lie in a point of so many bytes. Raises SetupError."""
    found = {field.name: field for field in fields}
    missing = [name for name in "xyz" if name not in found]
    if missing:
        raise SetupError(f"the point cloud has no field {', '.join(missing)}, only {', '.join(found) or 'none'}: is it the right topic?")
    for name in "xyz":
        field = found[name]
        if field.datatype not in FLOATS or field.count > 1:
            kind = NAMES.get(field.datatype, f"datatype {field.datatype}")
            raise SetupError(f"the point cloud's {name} is {field.count} {kind}, expected one FLOAT32 or FLOAT64: publish metres as those")
        if field.offset + np.dtype(FLOATS[field.datatype]).itemsize > step:
            raise SetupError(f"the point cloud's {name} lies at byte {field.offset} of points of {step} bytes: its publisher is at fault")
    return np.dtype({"names": list("xyz"), "formats": [FLOATS[found[name].datatype] for name in "xyz"],
                     "offsets": [found[name].offset for name in "xyz"], "itemsize": step})
