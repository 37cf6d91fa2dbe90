"""How strongly the surface resists stretching unevenly: the more, the less it is seen to do so.

The rigidity term says that strain is the same all over but for deviations of some variance. That variance is not known: a tablecloth hardly
stretches, foam does. So it is taken from the surface as it was found a step before, as variance components are (Foerstner 1979), and the
weight is its inverse: what hardly stretches is held stiffly, which keeps the noise of landmarks out, and what stretches a lot is let.
"""
from __future__ import annotations

STRAIN = 0.019              # spread of strain with which the weight of stretching is 1
WITHIN = 0.05, 4.0          # the weight


def stretch_weight(strain: float) -> float:
    """Of stretching, relative to one vertex's depth reading, for a surface with this spread of strain: see rest_shape.spread."""
    least, most = WITHIN
    return min(max((STRAIN / max(strain, 1e-9)) ** 2, least), most)
