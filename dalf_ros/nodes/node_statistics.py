"""Rates, latencies and counts of a node, and the diagnostics made of them."""
from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np

OK, WARN, ERROR, STALE = 0, 1, 2, 3
WINDOW_S = 5.0
OTHER_CLOCK_S = 600.0           # a latency beyond this means that stamps and clock have nothing to do with each other


class Statistics:
    """What a node did in the last seconds. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: deque[tuple[float, float, float]] = deque(maxlen=1000)   # steady time, latency s, processing ms
        self.total = 0
        self.refused = 0
        self.last_refusal = ""

    def done(self, latency_s: float, milliseconds: float) -> None:
        """One frame was processed: latency from the sensor's stamp to now, and the time it took."""
        with self._lock:
            self._done.append((time.monotonic(), latency_s, milliseconds))
            self.total += 1

    def refuse(self, reason: str) -> None:
        """One message was refused."""
        with self._lock:
            self.refused += 1
            self.last_refusal = reason

    def summary(self) -> dict[str, str]:
        """Key-value pairs for diagnostics, over the last five seconds."""
        now = time.monotonic()
        with self._lock:
            recent = np.array([entry for entry in self._done if now - entry[0] <= WINDOW_S]).reshape(-1, 3)
            values = {"frames": str(self.total), "rate_hz": f"{len(recent) / WINDOW_S:.2f}", "refused": str(self.refused)}
            if self.last_refusal:
                values["last_refusal"] = self.last_refusal
        if len(recent):
            values["processing_median_ms"] = f"{np.median(recent[:, 2]):.1f}"
            values |= latencies(recent[:, 1])
        return values


def latencies(seconds: np.ndarray) -> dict[str, str]:
    """Median and worst of latencies (N,), as text. Negative ones do not count: a recording began again, and the clock jumped back."""
    usable = seconds[seconds >= 0]
    if np.abs(seconds).max() >= OTHER_CLOCK_S:
        return {"latency_median_ms": "unknown: stamps are not of this clock (a recording? then use_sim_time and play --clock)"}
    if not len(usable):
        ahead = -1e3 * np.median(seconds)
        return {"latency_median_ms": f"unknown: stamps are {ahead:.1f} ms ahead of this clock; synchronise it with the camera's"}
    return {"latency_median_ms": f"{1e3 * np.median(usable):.1f}", "latency_worst_ms": f"{1e3 * usable.max():.1f}"}


def diagnostic_array(message_header: dict, name: str, level: int, text: str, values: dict[str, str], hardware_id: str) -> dict:
    """DiagnosticArray fields with one status. hardware_id: of what device it tells, here the topic of the camera."""
    pairs = [{"key": key, "value": value} for key, value in values.items()]
    status = {"level": bytes([level]), "name": name, "message": text, "hardware_id": hardware_id, "values": pairs}
    return {"header": message_header, "status": [status]}
