"""Non-rigid outlier rejection for matches."""
from __future__ import annotations

import numpy as np

from .types import Features, Matches


def verify(reference: Features, query: Features, matches: Matches, seed: int = 0) -> np.ndarray:
    """(M,) bool: the matches that a bending surface explains."""
    return np.ones(len(matches), bool)
