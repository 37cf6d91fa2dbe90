"""Matchers of other projects, as rows of benchmarks/matching.py. Each is given its library's own settings, but for the keypoints an image.

None of their libraries is among the project's packages, and none of their weights is part of it: docs/benchmarks.md says how to get both.
"""
from __future__ import annotations

from dalf_training.evaluation.extractor_scores import PairMatcher

from .kornia_matchers import make_aliked_lightglue, make_xfeat
from .lomatch_matcher import make_loma
from .romav2_matcher import make_romav2

PEERS = {"aliked-lightglue": make_aliked_lightglue, "xfeat": make_xfeat, "loma": make_loma, "romav2": make_romav2}


class LeftOutError(Exception):
    """A matcher cannot be had here. The message is one line that names it, and why."""


def make_peer(name: str, top_k: int) -> PairMatcher:
    """One of PEERS, its weights loaded, downloaded if need be. LeftOutError: its library is absent or broken, or its weights are."""
    try:
        return PEERS[name](top_k)
    except Exception as error:      # code and files of others: whatever is wrong with them, the other rows can be measured
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise LeftOutError(f"{name} is left out, its library or its weights cannot be loaded: {reason}; docs/benchmarks.md tells how "
                           "to get both") from error
