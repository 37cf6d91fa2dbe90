"""The nodes' parameters: one table each. It declares them, checks them and fills the tables in docs/; YAML only overrides."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from dalf_core import options
from dalf_core.options import Option

from ..conversions import topics


@dataclass(frozen=True)
class Parameter(Option):
    """An option of a node. read_only: fixed once the node runs."""

    read_only: bool = True

    @classmethod
    def of(cls, option: Option, read_only: bool = True) -> Parameter:
        """An option that nodes and commands share, as a parameter."""
        return cls(**{field.name: getattr(option, field.name) for field in fields(option)}, read_only=read_only)

    @property
    def type(self) -> str:
        """As ROS names it."""
        names = {bool: "bool", int: "int", float: "double", str: "string"}
        return f"{names[type(self.default[0])]}[]" if isinstance(self.default, tuple) else names[type(self.default)]


_AUTOSTART = Parameter("autostart", True, "configure and activate without being asked; false: wait for the lifecycle services")
_SHARED = (
    Parameter("image_transport", "raw", "raw: Image on `image`; else CompressedImage on `image`/compressed or `image`/zstd, as "
              "image_transport names them", choices=topics.IMAGE_TRANSPORTS),
    Parameter.of(options.AUTO_SELECT.changed(description=options.AUTO_SELECT.description + ". Give it to both nodes: registration_node "
                                             "selects, feature_node waits for that")),
    Parameter("use_mask", False, "wait for a mask of each image's stamp and keep to its nonzero pixels"),
    Parameter.of(options.STAMP_TOLERANCE),
    Parameter("buffer_seconds", 5.0, "how long messages wait for those of their stamp, by their stamps; must exceed the time that matching "
              "takes", "s", 0.1, 60.0),
    Parameter("buffer_megabytes", 256, "most memory of what waits, of each topic; of those that are optional half of it", "MB", 1, 100000),
    Parameter("silence_warning", 5.0, "warn after so long without data, naming topics, publishers and QoS mismatches", "s", 1.0, 3600.0),
)

FEATURE_PARAMETERS = (
    Parameter.of(options.WEIGHTS),
    Parameter.of(options.TOP_K, read_only=False),
    Parameter.of(options.IMAGE_SCALE),
    Parameter("threshold", 0.0, "keypoints of a score below this are left out; scores are over the strongest in the image", "", 0.0, 1.0,
              read_only=False),
    Parameter("match_to", "reference", "reference: matches to the reference image on `matches`; previous: to the image before, on "
              "`matches/previous`; both", choices=("reference", "previous", "both"), read_only=False),
    Parameter("carry", True, "DALF looks in the background, and every image gets matches, carried to it; false: only images that DALF has "
              "seen get matches, those that come meanwhile are dropped"),
    Parameter("region", (0, 0, 0, 0), "part of the image to look at: x and y of its first pixel, width, height; all of it where they are 0",
              "px", 0, 100000, read_only=False),
    Parameter.of(options.MAX_KEYFRAMES),
    Parameter.of(options.SECOND_LOOK),
    Parameter.of(options.TEMPLATE),
    Parameter.of(options.LIBRARY),
    Parameter.of(options.OBJECTS),
    Parameter("descriptor_type", "float32", "element type of the published descriptors; none leaves them out",
              choices=("float32", "float16", "none"), read_only=False),
    _AUTOSTART,
    Parameter.of(options.DEVICE),
    Parameter.of(options.PRECISION),
    *_SHARED,
)

REGISTRATION_PARAMETERS = (
    Parameter.of(options.MAX_VERTICES),
    Parameter.of(options.NODE_SPACING),
    Parameter.of(options.GROW_TO),
    Parameter.of(options.PIECES),
    Parameter("image_geometry", "auto", "raw: the lens distortion of camera_info is undone; rectified: there is none, and P of camera_info "
              "holds; auto: rectified where the topic of depth or image is named so", choices=("auto", "raw", "rectified")),
    Parameter("check_frames", True, "depth whose frame or camera_info is not that of the matched images is aligned with them, or refused; "
              "false: it is aligned, whatever it is named"),
    Parameter("depth_to_color", (0.0,) * 7, "x, y, z, qx, qy, qz, qw: pose of the depth camera's optical frame in the colour camera's, for "
              "depth that is not aligned; zeros: from /tf_static", "m", -100.0, 100.0),
    Parameter("base_frame", "", "frame of TF in which positions are published, where the camera was at the image's stamp; empty: the "
              "camera's optical frame"),
    Parameter.of(options.DEPTH_SCALE),
    Parameter.of(options.MIN_DEPTH),
    Parameter.of(options.MAX_DEPTH),
    Parameter.of(options.DEPTH_NOISE),
    Parameter("depth_transport", "raw", "raw: Image on `depth`; compressedDepth, compressed, zstd: CompressedImage on "
              "`depth`/compressedDepth and so on; points: organised PointCloud2 on `depth`", choices=topics.DEPTH_TRANSPORTS),
    Parameter("save_folder", "", "`~/save_surface` writes nothing outside this folder; empty: the working directory"),
    Parameter("marker_triangles", 1000, "most triangles of the RViz marker", "", 10, 20000, read_only=False),
    Parameter("marker_rate", 5.0, "most markers a second", "Hz", 0.1, 10.0, read_only=False),
    Parameter("covariance_rate", 1.0, "most covariances a second: each delays the next surface", "Hz", 0.01, 100.0, read_only=False),
    Parameter("track_points", "", "points to follow by name on each reference surface: NAME,X,Y, separated by blanks; X and Y in px of "
              "the colour image that the surface is made of"),
    Parameter("publish_tf", True, "named points are TF frames below the optical frame, where tf2_msgs is installed", read_only=False),
    _AUTOSTART,
    Parameter("device", "auto", "cpu, or cuda or cuda:N through NVIDIA Warp; auto: cpu; a GPU that is asked for and absent is an error"),
    *_SHARED,
)

TABLES = {"feature_node": FEATURE_PARAMETERS, "registration_node": REGISTRATION_PARAMETERS}


class ParameterError(ValueError):
    """A parameter that was given a value it cannot have."""


def declare(node: Any, table: tuple[Parameter, ...], more: Callable[[dict[str, Any]], str | None] = lambda _: None) -> dict[str, Any]:
    """Declare the table's parameters on a node; returns their values, kept up to date. Raises ParameterError.

    more: what else may be wrong with a change, {name: value}, at run time; a sentence, or None.
    """
    from rcl_interfaces.msg import SetParametersResult
    from rclpy.exceptions import ParameterException

    values: dict[str, Any] = {}
    by_name = {parameter.name: parameter for parameter in table}
    for parameter in table:
        try:
            default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            value = node.declare_parameter(parameter.name, default, _descriptor(parameter)).value
        except (ParameterException, ValueError, TypeError) as error:
            raise ParameterError(f"parameter {parameter.name} ({parameter.type}): {error}") from error
        problem = parameter.problem(value)
        if problem:
            raise ParameterError(problem)
        values[parameter.name] = value

    def changed(parameters: list) -> Any:
        problems = [by_name[p.name].problem(p.value) for p in parameters if p.name in by_name]
        changes = {p.name: p.value for p in parameters if p.name in by_name}
        problem = next((text for text in problems if text), None) or more(changes)
        if problem is None:
            values.update(changes)
        return SetParametersResult(successful=problem is None, reason=problem or "")

    node.add_on_set_parameters_callback(changed)
    return values


def _descriptor(parameter: Parameter) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    descriptor = ParameterDescriptor(name=parameter.name, read_only=parameter.read_only)
    descriptor.description = parameter.description + (f" [{parameter.unit}]" if parameter.unit else "")
    descriptor.additional_constraints = parameter.range if parameter.choices else ""
    if parameter.low is not None and isinstance(parameter.default, int):
        descriptor.integer_range = [IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high), step=1)]
    elif parameter.low is not None and isinstance(parameter.default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=parameter.low, to_value=parameter.high)]
    return descriptor


def _written(parameter: Parameter) -> str:
    """Its default as YAML has it."""
    default = parameter.default
    if isinstance(default, str):
        return f'"{default}"'
    return str(list(default)) if isinstance(default, tuple) else str(default).lower()


def documentation_table(table: tuple[Parameter, ...]) -> str:
    """The Markdown table of a node's docs page."""
    lines = ["| parameter | type | default | range | unit | at run time | meaning |", "|---|---|---|---|---|---|---|"]
    for p in table:
        default = _written(p)
        when = "fixed" if p.read_only else "may change"
        lines.append(f"| `{p.name}` | {p.type} | {default} | {p.range} | {p.unit} | {when} | {p.description} |")
    return "\n".join(lines)
