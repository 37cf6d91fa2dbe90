"""What `register` reads: one protocol, a bag or a folder of pictures behind it."""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

from dalf_core.lens import Lens
from dalf_core.options import NO_RULE
from dalf_core.recordings.folder_layout import KNOWN
from dalf_core.recordings.picture_folder import PictureFolder
from dalf_core.recordings.rgbd_frame import RgbdFrame

from ..bags.bag_files import is_bag_folder
from ..bags.bag_reader import count_frames, read_camera, read_frames
from ..bags.bag_source import BagError, BagSource
from ..bags.bag_topics import choose_topics
from ..bags.realsense_file import is_of_sdk
from ..bags.topic_kinds import IMAGE_TYPES
from ..conversions.depth_camera import DepthCamera
from ..conversions.transforms import IDENTITY, RigidTransform
from .depth_streams import DepthStreams

OF_BAGS = ("color_topic", "depth_topic", "camera_info_topic", "mask_topic", "depth_to_color", "no_check_frames", "recording_time")


class Recording(Protocol):
    """description: what it was taken for, in words. count: its frames, None where it does not say. warning: what is wrong with it, else
    empty; known once it was read."""

    description: str
    has_depth: bool
    has_mask: bool
    count: int | None

    @property
    def warning(self) -> str: ...

    def camera(self) -> Lens:
        """The colour camera. ValueError, BagError: it is not told, and how to tell it."""

    def frames(self) -> Iterator[RgbdFrame]:
        """Every frame in order; what cannot be read is None, and its problem told."""

    def depth_camera(self, color: Lens, color_frame: str, depth_frame: str) -> DepthCamera | None:
        """The depth image's own camera; None: it lies on colour's pixels. ValueError: what would align it is missing."""

    def cloud_transform(self, color_frame: str, cloud_frame: str) -> RigidTransform:
        """From a point cloud's frame to the colour camera's. ValueError: it is another one, and not known where."""

    def __enter__(self) -> Recording: ...

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None: ...


def open_recording(options: argparse.Namespace) -> Recording:
    """What options.recording names. BagError, ValueError, OSError."""
    path: Path = options.recording
    if path.is_dir() and not is_bag_folder(path):
        return FolderRecording(options)
    if path.is_file() and path.suffix.lower() in (".png", ".jpg", ".jpeg", ".mp4", ".avi", ".mov"):
        raise BagError(f"{path} is not a recording with depth: name a bag, or the folder that holds the pictures: {KNOWN}. "
                       "./run video registers a film without depth, ./run match two pictures")
    return BagRecording(options)


class BagRecording:
    """A rosbag2 or ROS 1 bag."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        with ExitStack() as opened:
            self._source = opened.enter_context(BagSource(options.recording))
            self._chosen = chosen = choose_topics(
                self._source.topics, color=options.color_topic, depth=options.depth_topic, camera_info=options.camera_info_topic,
                mask=options.mask_topic, bag=str(options.recording), with_depth=not options.no_depth)
            self._depth = DepthStreams(self._source, chosen, options.depth_to_color, not options.no_check_frames)
            self._opened = opened.pop_all()
        self.has_depth, self.has_mask = chosen.depth is not None, chosen.mask is not None
        self.description = ", ".join(
            f"{role}: {topic or 'none'}" for role, topic in (("colour", chosen.color), ("depth", chosen.depth),
                                                             ("camera_info", chosen.camera_info), ("mask", chosen.mask)))
        masks = [topic.name for topic in self._source.topics.values() if topic.type in IMAGE_TYPES and "mask" in topic.name.lower()]
        if chosen.mask is None and masks and options.select is None and options.auto_select == NO_RULE and not options.template:
            self.description += f"\nhint: there are masks; --mask-topic {masks[0]} keeps to the object, without it all is followed"
        if is_of_sdk(chosen.color):
            self.description = f"a recording of the RealSense SDK: {self.description}"
            if unit := self._depth.metres_per_unit:
                self.description += f"; depth in units of {unit:.6g} m"
        self.count = count_frames(self._source, chosen)

    @property
    def warning(self) -> str:
        """What is damaged."""
        return self._source.damaged or ""

    def camera(self) -> Lens:
        """Of the first usable camera_info."""
        lens = read_camera(self._source, self._chosen)
        if not lens.is_pinhole:
            print(f"{self._chosen.camera_info}: {lens.model} distortion, which is undone before registration")
        return lens

    def frames(self) -> Iterator[RgbdFrame]:
        """By stamps, or by the times of recording."""
        unit = self._options.depth_scale or self._depth.metres_per_unit
        return read_frames(self._source, self._chosen, self._options.tolerance, metres_per_unit=unit,
                           by_recording_time=self._options.recording_time)

    def depth_camera(self, color: Lens, color_frame: str, depth_frame: str) -> DepthCamera | None:
        """As camera_info and /tf_static tell."""
        return self._depth.camera(color, color_frame, depth_frame)

    def cloud_transform(self, color_frame: str, cloud_frame: str) -> RigidTransform:
        """As /tf_static tells."""
        return self._depth.cloud_transform(color_frame, cloud_frame)

    def __enter__(self) -> BagRecording:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._opened.__exit__(kind, value, trace)


class FolderRecording(PictureFolder):
    """A folder of pictures, whose depth lies on colour's pixels."""

    warning = ""

    def __init__(self, options: argparse.Namespace) -> None:
        given = [f"--{name.replace('_', '-')}" for name in OF_BAGS if getattr(options, name)]
        if given:
            raise ValueError(f"{options.recording} is a folder of pictures; {', '.join(given)} is for bags")
        super().__init__(options.recording, metres_per_unit=options.depth_scale or None, fps=options.fps, tolerance_s=options.tolerance,
                         camera_file=options.intrinsics if isinstance(options.intrinsics, Path) else None)
        if options.no_depth:
            self.has_depth = False
        self.description = f"taken for {self.description}"

    def depth_camera(self, color: Lens, color_frame: str, depth_frame: str) -> None:        # noqa: ARG002
        """Depth lies on colour's pixels."""

    def cloud_transform(self, color_frame: str, cloud_frame: str) -> RigidTransform:        # noqa: ARG002
        """Pictures hold no clouds."""
        return IDENTITY

    def __enter__(self) -> FolderRecording:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        pass
