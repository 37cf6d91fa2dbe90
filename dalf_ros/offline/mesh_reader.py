"""The followed surface of every frame, from a bag of results."""
from __future__ import annotations

from collections import defaultdict
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


def read_surfaces(bag: Path, stamps_ns: list[int]) -> FollowedSurfaces:
    """The surfaces of the frames with these stamps; of a long recording every k-th frame, so that they have MOST_VERTICES at most.

    Raises BagError: the bag cannot be read at all. Messages that do not fit together are left out, and told.
    """
    with BagSource(bag) as source:
        references, most = _references(source)
        every = max(1, -(-len(stamps_ns) * most // MOST_VERTICES))
        taken = {stamp: number for number, stamp in enumerate(stamps_ns) if number % every == 0}
        followed, problems = _followed(source, taken, set(references))
        damaged = "; ".join([*([source.damaged] if source.damaged else []), *problems])
    sequences = [_sequence(references[topology], surfaces) for topology, surfaces in followed.items() if surfaces.vertices]
    return FollowedSurfaces(sorted(sequences, key=lambda sequence: sequence.frames[0]), every, damaged)


def _references(source: BagSource) -> tuple[dict[int, dict[str, Any]], int]:
    """Reference surfaces by topology, and the most vertices that one has."""
    references: dict[int, dict[str, Any]] = {}
    if REFERENCE in source.topics:
        for _, message in source.readable([REFERENCE]):
            mesh = mesh_of(message)
            if mesh["triangles"] is not None and np.isfinite(mesh["vertices"]).all():
                references[int(message.topology_id)] = mesh
    return references, max((len(mesh["vertices"]) for mesh in references.values()), default=0)


def _followed(source: BagSource, taken: dict[int, int], known: set[int]) -> tuple[dict[int, _Followed], list[str]]:
    followed: dict[int, _Followed] = defaultdict(_Followed)
    left_out = 0
    wanted = [topic for topic in (MESH, COVARIANCE) if topic in source.topics]
    for raw, message in source.readable(wanted) if wanted else ():
        number = taken.get(stamp_ns(message.header))
        if number is None:
            continue
        surfaces = followed[int(message.topology_id)]
        try:
            if int(message.topology_id) not in known:
                raise ValueError("its reference surface is not in the bag")
            _take(surfaces, number, raw.topic, message)
        except ValueError:
            left_out += 1
    return followed, [f"{left_out} messages of the followed surface do not fit their reference"] if left_out else []


def _take(surfaces: _Followed, number: int, topic: str, message: Any) -> None:
    if topic == COVARIANCE:
        surfaces.deviation[number] = np.sqrt(np.maximum(np.trace(covariance_of(message), axis1=1, axis2=2), 0))
        return
    mesh = mesh_of(message)
    vertices, visible = mesh["vertices"], mesh["visible"]
    if not len(vertices) or not np.isfinite(vertices).all():
        raise ValueError("vertices that are not finite")
    surfaces.vertices[number] = vertices
    surfaces.visible[number] = np.ones(len(vertices), bool) if visible is None else visible


def _sequence(reference: dict[str, Any], surfaces: _Followed) -> MeshSequence:
    count = len(reference["vertices"])
    frames = sorted(number for number, vertices in surfaces.vertices.items() if len(vertices) == count)
    deviation = None
    if surfaces.deviation:
        unknown = np.full(count, np.nan, np.float32)
        deviation = np.stack([each if len(each := surfaces.deviation.get(number, unknown)) == count else unknown for number in frames])
    return MeshSequence(reference["triangles"], reference["vertices"], reference["colors"], np.array(frames, int),
                        np.stack([surfaces.vertices[number] for number in frames]),
                        np.stack([surfaces.visible[number] for number in frames]), deviation)
