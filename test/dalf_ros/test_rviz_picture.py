"""The picture of what RViz would show: what is recorded lies where config/dalf.rviz looks at it, in its colours."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_core.drawing.palette import BAD, rgb
from dalf_ros import rviz_picture
from dalf_ros.bags.bag_writer import BagWriter
from dalf_ros.conversions import topics, visual_messages
from dalf_ros.conversions.message_factory import bag_message, package_file
from dalf_ros.conversions.messages import NANOSECONDS, header
from dalf_ros.images.image_conversion import from_color_compressed
from dalf_ros.offline.rviz_layout import FIELD_OF_VIEW, Layout, load_layout

pytest.importorskip("pyvista")
FRAME, SIZE = "camera_color_optical_frame", (400, 300)
START_NS = 1_700_000_000 * NANOSECONDS
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
SQUARE = np.array([[-0.2, -0.1, 0.7], [0, -0.1, 0.7], [0, 0.1, 0.7], [-0.2, 0.1, 0.7]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])


@pytest.fixture(scope="module", autouse=True)
def _drawing() -> None:
    from dalf_core.drawing.render import RenderingUnavailable, check_rendering

    try:
        check_rendering()
    except RenderingUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def layout() -> Layout:
    return load_layout(package_file("config", "dalf.rviz"))


def pixels(layout: Layout, points: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(N, 2) where the layout's view has points (N, 3): computed here from the meaning of Orbit, up = z."""
    view = layout.view
    look = np.array(view.focal_point) - view.eye
    look = look / np.linalg.norm(look)
    right = np.cross(look, [0, 0, 1])
    right = right / np.linalg.norm(right)
    x, y, z = np.stack([right, np.cross(look, right), look]) @ (np.atleast_2d(points) - view.eye).T
    focal = size[1] / 2 / np.tan(np.radians(FIELD_OF_VIEW / 2))
    return np.stack([size[0] / 2 - 0.5 + focal * x / z, size[1] / 2 - 0.5 + focal * y / z], axis=1)


def mesh(points: np.ndarray, rgb: tuple[int, int, int], frame: str = FRAME, time_ns: int = START_NS) -> dict:
    return visual_messages.mesh_marker(points, FACES, np.tile(np.uint8(rgb), (len(points), 1)), header(time_ns, frame))


def scene(layout: Layout, **fields: dict) -> np.ndarray:
    """RGB. fields: by the topic's name without slashes."""
    names = {"marker": topics.MARKER, "points": topics.POINTS, "landmarks": topics.LANDMARKS}
    messages = {f"/{names[name]}": bag_message(topics.TYPES[names[name]], value) for name, value in fields.items()}
    return rviz_picture.draw_scene(layout, messages, SIZE)[:, :, ::-1]


def box(found: np.ndarray) -> np.ndarray:
    """x and y of the first and last pixel that is true."""
    ys, xs = np.nonzero(found)
    return np.array([xs.min(), ys.min(), xs.max(), ys.max()])


def test_mesh_lies_where_it_projects_from_both_sides(layout: Layout) -> None:
    pictures = [scene(layout, marker=mesh(points, (255, 128, 0))) for points in (SQUARE, SQUARE[[0, 3, 2, 1]])]
    corners = pixels(layout, SQUARE)
    expected = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    for picture in pictures:
        np.testing.assert_allclose(box((picture == (255, 128, 0)).all(axis=2)), expected, atol=1.5)
        assert tuple(picture[2, 2]) == layout.background
    assert corners[0, 0] < corners[1, 0] < SIZE[0] / 2 and corners[0, 1] < corners[3, 1]      # x to the right, y down


def test_points_and_landmarks_have_their_colours_and_places(layout: Layout) -> None:
    cloud = visual_messages.point_cloud(np.array([[0.1, 0, 0.7], [-0.1, 0.05, 0.8]]), np.uint8([RED, BLUE]), header(START_NS, FRAME))
    start, end = np.array([[0.1, -0.1, 0.7], [-0.1, -0.1, 0.7]]), np.array([[0.2, -0.1, 0.7], [-0.1, -0.1, 0.7]])
    lines = visual_messages.landmark_marker(start, end, np.array([0.02, 0.0]), header(START_NS, FRAME)) | {"scale": {"x": 0.01}}
    picture = scene(layout, points=cloud, landmarks=lines)
    for point, color in (([0.1, 0, 0.7], RED), ([-0.1, 0.05, 0.8], BLUE), ([0.15, -0.1, 0.7], rgb(BAD))):
        x, y = np.rint(pixels(layout, np.array(point))[0]).astype(int)
        np.testing.assert_allclose(picture[y, x], color, atol=2)
    x, y = np.rint(pixels(layout, start)[1]).astype(int)
    assert tuple(picture[y, x]) == layout.background            # a line without length is not seen


