"""The named points of every frame, from a bag of results."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from dalf_core.types import PointTrack

from ..bags.bag_source import BagSource
from ..bags.bag_writer import bag_topic
from ..conversions import topics
from ..conversions.messages import stamp_ns
from ..conversions.point_messages import points_of

POINTS = bag_topic(topics.NAMED_POINTS)


def read_points(bag: Path, stamps_ns: list[int]) -> dict[str, PointTrack]:
    """By name, in the order of their naming: where each is in the frames with these stamps. Raises BagError: the bag cannot be read."""
    number = {stamp: index for index, stamp in enumerate(stamps_ns)}
    tracks: dict[str, PointTrack] = {}
    with BagSource(bag) as source:
        if POINTS not in source.topics:
            return {}
        for _, message in source.readable([POINTS]):
            at = number.get(stamp_ns(message.header))
            for point in points_of(message) if at is not None else ():
                unknown = PointTrack(np.full((len(stamps_ns), 3), np.nan, np.float32), np.zeros(len(stamps_ns), bool))
                track = tracks.setdefault(point.name, unknown)
                track.position[at], track.visible[at] = point.position, point.visible
    return tracks
