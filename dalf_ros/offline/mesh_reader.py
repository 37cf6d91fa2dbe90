"""The followed surface of every frame, from a bag of results."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dalf_core.reports.run_report import MeshSequence

from ..bags.bag_source import BagSource
from ..bags.bag_writer import bag_topic
from ..conversions import topics
from ..conversions.messages import covariance_of, mesh_of, stamp_ns

MOST_VERTICES = 6_000_000       # of all frames together, in one report
REFERENCE, MESH, COVARIANCE = (bag_topic(name) for name in (topics.REFERENCE, topics.MESH, topics.COVARIANCE))


@dataclass
class _Followed:
    """One topology: of each frame the vertices, which are visible, how sure they are."""

    vertices: dict[int, np.ndarray] = field(default_factory=dict)
    visible: dict[int, np.ndarray] = field(default_factory=dict)
    deviation: dict[int, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class FollowedSurfaces:
    """sequences: by reference, in time. every: only every so many frames were taken. damaged: what could not be read, else empty."""

    sequences: list[MeshSequence]
    every: int
    damaged: str


def read_surfaces(bag: Path, stamps_ns: list[int], thinned: bool = True) -> FollowedSurfaces:
    """The surfaces of the frames with these stamps; thinned: of a long recording of every k-th, so that they have MOST_VERTICES at most.

    Raises BagError: the bag cannot be read at all. Messages that do not fit together are left out, and told.
    """
    with BagSource(bag) as source:
        reader = _Reader(source)
        every = max(1, -(-len(stamps_ns) * reader.most // MOST_VERTICES)) if thinned else 1
        reader.read({stamp: number for number, stamp in enumerate(stamps_ns) if number % every == 0})
        damaged = [source.damaged or "", f"{reader.left_out} messages of the followed surface do not fit" if reader.left_out else ""]
    return FollowedSurfaces(reader.sequences(), every, "; ".join(remark for remark in damaged if remark))


class _Reader:
    """most: vertices of a reference. left_out: messages whose arrays do not fit together, or not their reference."""

    def __init__(self, source: BagSource) -> None:
        self._source = source
        self.left_out = 0
        self._references: dict[int, dict[str, Any]] = {}
        self._followed: dict[int, _Followed] = defaultdict(_Followed)
        for topology, message in self._messages([REFERENCE]):
            self._guarded(self._take_reference, topology, message)
        self.most = max((len(mesh["vertices"]) for mesh in self._references.values()), default=0)

    def read(self, taken: dict[int, int]) -> None:
        """Frames by their stamps: {stamp: number}."""
        for topology, message in self._messages([MESH]):
            if (number := taken.get(stamp_ns(message.header))) is not None:
                self._guarded(self._take_mesh, topology, message, number)
        for topology, message in self._messages([COVARIANCE]):
            if (number := taken.get(stamp_ns(message.header))) is not None:
                self._guarded(self._take_covariance, topology, message, number)

    def sequences(self) -> list[MeshSequence]:
        """By reference, in time."""
        found = [_sequence(self._references[topology], surfaces) for topology, surfaces in self._followed.items() if surfaces.vertices]
        return sorted(found, key=lambda sequence: sequence.frames[0])

    def _messages(self, names: list[str]) -> Iterator[tuple[int, Any]]:
        there = [name for name in names if name in self._source.topics]
        for _, message in self._source.readable(there) if there else ():
            yield int(message.topology_id), message

    def _guarded(self, take: Callable[..., None], *given: Any) -> None:
        try:
            take(*given)
        except ValueError:
            self.left_out += 1

    def _take_reference(self, topology: int, message: Any) -> None:
        mesh = mesh_of(message)
        if mesh["triangles"] is None:
            raise ValueError("a reference without triangles")
        self._references[topology] = mesh | {"vertices": self._fitting(mesh["vertices"], len(mesh["vertices"]))}

    def _take_mesh(self, topology: int, message: Any, number: int) -> None:
        mesh = mesh_of(message)
        vertices = self._fitting(mesh["vertices"], self._count(topology))
        visible = np.ones(len(vertices), bool) if mesh["visible"] is None else mesh["visible"]
        self._followed[topology].vertices[number], self._followed[topology].visible[number] = vertices, visible

    def _take_covariance(self, topology: int, message: Any, number: int) -> None:
        covariance = self._fitting(covariance_of(message), self._count(topology))
        self._followed[topology].deviation[number] = np.sqrt(np.maximum(np.trace(covariance, axis1=1, axis2=2), 0))

    def _count(self, topology: int) -> int:
        return len(self._references[topology]["vertices"]) if topology in self._references else -1

    @staticmethod
    def _fitting(values: np.ndarray, count: int) -> np.ndarray:
        if len(values) != count or not np.isfinite(values).all():
            raise ValueError("not those of the reference, or not finite")
        return values


def _sequence(reference: dict[str, Any], surfaces: _Followed) -> MeshSequence:
    frames = sorted(surfaces.vertices)
    deviation = None
    if surfaces.deviation:
        unknown = np.full(len(reference["vertices"]), np.nan, np.float32)
        deviation = np.stack([surfaces.deviation.get(number, unknown) for number in frames])
    return MeshSequence(reference["triangles"], reference["vertices"], reference["colors"], np.array(frames, int),
                        np.stack([surfaces.vertices[number] for number in frames]),
                        np.stack([surfaces.visible[number] for number in frames]), deviation)
