"""Where a player is in its recording at any moment, as a listener can tell it from /clock."""
from __future__ import annotations

from collections.abc import Sequence

from .listener import Arrival


class PlayerClock:
    """The recording's time over that of this machine: a line of slope `rate`, through the message of /clock that took the least time.

    A message that comes late, or was sent late, is never nearer to the line than that one; so a busy machine does not bend it.
    """

    def __init__(self, clock: Sequence[Arrival], rate: float) -> None:
        """clock: the arrivals of one round of playing. Raises ValueError when there is none."""
        if not clock:
            raise ValueError("nothing came on /clock: when the player sent what is not known")
        self._rate, self._origin_ns = rate, clock[0].stamp_ns
        self._origin_s = min(arrival.time_s - (arrival.stamp_ns - self._origin_ns) * 1e-9 / rate for arrival in clock)

    def at(self, time_s: float) -> int:
        """Nanoseconds of the recording at a moment of time.monotonic()."""
        return self._origin_ns + round((time_s - self._origin_s) * self._rate * 1e9)
