"""`./run template make SOURCE --output shirt.dalf`: save a view of an object as a template, which is found again in any shape.
`./run template make --topic /camera/color/image_raw`: of a running camera.

`template show FILE` draws one. To follow it: `./run register RECORDING --template FILE`, the parameter `template`, or ~/load_template.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..camera import PinholeCamera
from ..depth_units import to_metres
from ..files.picture_file import decode_picture, read_picture
from ..options import IMAGE_SCALE, add_options
from ..recordings.camera_files import read_camera_file
from ..recordings.picture_folder import PictureFolder
from ..templates.template import Template, TemplateError
from ..templates.template_file import SUFFIX, load_template, save_template
from .command_line import HelpWithDefaults, add_extractor_options, exit_status, make_extractor, program
from .files import PICTURES, check_output, write_picture


@dataclass(frozen=True)
class View:
    """What a template is made of: see Template.of_frame."""

    image: np.ndarray
    depth_m: np.ndarray | None = None
    camera: PinholeCamera | None = None
    mask: np.ndarray | None = None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog=program("template"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = p.add_subparsers(dest="action", required=True, metavar="make|show")
    make = actions.add_parser("make", help="save a view of an object", formatter_class=HelpWithDefaults)
    make.add_argument("source", type=Path, nargs="?", metavar="SOURCE", help="a picture; a folder of pictures with depth, as `register` "
                      "takes it; with ./run also a bag")
    make.add_argument("--output", type=Path, help=f"the file, *{SUFFIX} (default: out/ and the source's or topic's name)")
    make.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    make.add_argument("--name", help="how the object is called (default: the file's name)")
    make.add_argument("--frame", type=int, default=0, help="of a recording, or of what comes from a running camera: which one, from 0")
    make.add_argument("--topic", help="with ./run: colour images of a bag; without SOURCE of a running camera")
    make.add_argument("--depth-topic", help="of a bag or camera: depth (default: found beside the colour images)")
    make.add_argument("--camera-info-topic", help="of a bag or camera: colour's intrinsics (default: found beside the colour images)")
    make.add_argument("--mask", type=Path, help="picture of the object: nonzero is kept (a folder's own mask is taken where it has one)")
    make.add_argument("--mask-topic", help="of a bag or camera: masks of the object")
    make.add_argument("--wait", type=float, default=10.0, metavar="SECONDS", help="for a running camera's topics, and then for a frame")
    make.add_argument("--depth", type=Path, help="of a picture: its depth, aligned with it, 16-bit or floating point")
    make.add_argument("--depth-scale", type=float, help="metres that one unit of the depth is (default: 0.001 for 16-bit numbers)")
    make.add_argument("--intrinsics", metavar="FX,FY,CX,CY|FILE", help="of the colour picture, pixels, or a file that tells them")
    make.add_argument("--metadata", metavar="KEY=VALUE", action="append", default=[], help="free text to keep with it; repeatable")
    add_options(make, IMAGE_SCALE)
    add_extractor_options(make)
    show = actions.add_parser("show", help="draw a template, and tell what it holds", formatter_class=HelpWithDefaults)
    show.add_argument("file", type=Path, metavar="FILE", help=f"*{SUFFIX}")
    show.add_argument("--output", type=Path, default=Path("out/template.png"), help="the picture: keypoints, mask, points, depth")
    return p


def main(args: list[str] | None = None, read_other: Callable[[argparse.Namespace], View] | None = None) -> int:
    """Exit status: 0 done; 2 an error, told in one line; 130 interrupted. read_other: reads a SOURCE that is neither picture
    nor folder, and a running camera where there is no SOURCE."""
    options = parser().parse_args(args)
    if options.action == "show":
        return exit_status(lambda: show(options))
    return exit_status(lambda: make(options, read_other))


def make(options: argparse.Namespace, read_other: Callable[[argparse.Namespace], View] | None = None) -> int:
    """Write the template. Raises ValueError, OSError, RuntimeError with what is wrong."""
    output = options.output or Path("out") / (_stem(options) + SUFFIX)
    check_output(output, (SUFFIX,), () if options.source is None else (options.source,))
    if output.exists() and not options.overwrite:
        raise ValueError(f"{output} is there already; say --overwrite to replace it, or give another --output")
    metadata = _metadata(options.metadata)
    view = read_view(options, read_other)
    mask = view.mask if options.mask is None else _mask(options.mask)
    template = Template.of_frame(options.name or output.stem, view.image, view.depth_m, view.camera, mask, metadata=metadata)
    template = template.with_features(make_extractor(options), options.image_scale)
    save_template(template, output)
    print(summary(template))
    print(f"written: {output} ({output.stat().st_size / 1e6:.1f} MB)")
    return 0


def read_view(options: argparse.Namespace, read_other: Callable[[argparse.Namespace], View] | None) -> View:
    """The frame that the command line names."""
    source = options.source
    if source is None:
        if options.topic is None:
            raise ValueError("name a SOURCE; or with --topic the colour images of a running camera")
        if options.depth is not None:
            raise ValueError("--depth belongs to a picture; of a running camera it is --depth-topic")
        if read_other is None:
            raise ValueError("running cameras are heard by ./run template make")
        return read_other(options)
    if source.suffix.lower() in PICTURES and source.is_file():
        _refuse_topics(options)
        return _picture(options)
    if options.depth is not None:
        raise ValueError(f"--depth belongs to a picture, and {source} is none")
    if read_other is not None and not (source.is_dir() and not (source / "metadata.yaml").exists()):
        return read_other(options)
    if not source.is_dir():
        raise ValueError(f"{source} is neither a picture ({', '.join(PICTURES)}) nor a folder of pictures" +
                         ("" if source.exists() else ": there is no such file") + "; bags are read by ./run template make")
    _refuse_topics(options)
    return _of_folder(options)


def _refuse_topics(options: argparse.Namespace) -> None:
    for name in ("topic", "depth_topic", "camera_info_topic", "mask_topic"):
        if getattr(options, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} is of a bag or a running camera, and {options.source} is neither")


def _stem(options: argparse.Namespace) -> str:
    """What a file is called after: the source, or the topic."""
    if options.source is not None:
        return str(options.source.resolve().stem)
    return str(options.topic or "").strip("/").replace("/", "_") or "template"


def _picture(options: argparse.Namespace) -> View:
    image = read_picture(options.source)
    if options.depth is None:
        return View(image)
    numbers = decode_picture(np.fromfile(options.depth, np.uint8), cv2.IMREAD_UNCHANGED)
    if numbers.ndim != 2 or numbers.dtype == np.uint8:
        raise ValueError(f"{options.depth} holds {numbers.dtype} of shape {numbers.shape}: depth is one channel of 16 bits or float")
    if options.intrinsics is None:
        raise TemplateError("depth needs the camera's intrinsics: give --intrinsics fx,fy,cx,cy (pixels of the colour picture) or a file")
    return View(image, to_metres(numbers, options.depth_scale), _camera(options.intrinsics, (image.shape[1], image.shape[0])))


def _of_folder(options: argparse.Namespace) -> View:
    file = None if options.intrinsics is None or "," in options.intrinsics else Path(options.intrinsics)
    folder = PictureFolder(options.source, metres_per_unit=options.depth_scale, camera_file=file)
    for number, frame in enumerate(folder.frames()):
        if number < options.frame:
            continue
        if frame.image is None:
            raise ValueError(f"frame {number} cannot be used: {frame.problem}")
        size = (frame.image.shape[1], frame.image.shape[0])
        camera = None
        if frame.depth_m is not None:
            camera = _camera(options.intrinsics, size) if options.intrinsics and file is None else folder.camera().camera
        return View(frame.image, frame.depth_m, camera, frame.mask)
    raise ValueError(f"{options.source} has {folder.count} frames, none of number {options.frame} (they count from 0)")


def _camera(text: str, size: tuple[int, int]) -> PinholeCamera:
    """Of four numbers, or of a file; size: (width, height) of the colour picture."""
    try:
        fx, fy, cx, cy = (float(part) for part in text.split(","))
    except ValueError:
        return read_camera_file(Path(text), size).camera
    return PinholeCamera(fx, fy, cx, cy, *size)


def _mask(path: Path) -> np.ndarray:
    picture = read_picture(path)
    return (picture.max(axis=2) if picture.ndim == 3 else picture) > 0


def _metadata(words: list[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if bad := [word for word, (key, sign, _) in zip(words, pairs) if not (key and sign)]:
        raise ValueError(f"--metadata {bad[0]}: must be KEY=VALUE")
    return {key: value for key, _, value in pairs}


def summary(template: Template) -> str:
    """What it holds, in a few lines."""
    height, width = template.image.shape[:2]
    features = "no features: whoever uses it extracts them" if template.features is None else \
        f"{len(template.features)} keypoints ({template.extractor})"
    lines = [f"template {template.name}: {width}x{height} pixels, {features}"]
    if template.surface is None:
        lines.append("no depth: it is recognised and followed in images, not as a surface")
    else:
        z = float(np.median(template.surface.vertices[:, 2]))
        lines.append(f"surface of {len(template.surface.vertices)} vertices, {z:.2f} m away")
    if template.points:
        lines.append(f"points: {', '.join(template.points)}")
    return "\n".join([*lines, *(f"{key}: {value}" for key, value in template.metadata.items())])


def show(options: argparse.Namespace) -> int:
    """Draw a template and tell what it holds."""
    from .template_picture import draw_template

    check_output(options.output, PICTURES, (options.file,))
    template = load_template(options.file)
    write_picture(options.output, draw_template(template))
    print(summary(template))
    print(f"written: {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
