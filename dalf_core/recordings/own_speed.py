"""A film's pictures as a camera would send them."""
from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

Picture = TypeVar("Picture")


def at_own_speed(pictures: Iterable[Picture], times: np.ndarray, fps: float) -> Iterator[Picture]:
    """Each when it is due, times being seconds from the first; those that are late by more than one are left out, the last one never."""
    began = None            # to open a film anew takes its time
    for picture, due in zip(pictures, times, strict=False):
        began = time.monotonic() if began is None else began
        late = time.monotonic() - began - due
        if late > 1 / fps and due < times[-1]:
            continue
        time.sleep(max(0.0, -late))
        yield picture
