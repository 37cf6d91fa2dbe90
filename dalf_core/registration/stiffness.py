"""The weight of stretching, estimated from how unevenly the surface is strained.

The rigidity term assumes that strain is uniform up to deviations of some variance, which depends on the material: a tablecloth hardly
stretches, foam does. It is estimated from the last state, as variance components are (Foerstner 1979), and the weight is its inverse: a
surface that hardly stretches is held stiffly, which suppresses the landmarks' noise, and one that stretches is free to.
"""
from __future__ import annotations

import math

STRAIN = 0.019              # standard deviation of strain at which the weight of stretching is 1
WITHIN = 0.05, 1.0          # limits of the weight; a stiffer surface does not fold over when it should
EVIDENCE = 40.0             # landmarks at which the estimate counts half; a few may have caused the strain themselves


def stretch_weight(usual: float, strain: float, landmarks: float) -> float:
    """The weight of stretching, relative to one vertex's depth reading.

    usual: the weight without evidence. strain: its standard deviation over the surface, see rest_shape; NaN = unknown. landmarks: how many
    it is estimated from.
    """
    if not landmarks or math.isnan(strain):
        return usual
    least, most = WITHIN
    estimated = min(max((STRAIN / max(strain, 1e-9)) ** 2, least), most)
    share = landmarks**2 / (landmarks**2 + EVIDENCE**2)
    return share * estimated + (1.0 - share) * usual
