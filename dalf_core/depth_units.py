"""The unit of a depth image's numbers: what REP 118 says, and the sign that a driver does not keep to it."""
from __future__ import annotations

import numpy as np

from .depth import is_reading

METRES_PER_UNIT = {"integer": 0.001, "float": 1.0}      # REP 118: 16-bit numbers are millimetres, floating point ones metres
IMPLAUSIBLE_M = 50.0                                    # no camera of deforming surfaces has half of its readings beyond


def to_metres(pixels: np.ndarray, metres_per_unit: float | None) -> np.ndarray:
    """A depth image's numbers to float32 metres, NaN where dalf_core.depth.is_reading says that there is none (0 for one).

    metres_per_unit: None: what REP 118 says of numbers of this type.
    """
    if metres_per_unit is None:
        metres_per_unit = METRES_PER_UNIT["float" if np.issubdtype(pixels.dtype, np.floating) else "integer"]
    depth = pixels.astype(np.float32)
    if metres_per_unit != 1.0:
        depth *= np.float32(metres_per_unit)
    depth[~is_reading(depth)] = np.nan
    return depth


def unit_hint(depth_m: np.ndarray, option: str = "depth_scale") -> str:
    """Empty, or a sentence for the user where depth (H, W) in metres cannot be metres: the median of its readings is beyond 50.

    option: the name of the parameter or option that sets the metres per unit.
    """
    readings = depth_m[is_reading(depth_m)]
    median = float(np.median(readings)) if readings.size else 0.0
    if median <= IMPLAUSIBLE_M:
        return ""
    return (f"the median depth is {median:.0f} m: the numbers of this depth image are probably in a smaller unit than was assumed; "
            f"set {option} to the metres per unit (0.001 for millimetres)")
