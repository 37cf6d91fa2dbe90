"""Which number format the network computes in."""
from __future__ import annotations

import logging

from ..options import PRECISION
from .acceleration import has_native_bfloat16, openvino_precision

log = logging.getLogger(__name__)

PRECISIONS = PRECISION.choices


def choose_precision(asked: str, *, on_gpu: bool, corrected: bool, on_openvino: bool) -> str:
    """The precision to work in, for one of PRECISIONS. on_gpu, corrected, on_openvino: device, geometry and backend.

    "auto": float16 on a GPU; bfloat16 where OpenVINO runs the network on a CPU that computes in it; else float32.
    ValueError: one asked for by name that cannot be had. bfloat16 on a CPU without it is whatever OpenVINO makes of it; a warning says so.
    """
    if asked == "auto":
        if on_gpu and corrected:
            return "float16"
        return "bfloat16" if on_openvino and has_native_bfloat16() else "float32"
    if asked == "float16" and not (on_gpu and corrected):
        raise ValueError("precision 'float16' needs a GPU and the corrected geometry")
    if asked != "bfloat16":
        return asked
    if not on_openvino:
        raise ValueError("precision 'bfloat16' needs the OpenVINO backend and the corrected geometry on the CPU")
    if has_native_bfloat16():
        return asked
    used = openvino_precision("bfloat16")
    log.warning("precision 'bfloat16' was asked for, but this CPU does not compute in it: OpenVINO %s; 'auto' takes what the CPU has",
                "emulates it, which saves no time" if used == asked else f"takes {used} instead")
    return used
