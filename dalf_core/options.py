"""The options of a run, each declared once: the nodes take them as parameters, the commands as command-line options."""
from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace
from typing import Any

from .depth import DEPTH_NOISE_M, FAR_M, NEAR_M

Value = bool | int | float | str | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True)
class Option:
    """One option. low, high: inclusive bounds (of a tuple: of each number; its length is that of the default). choices: allowed strings."""

    name: str
    default: Value
    description: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """What is allowed, in words; empty where everything is."""
        if self.choices:
            return ", ".join(self.choices)
        return "" if self.low is None else f"{self.low:g} to {self.high:g}"

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, or None."""
        if isinstance(self.default, tuple):
            fits = len(value) == len(self.default) and all(self._holds(number) for number in value)
            return None if fits else f"{self.name} must be {len(self.default)} numbers of {self.range}, not {list(value)}"
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {self.range}, not {value!r}"
        if not self._holds(value):
            return f"{self.name} must be {self.range}{' ' + self.unit if self.unit else ''}, not {value!r}"
        return None

    def _holds(self, value: Any) -> bool:
        return self.low is None or self.high is None or (math.isfinite(value) and self.low <= value <= self.high)

    def changed(self, **changes: Any) -> Option:
        """The same option where another default or wording fits."""
        return replace(self, **changes)


def add_options(parser: argparse.ArgumentParser, *options: Option) -> None:
    """Add options to a command line: `image_scale` becomes --image-scale. A value out of range ends the command with one line."""
    for option in options:
        kind = type(option.default)
        assert kind in (int, float, str), f"{option.name}: a switch or a list has no general form on a command line"
        unit = f"; {option.unit}" if option.unit else ""
        parser.add_argument(f"--{option.name.replace('_', '-')}", type=_reader(option, kind), default=option.default,
                            metavar=_metavar(option), help=f"{option.description}{unit}".replace("%", "%%"))


EVERY_FRAME, AUTO = 1, 0       # of --features-every


def add_features_every(parser: argparse.ArgumentParser) -> None:
    """--features-every N|auto: at which frames of a sequence DALF looks; N, or AUTO."""
    parser.add_argument("--features-every", metavar="N|auto", type=_features_every, default=EVERY_FRAME, help="DALF looks at one of so "
                        "many frames, and matches are carried to all; auto: as seldom as the live nodes do, many times as fast")


def _features_every(text: str) -> int:
    if text == "auto":
        return AUTO
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number of frames from 1, or auto, not {text!r}")
    return int(text)


def _metavar(option: Option) -> str:
    return f"{{{','.join(option.choices)}}}" if option.choices else option.name.rpartition("_")[2].upper()


def _reader(option: Option, kind: type) -> Any:
    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no {'whole ' if kind is int else ''}number") from None
        problem = option.problem(value)
        if problem:
            raise argparse.ArgumentTypeError(problem)
        return value

    return read


WEIGHTS = Option("weights", "", "checkpoint: a path, official, light (several times as fast), or empty for the default")
DEVICE = Option("device", "auto", "auto, cpu, cuda or cuda:N; a GPU that is asked for and absent is an error")
PRECISION = Option("precision", "auto", "number format of the network; auto: float16 on a GPU, bfloat16 on a CPU that computes in it, else "
                   "float32", choices=("auto", "float32", "bfloat16", "float16"))
TOP_K = Option("top_k", 2048, "at most so many keypoints, the strongest", "", 16, 16384)
IMAGE_SCALE = Option("image_scale", 1.0, "resize images by this factor before extraction; 2 helps small objects", "", 0.1, 8.0)
MAX_KEYFRAMES = Option("max_keyframes", 8, "views kept besides the reference and matched where it does not serve; 0: none", "", 0, 64)
IF_NEEDED, NEVER = "auto", "never"       # of second_look
SECOND_LOOK = Option("second_look", IF_NEEDED, "auto: an image that shows the surface much turned, sheared or bent, and is little matched, "
                     "is unwarped to the reference and searched once more; never: not, which saves that time", choices=(IF_NEEDED, NEVER))
TEMPLATE = Option("template", "", "a saved reference (.dalf) to follow in place of the first image, whatever shape it is in; empty: none")
OBJECTS = Option("objects", "", "templates (.dalf) that are followed at once, separated by blanks, or a folder of them; each has its "
                 "topics below objects/NAME; empty: one surface")
LIBRARY = Option("library", "", "folder of templates (.dalf): the one that an image shows is recognised, then followed; empty: none")
NO_RULE, NEAREST, LARGEST_ABOVE_PLANE = "none", "nearest", "largest_above_plane"     # of auto_select
AUTO_SELECT = Option("auto_select", NO_RULE, "the object that becomes the reference without a mask or a click, in the first image with "
                     "depth that shows one: the nearest, or the largest on the plane that things stand on; none: the whole image",
                     choices=(NO_RULE, NEAREST, LARGEST_ABOVE_PLANE))
MAX_VERTICES = Option("max_vertices", 6000, "bound on the reference surface's size", "", 100, 100000)
NODE_SPACING = Option("node_spacing", 0.0, "distance between nodes of the deformation graph; 0: chosen from the surface", "m", 0.0, 1.0)
GROW_TO = Option("grow_to", 0, "surface that comes into view beside the reference is added up to so many vertices; 0: never", "", 0, 100000)
PIECES = Option("pieces", "all", "all pieces of the reference surface, or the largest connected one", choices=("all", "largest"))
STAMP_TOLERANCE = Option("stamp_tolerance", 0.02, "stamps further apart than this do not belong together; equal ones are preferred", "s",
                         0.0, 1.0)
DEPTH_SCALE = Option("depth_scale", 0.0, "metres that one unit of the depth image's numbers is; 0: 0.001 for 16-bit numbers, 1 for "
                     "floating point (REP 118)", "m", 0.0, 1.0)
MIN_DEPTH = Option("min_depth", NEAR_M, "nearer depth readings are not used", "m", 0.001, 100.0)
MAX_DEPTH = Option("max_depth", FAR_M, "farther depth readings are not used", "m", 0.001, 1000.0)
DEPTH_NOISE = Option("depth_noise", DEPTH_NOISE_M, "how far off a point lifted through the depth image may be, at least; for an endoscope "
                     "at 4 cm some 0.0002", "m", 1e-6, 1.0)
