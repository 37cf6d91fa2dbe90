"""`./run register RECORDING --output DIR`: follow the surface in a recording, frame by frame, nothing dropped, without a ROS graph."""
from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import numpy as np

from dalf_core import options
from dalf_core.camera import PinholeCamera
from dalf_core.commands.command_line import HelpWithDefaults, program
from dalf_core.recordings.picture_folder import FPS
from dalf_core.tracking.wanted_points import WantedPoint, all_different, wanted_point
from dalf_core.viewing.rerun_log import add_rerun_option

from .bags.bag_source import BagError
from .conversions.transforms import RigidTransform, rigid_transform


def parser() -> argparse.ArgumentParser:
    """The command line. Lengths in metres, pixels where stated."""
    p = argparse.ArgumentParser(prog=program("register"), description=__doc__, formatter_class=HelpWithDefaults)
    p.add_argument("recording", type=Path, metavar="RECORDING",
                   help="rosbag2 folder, .mcap, .db3 (also .zstd) or ROS 1 .bag; or a folder of pictures: color/ and depth/ (mask/), or "
                        "TUM RGB-D's")
    p.add_argument("--output", type=Path, help="folder for the results, made when it is not there (default: out/ and the recording's name)")
    p.add_argument("--overwrite", action="store_true", help="replace earlier results in the output folder")
    add_run_options(p)
    add_rerun_option(p)
    return p


def add_run_options(p: argparse.ArgumentParser) -> None:
    """What `register` and `register-many` have in common: how a recording is read and followed, and what is written of it."""
    p.add_argument("--color-topic", help="colour images; found by name and type when not given")
    p.add_argument("--depth-topic", help="depth images, aligned to the colour images")
    p.add_argument("--camera-info-topic", help="intrinsics of the colour camera")
    p.add_argument("--mask-topic", help="masks of the object, nonzero = object; none is taken unless named")
    p.add_argument("--intrinsics", metavar="FX,FY,CX,CY|FILE", type=intrinsics,
                   help="of the colour image, pixels, or a file that tells them (text or JSON); for a recording that has none")
    p.add_argument("--no-depth", action="store_true", help="only match images, whatever depth there is")
    p.add_argument("--depth-to-color", metavar="X,Y,Z,QX,QY,QZ,QW", type=transform,
                   help="from the depth camera's optical frame to colour's (metres, quaternion), where /tf_static does not tell it")
    p.add_argument("--no-check-frames", action="store_true", help="depth is aligned with colour, whatever its frame and camera_info say")
    p.add_argument("--recording-time", action="store_true", help="join by the times of recording, not by stamps")
    options.add_options(p, options.STAMP_TOLERANCE.changed(name="tolerance", high=10.0), options.DEPTH_SCALE, options.MIN_DEPTH,
                        options.MAX_DEPTH, options.DEPTH_NOISE, options.WEIGHTS, options.DEVICE, options.PRECISION, options.TOP_K,
                        options.IMAGE_SCALE, options.MAX_KEYFRAMES, options.SECOND_LOOK, options.MAX_VERTICES, options.NODE_SPACING,
                        options.GROW_TO, options.PIECES, options.TEMPLATE, options.AUTO_SELECT)
    p.add_argument("--select", metavar="X,Y", type=pixel, help="a pixel of the first frame: the object there becomes the reference, "
                   "without what it stands on; later frames are searched where it is followed")
    options.add_features_every(p)
    p.add_argument("--fps", type=float, default=FPS, help="frames a second of pictures that have numbers for names")
    p.add_argument("--max-frames", type=int, help="stop after so many frames")
    p.add_argument("--descriptors", choices=("none", "float16", "float32"), default="none", help="write descriptors to the results bag")
    p.add_argument("--covariance", action="store_true", help="write how sure each vertex of each frame is to the results bag; takes time")
    p.add_argument("--track-point", metavar="NAME,X,Y", type=track_point, action="append", default=[], dest="track_points",
                   help="follow a point by name, in the results bag as `points`: X and Y in pixels of the reference image; repeatable")
    p.add_argument("--no-video", action="store_true", help="write no film")
    p.add_argument("--no-report", action="store_true", help="write no report.html; ./run report makes it later")


def intrinsics(text: str) -> tuple[float, float, float, float] | Path:
    """"fx,fy,cx,cy" to four numbers; anything else is a file's name."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        if Path(text).is_file():
            return Path(text)
        raise argparse.ArgumentTypeError(f"{text} is neither fx,fy,cx,cy nor a file") from None
    if len(values) != 4:
        raise argparse.ArgumentTypeError("four numbers, separated by commas: fx,fy,cx,cy")
    return values  # type: ignore[return-value]


def track_point(text: str) -> WantedPoint:
    """"NAME,X,Y" to a wanted point."""
    try:
        return wanted_point(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def pixel(text: str) -> tuple[float, float]:
    """"x,y" to two finite numbers."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: two numbers, separated by a comma: a pixel x,y of the image") from None
    if not (np.isfinite(x) and np.isfinite(y)):
        raise argparse.ArgumentTypeError(f"{text!r}: a pixel has two finite numbers")
    if min(x, y) < -0.5:
        raise argparse.ArgumentTypeError(f"{text!r} is not in the image: x is 0 to its width less 1, y 0 to its height less 1")
    return x, y


def joined_negatives(words: list[str]) -> list[str]:
    """`--option -5,10` as `--option=-5,10`: argparse takes numbers that begin with a minus for an option, if there are several."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and re.match(r"-[\d.]+(e[+-]?\d+)?,", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def transform(text: str) -> RigidTransform:
    """"x,y,z,qx,qy,qz,qw" to a transform."""
    try:
        return rigid_transform([float(part) for part in text.split(",")])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 done, but nothing was followed; 2 an error, told in one line; 130 interrupted, with what was done kept."""
    given = parser().parse_args(joined_negatives(sys.argv[1:] if args is None else args))
    given.output = given.output or Path("out") / given.recording.resolve().stem
    try:
        check_options(given)
        from .offline.registration_run import run

        return run(given)
    except KeyboardInterrupt:
        print("interrupted; what was done until then, if anything, is kept", file=sys.stderr)
        return 130
    except (BagError, RuntimeError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def check_options(given: argparse.Namespace) -> None:
    """Refuse what cannot be, beyond each option's own range, before anything slow happens. Raises ValueError."""
    if given.max_frames is not None and given.max_frames < 1:
        raise ValueError(f"--max-frames must be at least 1, not {given.max_frames}")
    if given.min_depth >= given.max_depth:
        raise ValueError(f"--min-depth {given.min_depth:g} must be below --max-depth {given.max_depth:g}")
    if not (np.isfinite(given.fps) and given.fps > 0):
        raise ValueError(f"--fps must be greater than 0, not {given.fps:g}")
    all_different(given.track_points)
    selects = [name for name, given_ in (("--select", given.select is not None), ("--auto-select", given.auto_select != options.NO_RULE))
               if given_]
    others = [*selects[1:], *(name for name, value in (("--mask-topic", given.mask_topic), ("--template", given.template),
                                                       ("--no-depth", given.no_depth)) if value)]
    if selects and others:
        raise ValueError(f"{selects[0]} and {others[0]} exclude one another: {selects[0]} finds the object in the depth of a frame")
    if isinstance(given.intrinsics, tuple):
        fx, fy, cx, cy = given.intrinsics
        PinholeCamera(fx, fy, cx, cy, 1, 1)     # checks that they are positive and finite


if __name__ == "__main__":
    sys.exit(main())
