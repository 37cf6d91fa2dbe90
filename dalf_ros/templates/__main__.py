"""`./run template`: as dalf_core.commands.template, and a frame of a bag or of a running camera may be the source."""
from __future__ import annotations

import argparse
import sys

from dalf_core.commands import template

from ..bags.bag_source import BagError
from ..conversions.pinhole_view import no_matches, pinhole_view, view_lens
from ..offline.recording import open_recording
from ..register import parser as register_parser


def read_view(options: argparse.Namespace) -> template.View:
    """The frame of a bag, or without a source that of a running camera, that the options name. Raises ValueError, OSError."""
    if options.source is not None:
        return read_bag(options)
    try:
        from .live_view import read_topics
    except ModuleNotFoundError as error:
        raise ValueError(f"a running camera is heard over ROS, and there is none: {error}") from error
    try:
        return read_topics(options)
    except BagError as error:
        raise ValueError(str(error)) from error


def read_bag(options: argparse.Namespace) -> template.View:
    """The frame of a bag that the options name, without lens distortion, its depth on colour's pixels. Raises ValueError, OSError."""
    try:
        return _read_bag(options)
    except BagError as error:
        raise ValueError(str(error)) from error


def _read_bag(options: argparse.Namespace) -> template.View:
    words = [str(options.source)]
    for name, option in (("topic", "color-topic"), ("depth_topic", "depth-topic"), ("camera_info_topic", "camera-info-topic"),
                         ("mask_topic", "mask-topic"), ("intrinsics", "intrinsics"), ("depth_scale", "depth-scale")):
        if (value := getattr(options, name)) is not None:
            words += [f"--{option}", str(value)]
    with open_recording(register_parser().parse_args(words)) as recording:
        print(recording.description)
        for number, frame in enumerate(recording.frames()):
            if number < options.frame:
                continue
            if frame.image is None or (recording.has_depth and frame.depth_m is None) or (recording.has_mask and frame.mask is None):
                raise ValueError(f"frame {number} cannot be used: {frame.problem}; try another --frame")
            if frame.depth_m is None:
                return template.View(frame.image, mask=frame.mask)
            if frame.depth_m.ndim != 2:
                raise ValueError("a point cloud cannot become a template: name the depth image's topic")
            size = frame.image.shape[1], frame.image.shape[0]
            lens = recording.camera()
            own = recording.depth_camera(lens, frame.frame_id, frame.depth_frame_id)
            lens = view_lens(lens, frame.depth_m.shape[1::-1], own)
            view = pinhole_view(lens, no_matches(size), frame.depth_m, frame.image, frame.mask, own)
            return template.View(frame.image if view.image is None else view.image, view.depth_m, view.camera, view.mask)
    raise ValueError(f"{options.source} has no frame {options.frame} (they count from 0)")


if __name__ == "__main__":
    sys.exit(template.main(read_other=read_view))
