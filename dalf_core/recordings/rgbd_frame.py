"""One frame of a recording, whatever it was read from."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RgbdFrame:
    """One camera frame. image: HxWx3 BGR or HxW, uint8 or uint16; None: it cannot be read. depth_m: HxW float32 metres, NaN = none, and
    mask: HxW uint8; None where none belongs to it.

    stamp_ns, frame_id: of the colour image. depth_frame_id: of the depth image. problem: why image, depth or mask is missing, else empty.
    gap_ns: how far the stamp of the nearest depth or mask is, where that is why it is missing.
    """

    stamp_ns: int
    frame_id: str
    image: np.ndarray | None
    depth_m: np.ndarray | None
    mask: np.ndarray | None
    problem: str = ""
    depth_frame_id: str = ""
    gap_ns: int | None = None
