"""Which topics of a bag are the camera: colour, depth and camera_info, found by type, first message and name, or as the user names them."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .raw_message import BagError, BagTopic
from .topic_kinds import CAMERA_INFO, CLOUD, COMPRESSED, IMAGE, IMAGE_TYPES, is_depth, is_picture

__all__ = ["CAMERA_INFO", "CLOUD", "COMPRESSED", "IMAGE", "CameraTopics", "choose_topics", "list_topics"]

_COLOR = re.compile(r"color|colour|rgb", re.IGNORECASE)
_ALIGNED = re.compile(r"aligned|registered|depth_to_(color|rgb)", re.IGNORECASE)
_LEFT = re.compile(r"(^|[/_])left([/_]|$)", re.IGNORECASE)
_NOT_LEFT = re.compile(r"(^|[/_])(right|rear|back)([/_]|$)", re.IGNORECASE)
_GREY = ("mono8", "mono16", "8UC1")


@dataclass(frozen=True)
class CameraTopics:
    """Names of the topics to read; None where there is none."""

    color: str
    depth: str | None
    camera_info: str | None
    mask: str | None


def choose_topics(topics: dict[str, BagTopic], *, color: str | None = None, depth: str | None = None, camera_info: str | None = None,
                  mask: str | None = None, bag: str = "the bag", with_depth: bool = True) -> CameraTopics:
    """Find the camera's topics; the named ones are taken as they are. A mask, and a point cloud for depth, are only taken when named.

    Depth and camera_info are those of colour's own camera: of its namespace, then of its frame. with_depth: false looks for colour alone.
    Raises BagError, listing what there is, when a named topic is missing or of another type, or when nothing decides.
    """
    for option, name, types in (("--color-topic", color, IMAGE_TYPES), ("--depth-topic", depth, (IMAGE, COMPRESSED, CLOUD)),
                                ("--camera-info-topic", camera_info, (CAMERA_INFO,)), ("--mask-topic", mask, (IMAGE, COMPRESSED))):
        _check_named(topics, option, name, types, bag)
    choice = _Choice(topics, bag, {color, depth, camera_info, mask})
    if color is None:
        color = choice.color([topics[depth]] if depth else choice.depths if with_depth else [])
    if depth is None and with_depth:
        depth = choice.depth(topics[color])
    if not with_depth:
        return CameraTopics(color, None, None, mask)
    if camera_info is None and depth is not None:
        camera_info = choice.camera_info(topics[color], topics[depth])
    return CameraTopics(color, depth, camera_info, mask)


def list_topics(topics: Iterable[BagTopic]) -> str:
    """One line a topic: messages, name, type."""
    return "\n".join(f"  {topic.count if topic.count is not None else '?':>7}  {topic.name}  [{topic.type}]"
                     for topic in sorted(topics, key=lambda topic: topic.name))


class _Choice:
    """The pictures and depth images of a bag, those apart that the user gave another role, and what belongs together."""

    def __init__(self, topics: dict[str, BagTopic], bag: str, taken: set[str | None]) -> None:
        self._topics, self._bag = topics, bag
        self.depths = [topic for topic in topics.values() if topic.name not in taken and is_depth(topic)]
        self.pictures = [topic for topic in topics.values() if topic.name not in taken and is_picture(topic)]

    def color(self, depths: list[BagTopic]) -> str:
        """A camera that has depth first, if any has; then by name and encoding. BagError: there is none, or it stays ambiguous."""
        best = self._best(self.pictures, lambda t: (not any(self._is_own(t, d, self.pictures) for d in depths), *_color_rank(t)),
                          "colour", "--color-topic")
        if best is None:
            raise BagError(f"{self._bag} has no colour image topic that can be told by its name; give it with --color-topic. It holds:\n"
                           + list_topics(self._topics.values()))
        return best

    def depth(self, color: BagTopic) -> str | None:
        """Depth of colour's own camera; None where the bag has none at all. BagError: it stays ambiguous, or is all of other cameras."""
        colors = [color, *(picture for picture in self.pictures if picture.name != color.name)]
        own = [depth for depth in self.depths if self._is_own(color, depth, colors)]
        if self.depths and not own:
            raise BagError(f"the depth in {self._bag} ({', '.join(depth.name for depth in self.depths)}) lies beside other cameras than "
                           f"{color.name}; choose with --depth-topic, or leave depth out with --no-depth. It holds:\n"
                           + list_topics(self._topics.values()))
        return self._best(own, lambda depth: _depth_rank(depth, color), "depth", "--depth-topic")

    def camera_info(self, color: BagTopic, depth: BagTopic) -> str | None:
        """camera_info beside the colour image, or beside depth that is aligned to it; else the one of colour's frame, or the only one."""
        infos = [t for t in self._topics.values() if t.type == CAMERA_INFO and t.count != 0]
        for image in (color, depth) if _is_aligned(depth, color) else (color,):
            if found := beside(image.name, infos):
                return found
        same_frame = [info for info in infos if info.frame_id and info.frame_id == color.frame_id]
        others = [image for image in (*self.pictures, *self.depths) if image.name not in (color.name, depth.name)]
        theirs = {beside(image.name, infos) for image in others}
        free = [info for info in infos if info.name not in theirs]
        for left in (same_frame, [info for info in free if not re.search("depth|infra", info.name)], free):
            if len(left) == 1:
                return left[0].name
        return None

    @staticmethod
    def _is_own(color: BagTopic, depth: BagTopic, colors: list[BagTopic]) -> bool:
        """Whether depth is of colour's camera: no other colour image shares more of its namespace, and the frames do not say otherwise."""
        shared = {other.name: _shared(other.name, depth.name) for other in colors}
        if shared[color.name] < max(shared.values()):
            return False
        same_frame = [other.name for other in colors if depth.frame_id and other.frame_id == depth.frame_id]
        return shared[color.name] > 0 or not same_frame or color.name in same_frame

    def _best(self, candidates: list[BagTopic], rank: Callable[[BagTopic], tuple], what: str, option: str) -> str | None:
        """The name of the lowest rank; None when there is no name; BagError when two share the lowest."""
        if not candidates:
            return None
        lowest = min(map(rank, candidates))
        names = [topic.name for topic in candidates if rank(topic) == lowest]
        if len(names) > 1:
            raise BagError(f"{self._bag} has more than one {what} topic ({', '.join(names)}); choose with {option}. It holds:\n"
                           + list_topics(self._topics.values()))
        return names[0]


