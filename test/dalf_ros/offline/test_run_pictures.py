"""The film of a run: enlarged around the reference, steady while the object moves, with its words beside the pictures."""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_core.drawing.in_turn import MOST_WAITING
from dalf_core.drawing.panels import band_height, capital_height
from dalf_core.drawing.render import RenderingUnavailable, check_rendering
from dalf_core.drawing.zoom import Zoom
from dalf_ros.offline.run_pictures import PANEL_WIDTH, RunPictures, Shot

CAMERA = PinholeCamera(300.0, 300.0, 159.5, 119.5, 320, 240)
MARK = (120, 100)           # pixel of the table, beside the object


@pytest.fixture(autouse=True)
def _drawing() -> None:
    pytest.importorskip("pyvista")
    try:
        check_rendering()
    except RenderingUnavailable as error:
        pytest.skip(str(error))


def sheet() -> tuple[np.ndarray, np.ndarray]:
    """A square of 10 cm before the camera: 60 x 60 pixels around the middle."""
    y, x = np.mgrid[:13, :13]
    index = np.arange(169).reshape(13, 13)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    vertices = np.stack([x.ravel() / 120 - 0.05, y.ravel() / 120 - 0.05, np.full(169, 0.5)], axis=1).astype(np.float32)
    return vertices, np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]).astype(np.int32)


def shot(number: int, moved_m: float, rest: np.ndarray, triangles: np.ndarray, reference: np.ndarray) -> Shot:
    """reference: what counts as the rest shape by now."""
    image = np.full((240, 320, 3), 40, np.uint8)
    cv2.circle(image, MARK, 2, (255, 255, 255), -1)
    now = SimpleNamespace(vertices=rest + np.float32([moved_m, 0, 0]), visible=np.ones(len(rest), bool))
    return Shot(number, number * 100_000_000, image, None, SimpleNamespace(registration=now), triangles, None, reference, CAMERA, image,
                f"frame {number}")


def test_the_zoom_is_chosen_once_and_shows_the_object_large(tmp_path: Path) -> None:
    rest, triangles = sheet()
    with RunPictures(tmp_path / "sheet.png", tmp_path / "film.mp4", 3) as pictures:
        for number, moved_m in enumerate((0.0, 0.005, 0.015)):
            pictures.add(shot(number, moved_m, rest, triangles, rest * np.float32([1, 1, 1] if number < 2 else [1.2, 1.2, 1])))
    height = PANEL_WIDTH * 240 // 320
    top = 2 * band_height(capital_height(height))
    film = cv2.VideoCapture(str(tmp_path / "film.mp4"))
    frames = [film.read()[1][top:top + height].astype(int) for _ in range(3)]
    expected = Zoom.around(CAMERA.project(rest), (320, 240), PANEL_WIDTH).positions(np.array([MARK]))[0]
    places = []
    for frame in frames:
        ys, xs = np.nonzero(frame[:, :PANEL_WIDTH].min(axis=2) > 150)
        np.testing.assert_allclose([xs.mean(), ys.mean()], expected, atol=2)
        blue, green, red = np.moveaxis(frame[:, PANEL_WIDTH:2 * PANEL_WIDTH], 2, 0)
        ys, xs = np.nonzero((blue < 120) & (green > 170) & (red > 170))     # lines of the grid, not the mark
        places.append([xs.min(), xs.max(), ys.min(), ys.max()])
    wide = np.array(places)
    scale = PANEL_WIDTH / (1.5 * 60 * 320 / 240)                        # the object fills two thirds of the height
    assert (wide[:, 1] - wide[:, 0] > 0.8 * 60 * scale).all() and wide[0, 3] - wide[0, 2] > 0.5 * height
    np.testing.assert_allclose(wide[:, 0] - wide[0, 0], [0, 3 * scale, 9 * scale], atol=4)       # 5 mm are 3 pixels of the camera
    picture = cv2.imread(str(tmp_path / "sheet.png"))
    assert picture.shape[1] == 5 * 480 + 4 * 4 and picture.shape[0] > 3 * 360


def test_the_film_has_every_frame_in_order(tmp_path: Path) -> None:
    rest, triangles = sheet()
    with RunPictures(tmp_path / "sheet.png", tmp_path / "film.mp4", 20) as pictures:
        for number in range(20):
            now = shot(number, 0.0, rest, triangles, rest)
            now.image[:] = 10 * number
            pictures.add(now)
    assert brightness(tmp_path / "film.mp4") == pytest.approx([10 * number for number in range(20)], abs=4.5)


def test_an_error_in_the_film_is_told_and_the_sheet_is_made(tmp_path: Path) -> None:
    rest, triangles = sheet()
    with pytest.raises(ValueError, match="mismatch"), RunPictures(tmp_path / "sheet.png", tmp_path / "film.mp4", 30) as pictures:
        for number in range(30):
            pictures.add(shot(number, 0.0, rest if number != 7 else rest[:5], triangles, rest))
        raise AssertionError("the error was not told")
    assert (tmp_path / "sheet.png").is_file() and 7 <= len(brightness(tmp_path / "film.mp4")) < 20


def test_an_interruption_leaves_a_whole_film(tmp_path: Path) -> None:
    rest, triangles = sheet()
    with pytest.raises(KeyboardInterrupt), RunPictures(tmp_path / "sheet.png", tmp_path / "film.mp4", 30) as pictures:
        for number in range(12):
            pictures.add(shot(number, 0.0, rest, triangles, rest))
        raise KeyboardInterrupt
    assert 12 - MOST_WAITING - 1 <= len(brightness(tmp_path / "film.mp4")) <= 12 and (tmp_path / "sheet.png").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "sheet.png"]


def brightness(path: Path) -> list[float]:
    """Of each picture of a film: of the image's corner, in the first panel."""
    film, found = cv2.VideoCapture(str(path)), []
    while (picture := film.read())[0]:
        found.append(float(picture[1][200:250, 20:100].mean()))
    return found
