"""A recording as it is played: its topics, and when the player is due to send each colour image."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..bags.bag_source import BagError, BagSource
from ..launch_support import describe_bag
from .listener import stamp_of


@dataclass(frozen=True)
class PlayedRecording:
    """topics: what describe_bag says of them. stamps_ns: (T,) int64, of the colour images, in the order of playing.

    due_ns: (T,) int64, when each was recorded: the player sends it when its clock is there.
    """

    bag: Path
    topics: dict[str, str]
    stamps_ns: np.ndarray
    due_ns: np.ndarray

    @staticmethod
    def read(bag: Path, mask: str | None = None) -> PlayedRecording:
        """mask: its topic. Raises BagError when there is no depth, no camera_info, or are fewer than two images."""
        words = [str(bag)] + (["--mask-topic", mask] if mask else [])
        found = describe_bag.describe(describe_bag.parser().parse_args(words))
        if not found["depth"] or not found["camera_info"]:
            raise BagError(f"{bag} has no depth or no camera_info: there is no surface to follow in it")
        with BagSource(bag) as source:
            times = [(stamp_of(source.cdr(raw)), raw.time_ns) for raw in source.messages(found["played"].split()[:1])]
        if len(times) < 2:
            raise BagError(f"{bag} has {len(times)} colour images: too few to play")
        stamps, due = np.array(times, np.int64).T
        return PlayedRecording(bag, found, stamps, due)

    @property
    def played(self) -> list[str]:
        """The topics to play, colour first."""
        return self.topics["played"].split()

    @property
    def period_s(self) -> float:
        """Mean time between images."""
        return float(self.due_ns[-1] - self.due_ns[0]) * 1e-9 / (len(self.due_ns) - 1)