def test_camera_axes_are_in_view(layout: Layout) -> None:
    picture = scene(layout)
    for axis, color in enumerate((RED, GREEN, BLUE)):
        x, y = np.rint(pixels(layout, 0.015 * np.eye(3)[axis])[0]).astype(int)
        assert picture[y, x].argmax() == axis and picture[y, x].max() > 200, color      # thin, so its edges blend with what is behind


def test_fitted_the_surface_fills_the_view(layout: Layout) -> None:
    """From the same direction; up to nine tenths of half the height or width, and about in the middle."""
    for points in (SQUARE, SQUARE * (0.4, 0.4, 1) + (0.3, -0.4, 1.0), SQUARE * (2.5, 0.5, 1)):
        view = layout.view.fitted(points, SIZE[0] / SIZE[1])
        near = dataclasses.replace(layout, view=view)
        seen = box((scene(near, marker=mesh(points, (255, 128, 0))) == (255, 128, 0)).all(axis=2)) + (-0.5, -0.5, 0.5, 0.5)
        reach = np.abs(2 * seen.reshape(2, 2) / SIZE - 1)          # of the sides from the middle, in halves of the view
        assert reach.max() == pytest.approx(0.9, abs=0.02) and np.abs(reach[0] - reach[1]).max() < 0.1
        assert (view.yaw, view.pitch) == (layout.view.yaw, layout.view.pitch)
    with pytest.raises(ValueError, match="no points"):
        layout.view.fitted(np.empty((0, 3)), 1.0)


def test_another_frame_would_not_be_shown(layout: Layout) -> None:
    with pytest.raises(ValueError, match="'map'.*without TF"):
        scene(layout, marker=mesh(SQUARE, RED, frame="map"))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A red mesh, two seconds later a blue one, and the picture of the matches."""
    with BagWriter(tmp_path / "results") as bag:
        for second, color in ((0, RED), (2, BLUE)):
            time_ns = START_NS + second * NANOSECONDS
            image = from_color_compressed(np.full((30, 40, 3), 60 + 50 * second, np.uint8), header(time_ns, FRAME), "png")
            bag.write_results([(topics.MARKER, mesh(SQUARE, color, time_ns=time_ns)), (topics.DEBUG_COMPRESSED, image)], time_ns)
    return tmp_path / "results"


@pytest.mark.parametrize(("time", "color", "gray"), [((), BLUE, 160), (("--time", 1.5), RED, 60)])
def test_the_newest_messages_until_then_are_shown(layout: Layout, recording: Path, command: Callable, time: tuple, color: tuple, gray: int,
                                                  tmp_path: Path) -> None:
    code, out, _ = command(rviz_picture.main, recording, "--output", tmp_path / "view.png", *time)
    picture = cv2.imread(str(tmp_path / "view.png"))[:, :, ::-1]
    width, height = rviz_picture.SIZE
    assert code == 0 and picture.shape == (height, 2 * width, 3) and "Surface points" in out and "Matches" not in out
    assert (picture[:, :width] == gray).all()
    x, y = np.rint(pixels(layout, SQUARE.mean(axis=0), rviz_picture.SIZE)[0]).astype(int)
    assert tuple(picture[y, width + x]) == color


def test_errors_are_one_line(recording: Path, command: Callable, tmp_path: Path) -> None:
    (tmp_path / "other.rviz").write_text("Panels: []\n")
    for words, said in ((("--output", tmp_path / "view.txt"), "must end in"),
                        (("--output", tmp_path / "view.png", "--time", -1), "no message until then"),
                        (("--output", tmp_path / "view.png", "--layout", tmp_path / "other.rviz"), "not a configuration of RViz")):
        code, _, err = command(rviz_picture.main, recording, *words)
        assert code == 2 and said in err and err.count("\n") == 1
    assert not (tmp_path / "view.png").exists()
