"""What the commands share: options of the extractor, help with defaults, exit statuses, outputs that appear whole."""
from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from ..extractor import DALF

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


class HelpWithDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Tells defaults, but not of options that have none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def add_extractor_options(parser: argparse.ArgumentParser, precision: str) -> None:
    """--weights, --device, --precision, --top-k, --descriptor. precision: the default."""
    parser.add_argument("--weights", help="checkpoint: a path, or 'official'; the default one when not given")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16", "float16"), default=precision,
                        help="auto: bfloat16 where OpenVINO runs the network on the CPU, float32 elsewhere")
    parser.add_argument("--top-k", type=int, default=2048, help="at most so many keypoints an image")
    parser.add_argument("--descriptor", choices=("fused", "polar", "backbone"), default="fused", help="polar stands larger rotations")


def make_extractor(options: argparse.Namespace) -> DALF:
    """The extractor that these options ask for. Raises what DALF raises."""
    from ..extractor import DALF, choose_device

    precision = options.precision
    if precision == "auto":
        on_openvino = choose_device(options.device).type == "cpu" and importlib.util.find_spec("openvino") is not None
        precision = "bfloat16" if on_openvino else "float32"
    return DALF(options.weights, options.device, top_k=options.top_k, descriptor=options.descriptor, precision=precision)


def exit_status(work: Callable[[], int]) -> int:
    """What `work` returns; 2 after an error, told in one line; 130 after Ctrl-C."""
    try:
        return work()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (RuntimeError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def check_output(path: Path, suffixes: Sequence[str], inputs: Sequence[Path] = ()) -> None:
    """Refuse a file that cannot be made, before anything slow happens; its folder is made when it is not there.

    Raises ValueError: a suffix that stands for no known format, or one of the inputs. OSError: a place where nothing can be written.
    """
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: the name must end in {' or '.join(suffixes)}")
    if any(path.resolve() == item.resolve() for item in inputs):
        raise ValueError(f"{path} is the input; choose another name for the output")
    probe = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_picture(path: Path, bgr: np.ndarray) -> None:
    """Write a picture in the format that its name says."""
    ok, data = cv2.imencode(path.suffix, bgr)
    if not ok:
        raise OSError(f"{path}: OpenCV cannot write {path.suffix} pictures")
    write_whole(path, data.tobytes())


def read_picture(path: Path) -> np.ndarray:
    """HxWx3 uint8 BGR, turned upright as its EXIF says. Raises OSError saying what is wrong with the file."""
    if not path.is_file():
        raise OSError(f"{path}: " + ("this is no file" if path.exists() else "no such file"))
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    if picture is None:
        raise OSError(f"{path} is no picture that OpenCV can read, or it was cut off")
    return picture