def _check_named(topics: dict[str, BagTopic], option: str, name: str | None, types: tuple[str, ...], bag: str) -> None:
    if name is None:
        return
    if name not in topics:
        raise BagError(f"{option} {name}: {bag} has no such topic. It holds:\n" + list_topics(topics.values()))
    if topics[name].type not in types:
        raise BagError(f"{option} {name}: it is a {topics[name].type}, expected {' or '.join(types)}. The bag holds:\n"
                       + list_topics(topics.values()))


def _shared(a: str, b: str) -> int:
    """How many names two topics have in common from the root; their last ones do not count."""
    count = 0
    for one, other in zip(a.strip("/").split("/")[:-1], b.strip("/").split("/")[:-1]):
        if one != other:
            break
        count += 1
    return count


def _is_aligned(depth: BagTopic, color: BagTopic) -> bool:
    """Whether depth lies on the colour image's pixels: the frames tell it, where both are set, else the name."""
    if depth.frame_id and color.frame_id:
        return depth.frame_id == color.frame_id
    return _ALIGNED.search(depth.name) is not None


def _depth_rank(depth: BagTopic, color: BagTopic) -> tuple:
    """Aligned to colour first, by frame, then by name; of the same namespace; then the plainest transport, of packed ones that which
    is exact, then that which is made for depth; then rectified."""
    name = depth.name
    return (not _is_aligned(depth, color), not _ALIGNED.search(name), -_shared(name, color.name), depth.type != IMAGE,
            not name.endswith("/zstd"), not name.endswith("/compressedDepth"), "rect" not in name)


def _color_rank(color: BagTopic) -> tuple:
    """Colour before grey, called so first; of a pair of eyes neither, then the left; raw before zstd before compressed; rectified before
    not."""
    name = color.name
    side = 2 if _NOT_LEFT.search(name) else 1 if _LEFT.search(name) else 0
    return (not _COLOR.search(name), color.encoding in _GREY, side, color.type != IMAGE, not name.endswith("/zstd"), "rect" not in name,
            "image" not in name)


def beside(image: str, infos: list[BagTopic]) -> str | None:
    """The camera_info in the image's namespace, or in the nearest above it; in a recording of the RealSense SDK below `info` there."""
    names = {info.name for info in infos}
    parts = image.split("/")
    above = ("/".join(parts[:length]) for length in range(len(parts) - 1, 1, -1))
    return next((name for space in above for name in (f"{space}/camera_info", f"{space}/info/camera_info") if name in names), None)
