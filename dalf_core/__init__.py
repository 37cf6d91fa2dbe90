"""DALF features, matching and registration of deforming surfaces. No ROS in here.

Names are imported on first use, so that `import dalf_core` is quick and `PinholeCamera` does not need PyTorch.
"""
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .types import Features, Matches, Registration

if TYPE_CHECKING:
    from .camera import PinholeCamera
    from .extractor import DALF
    from .matching import match
    from .registration import NonRigidRegistration
    from .verification import verify
    from .weights import WeightsError

_HOME = {
    "DALF": "extractor",
    "match": "matching",
    "verify": "verification",
    "NonRigidRegistration": "registration",
    "PinholeCamera": "camera",
    "WeightsError": "weights",
}

__all__ = ["DALF", "Features", "Matches", "NonRigidRegistration", "PinholeCamera", "Registration", "WeightsError", "match", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
