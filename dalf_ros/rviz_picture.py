"""A picture of what RViz would show of a recording of results, drawn from the recorded messages without RViz and without a screen.

    ./run register BAG --output DIR
    ./run exec python -m dalf_ros.rviz_picture DIR/results --time 3 --output view.png

It follows a .rviz file: background, fixed frame, viewpoint, the displays PointCloud2, Marker (triangles, lines), Axes and Image.
"""
from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from dalf_core.commands.files import PICTURES, check_output, write_picture
from dalf_core.drawing.render import RenderingUnavailable, check_rendering

from .bags.bag_source import BagError, BagSource
from .conversions.message_factory import package_file
from .conversions.messages import NANOSECONDS
from .conversions.visual_messages import FLOAT32, LINE_LIST, TRIANGLE_LIST
from .images.image_conversion import ImageError, to_color
from .offline.rviz_layout import FIELD_OF_VIEW, Layout, load_layout, topic_of

SIZE = (800, 600)           # pixels of the scene
COMPRESSED = "/compressed"  # an image may be recorded so only
LINE_SIDES = 6              # of the tubes that lines are drawn as


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="rviz_picture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recording", type=Path, help="of the results: `results` of register, or what record wrote")
    p.add_argument("--output", type=Path, default=Path("out/rviz.png"), help="the picture: .png or .jpg (default out/rviz.png)")
    p.add_argument("--time", type=float, metavar="S", help="seconds after the recording's first message; its end when not given")
    p.add_argument("--layout", type=Path, help="the .rviz file; dalf.rviz when not given")
    p.add_argument("--yaw", type=float, metavar="DEG", help="viewpoint: about the z axis; the layout's when not given")
    p.add_argument("--pitch", type=float, metavar="DEG", help="viewpoint: above the xy plane; the layout's when not given")
    p.add_argument("--distance", type=float, metavar="M", help="viewpoint: from the focal point; the layout's when not given")
    p.add_argument("--fit", action="store_true", help="viewpoint: aimed at the surface, which fills the view")
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 drawn; 2 an error, told in one line; 130 interrupted."""
    options = parser().parse_args(args)
    try:
        return run(options)
    except KeyboardInterrupt:
        return 130
    except (BagError, ImageError, RenderingUnavailable, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    """Do what the command line says. Raises BagError, RenderingUnavailable, ValueError, OSError with what is wrong."""
    check_output(options.output, PICTURES)
    layout = load_layout(options.layout or package_file("config", "dalf.rviz"))
    given = {"yaw": options.yaw and math.radians(options.yaw), "pitch": options.pitch and math.radians(options.pitch),
             "distance": options.distance}
    changes = {name: value for name, value in given.items() if value is not None}
    layout = dataclasses.replace(layout, view=dataclasses.replace(layout.view, **changes))
    shown = newest_messages(options.recording, [topic_of(display) for display in layout.displays], options.time)
    for display in layout.displays:
        if topic_of(display) and topic_of(display) not in shown:
            print(f"nothing to show as {display['Name']}: no message on {topic_of(display)} until then")
    if options.fit:
        layout = dataclasses.replace(layout, view=layout.view.fitted(_surface_points(layout, shown), SIZE[0] / SIZE[1]))
    scene = draw_scene(layout, shown, SIZE)
    images = [to_color(shown[topic_of(display)]) for display in layout.displays if _shows(display, "Image") and topic_of(display) in shown]
    write_picture(options.output, np.hstack([*(_as_high(image, SIZE[1]) for image in images), scene]))
    return 0


def newest_messages(recording: Path, topics: list[str], time_s: float | None) -> dict[str, Any]:
    """By topic: the last message recorded until time_s seconds after the first, which is what RViz would show then.

    An image that was recorded as `topic`/compressed counts as the topic's. Raises BagError where there is nothing at all.
    """
    newest = {}
    with BagSource(recording) as source:
        names = {name: topic for topic in filter(None, topics) for name in (topic + COMPRESSED, topic) if name in source.topics}
        first_ns = None
        for raw in source.messages(list(names)):
            first_ns = raw.time_ns if first_ns is None else first_ns
            if time_s is not None and raw.time_ns - first_ns > time_s * NANOSECONDS:
                break
            newest[names[raw.topic]] = raw
        if not newest:
            raise BagError(f"{recording} has no message until then on any of {', '.join(filter(None, topics))}")
        return {topic: source.deserialize(raw) for topic, raw in newest.items()}


def draw_scene(layout: Layout, messages: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """The 3D view as HxWx3 uint8 BGR of size (width, height). messages: by topic.

    Raises ValueError where RViz would show an error: another frame than the fixed one (there is no TF), arrays that do not fit.
    """
    check_rendering()
    import pyvista

    plotter = pyvista.Plotter(off_screen=True, window_size=size, lighting="none")
    try:
        plotter.enable_anti_aliasing("msaa", multi_samples=8)
        plotter.add_light(pyvista.Light(light_type="headlight"))
        plotter.set_background([value / 255 for value in layout.background])
        for display in layout.displays:
            if _shows(display, "Axes"):
                _add_axes(plotter, float(display["Length"]), float(display["Radius"]))
            elif topic_of(display) in messages and not _shows(display, "Image"):
                message = messages[topic_of(display)]
                if message.header.frame_id != layout.fixed_frame:
                    raise ValueError(f"{topic_of(display)} is in frame {message.header.frame_id!r}, the fixed frame is "
                                     f"{layout.fixed_frame!r}: without TF RViz would not show it")
                _add_display(plotter, display, message)
        eye = plotter.camera
        eye.position, eye.focal_point, eye.up = tuple(layout.view.eye), layout.view.focal_point, (0, 0, 1)
        eye.view_angle = FIELD_OF_VIEW
        plotter.renderer.ResetCameraClippingRange()
        return np.ascontiguousarray(plotter.screenshot(return_img=True)[:, :, ::-1])
    finally:
        plotter.close()


def _surface_points(layout: Layout, shown: dict[str, Any]) -> np.ndarray:
    """(N, 3) of the triangles that are shown. Raises ValueError where there are none."""
    markers = [shown[topic_of(display)] for display in layout.displays if _shows(display, "Marker") and topic_of(display) in shown]
    points = [_placed(_points(marker), marker.pose) for marker in markers if marker.type == TRIANGLE_LIST]
    if not points:
        raise ValueError("--fit: no surface is shown until then")
    return np.concatenate(points)


def _shows(display: dict[str, Any], kind: str) -> bool:
    return display["Class"] == f"rviz_default_plugins/{kind}"


def _add_display(plotter: Any, display: dict[str, Any], message: Any) -> None:
    if _shows(display, "PointCloud2"):
        _add_cloud(plotter, message, float(display["Size (Pixels)"]))
    elif not _shows(display, "Marker"):
        raise ValueError(f"{display['Class']} cannot be drawn")
    elif message.type == TRIANGLE_LIST:
        _add_triangles(plotter, message)
    elif message.type == LINE_LIST:
        _add_lines(plotter, message)
    else:
        raise ValueError(f"a Marker of type {message.type} cannot be drawn")


def _add_axes(plotter: Any, length: float, radius: float) -> None:
    """The fixed frame: x red, y green, z blue."""
    import pyvista

    for axis in np.eye(3):
        bar = pyvista.Cylinder(center=axis * length / 2, direction=axis, radius=radius, height=length)
        plotter.add_mesh(bar, color=axis, lighting=False)


def _add_cloud(plotter: Any, message: Any, pixels: float) -> None:
    """Squares of so many pixels, coloured by the field `rgb`."""
    import pyvista

    fields = {field.name: field for field in message.fields if field.datatype == FLOAT32}
    if not {"x", "y", "z", "rgb"} <= set(fields):
        raise ValueError(f"the cloud has the float fields {', '.join(fields)}; x, y, z, rgb are shown")
    order = ">" if message.is_bigendian else "<"
    layout = {"names": list(fields), "formats": [f"{order}f4"] * len(fields), "offsets": [field.offset for field in fields.values()],
              "itemsize": message.point_step}
    table = np.frombuffer(message.data, np.dtype(layout), count=message.width * message.height)
    if not len(table):
        return
    packed = np.ascontiguousarray(table["rgb"]).view(f"{order}u4")
    cloud = pyvista.PolyData(np.stack([table[axis] for axis in "xyz"], axis=1).astype(np.float32))
    cloud.point_data["color"] = np.stack([packed >> shift & 255 for shift in (16, 8, 0)], axis=1).astype(np.uint8)
    plotter.add_mesh(cloud, scalars="color", rgb=True, style="points", point_size=pixels, lighting=False)


def _add_triangles(plotter: Any, message: Any) -> None:
    """Both sides are shown. With colours of their own the corners are not lit."""
    import pyvista

    scale = np.array([message.scale.x, message.scale.y, message.scale.z])
    points = _placed(_points(message) * scale, message.pose)
    if not len(points) or len(points) % 3:
        raise ValueError(f"a triangle list of {len(points)} points")
    mesh = pyvista.PolyData.from_regular_faces(points, np.arange(len(points)).reshape(-1, 3))
    mesh.point_data["color"] = _point_colors(message)
    plotter.add_mesh(mesh, scalars="color", rgb=True, lighting=not message.colors)


def _add_lines(plotter: Any, message: Any) -> None:
    """Lines of scale.x metres."""
    import pyvista

    points, colors = _placed(_points(message), message.pose), _point_colors(message)
    if len(points) % 2:
        raise ValueError(f"a line list of {len(points)} points")
    starts = np.arange(0, len(points), 2)
    starts = starts[np.linalg.norm(points[starts + 1] - points[starts], axis=1) > 0]
    if not len(starts):
        return
    lines = pyvista.PolyData(points, lines=np.column_stack([np.full_like(starts, 2), starts, starts + 1]).reshape(-1))
    lines.point_data["color"] = colors
    plotter.add_mesh(lines.tube(radius=message.scale.x / 2, n_sides=LINE_SIDES), scalars="color", rgb=True, lighting=False)


def _points(message: Any) -> np.ndarray:
    """(N, 3) of a Marker."""
    return np.array([(point.x, point.y, point.z) for point in message.points], float).reshape(-1, 3)


def _point_colors(message: Any) -> np.ndarray:
    """(N, 3) uint8 RGB of a Marker's points: their own, else the Marker's. Raises ValueError where their number is another."""
    if len(message.colors) not in (0, len(message.points)):
        raise ValueError(f"a Marker of {len(message.points)} points has {len(message.colors)} colours")
    tints = list(message.colors) or [message.color] * len(message.points)
    return np.rint(255 * np.array([(tint.r, tint.g, tint.b) for tint in tints], float).reshape(-1, 3)).astype(np.uint8)


def _placed(points: np.ndarray, pose: Any) -> np.ndarray:
    """Points (N, 3) of a Marker in its header's frame."""
    turn = pose.orientation
    moved = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).apply(points) if len(points) else points
    return moved + [pose.position.x, pose.position.y, pose.position.z]


def _as_high(image: np.ndarray, height: int) -> np.ndarray:
    """BGR, resized to a height."""
    image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
    return cv2.resize(image, (round(image.shape[1] * height / image.shape[0]), height), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    sys.exit(main())
