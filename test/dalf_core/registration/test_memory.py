"""Tracking for hours: what each frame takes is given back."""
import gc
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dalf_core import NonRigidRegistration

from ..analytic import CAMERA, RolledSheet, turn

CYCLE = 20           # frames after which the motion repeats
COVERED = 13         # of each cycle: the sheet is hidden, lost, and found again
SETTLE = 5 * CYCLE   # frames after which everything has been allocated that will be
ALLOWED = 1.02
ONE_RESULT = 100_000 # bytes of one frame's result: less than one may be kept


def resident_bytes() -> int:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def scenes():
    for index in range(CYCLE):
        share = 0.5 - 0.5 * np.cos(2 * np.pi * index / CYCLE)
        scene = RolledSheet(1 / (1 + 4 * share), turn((0.3, 1, 0), 10 * share), (0.01 * share, 0, 0.02 * share))
        depth = np.full((CAMERA.height, CAMERA.width), 0.3, np.float32) if index == COVERED else scene.depth()
        yield depth, *scene.pairs(count=80)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("frames", [300, pytest.param(1000, marks=pytest.mark.slow)])
def test_memory_is_flat(frames):
    registration = NonRigidRegistration(CAMERA, max_vertices=2000)
    registration.set_reference(RolledSheet().depth())
    cycle, seen = list(scenes()), set()
    allocated, resident = [], []
    tracemalloc.start()
    try:
        for index in range(frames):
            seen.add(registration.register(*cycle[index % CYCLE]).status)
            if index % CYCLE == CYCLE - 1 and index >= SETTLE:
                gc.collect()
                allocated.append(tracemalloc.get_traced_memory()[0])
                resident.append(resident_bytes())
    finally:
        tracemalloc.stop()
    assert seen == {"tracked", "lost"}                     # both ways through
    # numpy's arrays are traced, numba's are only in what the process holds
    assert max(allocated) < allocated[0] * ALLOWED + ONE_RESULT, allocated
    assert max(resident) < resident[0] * ALLOWED, resident
