"""Which topics of a bag are the camera: colour, depth and camera_info, found by type and name, or as the user names them."""
from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .bag_source import BagError, BagTopic

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_DEPTH = re.compile(r"depth|disparity", re.IGNORECASE)
_NOT_COLOR = re.compile(r"depth|disparity|mask|label|segment|infra|(^|[/_])ir\d?([/_]|$)|confidence|thermal|debug|theora", re.IGNORECASE)
_COLOR = re.compile(r"color|colour|rgb", re.IGNORECASE)
_ALIGNED = re.compile(r"aligned|registered|depth_to_(color|rgb)", re.IGNORECASE)
_NOT_LEFT = re.compile(r"(^|[/_])(right|rear|back)([/_]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class CameraTopics:
    """Names of the topics to read; None where there is none."""

    color: str
    depth: str | None
    camera_info: str | None
    mask: str | None


def choose_topics(topics: dict[str, BagTopic], *, color: str | None = None, depth: str | None = None,
                  camera_info: str | None = None, mask: str | None = None, bag: str = "the bag") -> CameraTopics:
    """Find the camera's topics; the named ones are taken as they are. A mask is only taken when it is named.

    Raises BagError, listing what there is, when a named topic is missing or of another type, or when nothing decides.
    """
    for option, name, types in (("--color-topic", color, (IMAGE, COMPRESSED)), ("--depth-topic", depth, (IMAGE, COMPRESSED)),
                                ("--camera-info-topic", camera_info, (CAMERA_INFO,)), ("--mask-topic", mask, (IMAGE, COMPRESSED))):
        _check_named(topics, option, name, types, bag)
    images = [topic for topic in topics.values() if topic.type in (IMAGE, COMPRESSED) and topic.count != 0]
    taken = {color, depth, mask}
    if depth is None:
        depth = _best([t.name for t in images if t.name not in taken and _DEPTH.search(t.name) and "debug" not in t.name], _depth_rank,
                      "depth", "--depth-topic", topics, bag)
        taken.add(depth)
    if color is None:
        color = _best([t.name for t in images if t.name not in taken and not _NOT_COLOR.search(t.name)], lambda n: _color_rank(n, topics),
                      "colour", "--color-topic", topics, bag)
    if color is None:
        raise BagError(f"{bag} has no colour image topic that can be told by its name; give it with --color-topic. It holds:\n"
                       + list_topics(topics.values()))
    if camera_info is None and depth is not None:
        camera_info = _camera_info(topics, color, depth)
    return CameraTopics(color, depth, camera_info, mask)


def list_topics(topics: Iterable[BagTopic]) -> str:
    """One line a topic: messages, name, type."""
    return "\n".join(f"  {topic.count if topic.count is not None else '?':>7}  {topic.name}  [{topic.type}]"
                     for topic in sorted(topics, key=lambda topic: topic.name))


def _check_named(topics: dict[str, BagTopic], option: str, name: str | None, types: tuple[str, ...], bag: str) -> None:
    if name is None:
        return
    if name not in topics:
        raise BagError(f"{option} {name}: {bag} has no such topic. It holds:\n" + list_topics(topics.values()))
    if topics[name].type not in types:
        raise BagError(f"{option} {name}: it is a {topics[name].type}, expected {' or '.join(types)}. The bag holds:\n"
                       + list_topics(topics.values()))


def _best(names: list[str], rank, what: str, option: str, topics: dict[str, BagTopic], bag: str) -> str | None:
    """The name of the lowest rank; None when there is no name; BagError when two share the lowest."""
    if not names:
        return None
    ranked = sorted(names, key=rank)
    if len(ranked) > 1 and rank(ranked[0]) == rank(ranked[1]):
        raise BagError(f"{bag} has more than one {what} topic ({', '.join(n for n in ranked if rank(n) == rank(ranked[0]))}); "
                       f"choose with {option}. It holds:\n" + list_topics(topics.values()))
    return ranked[0]


def _depth_rank(name: str) -> tuple:
    """Aligned to colour first; then the plainest transport, of compressed ones that which is made for depth; then rectified."""
    return (not _ALIGNED.search(name), "compressed" in name, not name.endswith("/compressedDepth"), "disparity" in name.lower(),
            "rect" not in name)


def _color_rank(name: str, topics: dict[str, BagTopic]) -> tuple:
    """Called colour first; left of a pair; raw before compressed; rectified before not; /image_raw before others."""
    return (not _COLOR.search(name), bool(_NOT_LEFT.search(name)), topics[name].type == COMPRESSED, "rect" not in name, "image" not in name)


def _camera_info(topics: dict[str, BagTopic], color: str, depth: str) -> str | None:
    """The camera_info beside the colour image, or beside a depth image that is aligned to it, or the only one."""
    infos = [t.name for t in topics.values() if t.type == CAMERA_INFO and t.count != 0]
    for image in (color, depth) if _ALIGNED.search(depth) else (color,):
        parts = image.split("/")
        for length in range(len(parts) - 1, 1, -1):
            beside = "/".join(parts[:length]) + "/camera_info"
            if beside in infos:
                return beside
    named = [name for name in infos if not _NOT_COLOR.search(name)]
    if len(named) == 1:
        return named[0]
    return infos[0] if len(infos) == 1 else None
