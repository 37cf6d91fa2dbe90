"""The unit of a depth image's numbers: what REP 118 says, and the sign that a driver does not keep to it."""
from __future__ import annotations

import numpy as np

from dalf_core.depth import is_reading

METRES_PER_UNIT = {"integer": 0.001, "float": 1.0}      # REP 118: 16-bit numbers are millimetres, floating point ones metres
IMPLAUSIBLE_M = 50.0                                    # no camera of deforming surfaces has half of its readings beyond


def metres_per_unit_of(dtype: np.dtype) -> float:
    """What REP 118 says of numbers of this type."""
    return METRES_PER_UNIT["float" if np.issubdtype(dtype, np.floating) else "integer"]


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
