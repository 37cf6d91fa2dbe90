"""cv_bridge, for those encodings that a child process has seen it convert right.

An installed cv_bridge may be built for another NumPy or OpenCV than this process has loaded. Then it ends the process, raises, or gives
wrong pixels, so it is not even imported here before a child process has tried it.
"""
from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np

ENCODINGS = ("rgb8", "bgr8", "rgba8", "bgra8", "bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8", "yuv422", "uyvy", "yuv422_yuy2",
             "yuyv")                # that both cv_bridge and image_conversion know
PATIENCE_S = 30.0

log = logging.getLogger(__name__)


def through_bridge(message: Any) -> np.ndarray | None:
    """An Image as HxWx3 BGR by cv_bridge; None where that is not installed, or does not convert this encoding right."""
    if message.encoding not in usable_encodings():
        return None
    return np.array(_bridge().imgmsg_to_cv2(message, "bgr8"))


@cache
def usable_encodings() -> frozenset[str]:
    """Those of ENCODINGS that cv_bridge converts right; found out in a child process, once. Says what is wrong with it, if anything is."""
    if importlib.util.find_spec("cv_bridge") is None:
        return frozenset()
    try:
        child = subprocess.run([sys.executable, "-m", f"{__package__}.bridge_probe"], stdin=subprocess.DEVNULL, capture_output=True,
                               text=True, timeout=PATIENCE_S, check=False)
        right, end = child.stdout.split(), f"ends with {child.returncode}" if child.returncode else "converts the others wrong"
        said = child.stderr.strip().splitlines()[-1:]
    except (OSError, subprocess.TimeoutExpired) as error:
        right, end, said = [], str(error), []
    usable = frozenset(ENCODINGS).intersection(right)
    if len(usable) < len(ENCODINGS):
        log.warning("the installed cv_bridge %s%s; %s by this package's own code", end, "".join(f" ({line})" for line in said),
                    f"all but {', '.join(sorted(usable))} are converted" if usable else "images are converted")
    return usable


@cache
def _bridge() -> Any:
    from cv_bridge import CvBridge

    return CvBridge()
