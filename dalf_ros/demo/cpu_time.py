"""Processor time of processes, from /proc."""
from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path


class CpuTime:
    """User and system seconds of some processes (name: id) at one moment. One that has ended has none."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self.time_s = time.monotonic()
        self.seconds = {name: used for name, pid in processes.items() if (used := cpu_seconds(pid)) is not None}

    def shares_since(self, earlier: CpuTime) -> dict[str, float]:
        """Processor time over real time since then; 1.0 is one core. NaN where a process had ended."""
        real = self.time_s - earlier.time_s
        return {name: (self.seconds[name] - before) / real if name in self.seconds and real > 0 else float("nan")
                for name, before in earlier.seconds.items()}


def cpu_seconds(pid: int) -> float | None:
    """User and system time of a process with all its threads; None where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()        # the name, in brackets, may hold anything
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
