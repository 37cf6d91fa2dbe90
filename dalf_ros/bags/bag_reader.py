"""A bag as synchronised RGB-D frames, in the order of their stamps, nothing dropped."""
from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from dalf_core.lens import Lens
from dalf_core.recordings.rgbd_frame import RgbdFrame

from ..conversions.camera_model import is_rectified, lens_of
from ..conversions.messages import NANOSECONDS
from ..images.image_conversion import ImageError, to_color, to_depth, to_mask
from ..images.video_stream import VideoStreams
from .bag_source import BagError, BagSource
from .bag_topics import CameraTopics, list_topics
from .frame_pairer import FramePairer, Group

TOLERANCE_S = 0.02                 # stamps further apart than this do not belong together

log = logging.getLogger(__name__)


def read_camera(source: BagSource, topics: CameraTopics) -> Lens:
    """The camera of the first usable camera_info; without distortion where the colour or depth topic is named rectified. BagError."""
    if topics.camera_info is None:
        raise BagError("no camera_info that belongs to the colour image was found: name it with --camera-info-topic, or give "
                       "--intrinsics fx,fy,cx,cy (pixels). The bag holds:\n" + list_topics(source.topics.values()))
    problem = ""
    for _, message in source.readable([topics.camera_info]):
        try:
            return lens_of(message, is_rectified("auto", topics.color, topics.depth or ""))
        except ValueError as error:
            problem = problem or str(error)
    fault = f"is of no use: {problem}" if problem else "has no readable messages"
    raise BagError(f"{topics.camera_info} {fault}; give --intrinsics fx,fy,cx,cy (pixels)")


def count_frames(source: BagSource, topics: CameraTopics) -> int | None:
    """Colour images in the bag; None where it does not say."""
    return source.topics[topics.color].count


def read_frames(source: BagSource, topics: CameraTopics, tolerance_s: float = TOLERANCE_S, *, metres_per_unit: float | None = None,
                by_recording_time: bool = False) -> Iterator[RgbdFrame]:
    """Every colour image, with the depth and mask of the same stamp, or else of the nearest within tolerance_s.

    metres_per_unit: of the depth image's numbers; None: as REP 118 says. by_recording_time: stamps are not heeded. Messages that are
    damaged or repeated are left out: the first is told at once, their number at the end.
    """
    pairer = FramePairer(topics, int(tolerance_s * NANOSECONDS), by_recording_time)
    wanted = [name for name in (topics.color, topics.depth, topics.mask) if name is not None]
    videos, told = VideoStreams(), False
    try:
        for raw, message in source.readable(wanted):
            for group in pairer.add(raw, videos.decoded(raw.topic, message)):
                yield _decoded(group, metres_per_unit)
            if pairer.unset and not told:
                told = True
                log.warning("%s: messages have no stamp (zero); the times at which they were recorded serve instead", raw.topic)
        for group in pairer.flush():
            yield _decoded(group, metres_per_unit)
    finally:
        pairer.repeated.tell()


def _decoded(group: Group, metres_per_unit: float | None) -> RgbdFrame:
    """The group's messages as arrays; what is missing or cannot be read is None, and the problem told."""
    color, image, problems = group.messages["color"], None, []
    arrays: dict[str, np.ndarray | None] = {"depth": None, "mask": None}
    try:
        image = to_color(color)
    except ImageError as error:
        problems.append(f"colour image: {error}")
    for role, convert in (("depth", lambda message: to_depth(message, metres_per_unit)), ("mask", to_mask)):
        if group.messages.get(role) is not None:
            try:
                arrays[role] = convert(group.messages[role])
            except ImageError as error:
                problems.append(f"{role}: {error}")
        elif role in group.gap_ns:
            problems.append(_missing(role, group.gap_ns[role]))
    depth = group.messages.get("depth")
    return RgbdFrame(group.stamp_ns, color.header.frame_id, image, arrays["depth"], arrays["mask"], "; ".join(problems),
                     "" if depth is None else depth.header.frame_id, next((gap for gap in group.gap_ns.values() if gap is not None), None))


def _missing(role: str, gap_ns: int | None) -> str:
    """Alike for all frames of one fault, so that the commonest reason can be counted."""
    return f"no {role} within the stamp tolerance" if gap_ns is not None else f"no {role} at all"
