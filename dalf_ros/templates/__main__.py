"""`./run template`: as dalf_core.commands.template, and a frame of a bag may be the source."""
from __future__ import annotations

import argparse
import sys

from dalf_core.commands import template

from ..bags.bag_source import BagError
from ..conversions.pinhole_view import no_matches, pinhole_view, view_lens
from ..offline.recording import open_recording
from ..register import parser as register_parser


def read_bag(options: argparse.Namespace) -> template.View:
    """The frame of a bag that the options name, without lens distortion, its depth on colour's pixels. Raises ValueError, OSError."""
    try:
        return _read_bag(options)
    except BagError as error:
        raise ValueError(str(error)) from error


def _read_bag(options: argparse.Namespace) -> template.View:
    words = [str(options.source)]
    for name in ("mask_topic", "intrinsics", "depth_scale"):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
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
    sys.exit(template.main(read_other=read_bag))
