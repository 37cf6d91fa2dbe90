"""How strongly the surface resists stretching unevenly: the more, the less it is seen to do so.

The rigidity term says that strain is the same all over but for deviations of some variance. That variance is not known: a tablecloth hardly
stretches, foam does. So it is taken from the surface as it was found a step before, as variance components are (Foerstner 1979), and the
weight is its inverse: what hardly stretches is held stiffly, which keeps the noise of landmarks out, and what stretches a lot is let.
"""
from __future__ import annotations

import math

STRAIN = 0.019              # spread of strain with which the weight of stretching is 1
WITHIN = 0.05, 1.0          # the weight: what is held more stiffly does not fold over when it should
EVIDENCE = 40.0             # landmarks with which that counts half; what a few agree on may be a wrong stretch that they caused themselves


def stretch_weight(usual: float, strain: float, landmarks: float) -> float:
    """Of stretching, relative to one vertex's depth reading. usual: without evidence; strain: its spread over the surface as so many
    landmarks show it, see rest_shape.standard_deviation, NaN where they do not."""
    if not landmarks or math.isnan(strain):
        return usual
    least, most = WITHIN
    own = min(max((STRAIN / max(strain, 1e-9)) ** 2, least), most)
    share = landmarks**2 / (landmarks**2 + EVIDENCE**2)
    return share * own + (1.0 - share) * usual
