"""`./run register BAG --output DIR`: follow the surface in a recording, frame by frame, nothing dropped, without a ROS graph."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dalf_core.camera import PinholeCamera
from dalf_core.commands.command_line import HelpWithDefaults
from dalf_core.depth import DEPTH_NOISE_M, FAR_M, NEAR_M

from .bags.bag_source import BagError
from .conversions.transforms import RigidTransform, rigid_transform


def parser() -> argparse.ArgumentParser:
    """The command line. Lengths in metres, pixels where stated."""
    p = argparse.ArgumentParser(prog="./run register", description=__doc__, formatter_class=HelpWithDefaults)
    p.add_argument("bag", type=Path, help="rosbag2 folder, .mcap, .db3 (also .zstd) or ROS 1 .bag")
    p.add_argument("--output", type=Path, required=True, help="folder for the results; made when it is not there")
    p.add_argument("--overwrite", action="store_true", help="replace earlier results in the output folder")
    p.add_argument("--color-topic", help="colour images; found by name and type when not given")
    p.add_argument("--depth-topic", help="depth images, aligned to the colour images")
    p.add_argument("--camera-info-topic", help="intrinsics of the colour camera")
    p.add_argument("--mask-topic", help="masks of the object, nonzero = object; none is taken unless named")
    p.add_argument("--intrinsics", metavar="FX,FY,CX,CY", type=intrinsics, help="of the colour image, pixels; for a bag that has none")
    p.add_argument("--no-depth", action="store_true", help="only match images, whatever depth there is")
    p.add_argument("--depth-scale", type=float, default=0.0, metavar="METRES",
                   help="metres per unit of the depth images; 0: 0.001 for 16-bit numbers, 1 for floats (REP 118)")
    p.add_argument("--min-depth", type=float, default=NEAR_M, help="nearer readings are left out; metres")
    p.add_argument("--max-depth", type=float, default=FAR_M, help="farther readings are left out; metres")
    p.add_argument("--depth-noise", type=float, default=DEPTH_NOISE_M, help="what readings may be off by, at least; metres")
    p.add_argument("--depth-to-color", metavar="X,Y,Z,QX,QY,QZ,QW", type=transform,
                   help="from the depth camera's optical frame to colour's (metres, quaternion), where /tf_static does not tell it")
    p.add_argument("--no-check-frames", action="store_true", help="depth is aligned with colour, whatever its frame and camera_info say")
    p.add_argument("--recording-time", action="store_true", help="join by the times of recording, not by stamps")
    p.add_argument("--tolerance", type=float, default=0.02, help="seconds between stamps that still belong together")
    p.add_argument("--weights", help="checkpoint: a path, or 'official'; the default one when not given")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    p.add_argument("--top-k", type=int, default=2048, help="at most so many keypoints an image")
    p.add_argument("--image-scale", type=float, default=1.0, help="resize images by this before extraction; 2 helps small objects")
    p.add_argument("--max-keyframes", type=int, default=8,
                   help="views kept besides the reference and matched where it does not serve; 0: none")
    p.add_argument("--max-frames", type=int, help="stop after so many frames")
    p.add_argument("--max-vertices", type=int, default=6000, help="bound on the reference surface's size")
    p.add_argument("--grow-to", type=int, default=0, metavar="N",
                   help="add surface that comes into view beside the reference, up to so many vertices (default 0: never)")
    p.add_argument("--node-spacing", type=float, help="metres between nodes of the deformation graph; chosen when not given")
    p.add_argument("--pieces", choices=("all", "largest"), default="all", help="of the reference surface")
    p.add_argument("--descriptors", choices=("none", "float16", "float32"), default="none", help="write descriptors to the results bag")
    p.add_argument("--no-video", action="store_true", help="write no film")
    return p


def intrinsics(text: str) -> tuple[float, float, float, float]:
    """"fx,fy,cx,cy" to four numbers."""
    values = tuple(float(part) for part in text.split(","))
    if len(values) != 4:
        raise argparse.ArgumentTypeError("four numbers, separated by commas: fx,fy,cx,cy")
    return values  # type: ignore[return-value]


def transform(text: str) -> RigidTransform:
    """"x,y,z,qx,qy,qz,qw" to a transform."""
    try:
        return rigid_transform([float(part) for part in text.split(",")])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 done, but nothing was followed; 2 an error, told in one line; 130 interrupted, with what was done kept."""
    options = parser().parse_args(args)
    try:
        check_options(options)
        from .offline.registration_run import run

        return run(options)
    except KeyboardInterrupt:
        print("interrupted; what was done until then, if anything, is kept", file=sys.stderr)
        return 130
    except (BagError, RuntimeError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def check_options(options: argparse.Namespace) -> None:
    """Refuse numbers that cannot be, before anything slow happens. Raises ValueError."""
    allowed = {
        "max_frames": options.max_frames is None or options.max_frames > 0,
        "top_k": options.top_k > 0,
        "max_keyframes": options.max_keyframes >= 0,
        "max_vertices": options.max_vertices >= 100,
        "grow_to": options.grow_to >= 0,
        "image_scale": 0.05 <= options.image_scale <= 8,
        "tolerance": 0 <= options.tolerance <= 10,
        "depth_scale": 0 <= options.depth_scale <= 1000,
        "min_depth": 0 < options.min_depth < options.max_depth,
        "depth_noise": 0 < options.depth_noise <= 1,
        "node_spacing": options.node_spacing is None or options.node_spacing > 0,
    }
    for name, ok in allowed.items():
        if not ok:
            raise ValueError(f"--{name.replace('_', '-')} {getattr(options, name)} is out of range")
    if options.intrinsics:
        fx, fy, cx, cy = options.intrinsics
        PinholeCamera(fx, fy, cx, cy, 1, 1)     # checks that they are positive and finite


if __name__ == "__main__":
    sys.exit(main())
