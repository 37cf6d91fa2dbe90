"""Pictures and films: the projection must be the camera's own, the film whole."""
import multiprocessing

import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_core.drawing.palette import GRID, GRID_UNSEEN
from dalf_core.drawing.render import RenderingUnavailable, SurfaceRenderer, _mix_lines
from dalf_core.drawing.render_process import RenderProcess
from dalf_core.image_registration.video import VideoWriter

CAMERA = PinholeCamera(560.0, 550.0, 290.0, 255.0, 641, 481)  # odd size, principal point away from the middle
TRIANGLE = np.array([[0, 1, 2]], np.int32)
WHITE = np.full((3, 3), 255, np.uint8)


@pytest.fixture(scope="module")
def renderer():
    pytest.importorskip("pyvista")
    renderer = SurfaceRenderer(CAMERA)
    try:
        renderer.render(np.array([[0, 0, 1], [0.1, 0, 1], [0, 0.1, 1]], np.float32), TRIANGLE)
    except RenderingUnavailable as error:
        pytest.skip(str(error))
    yield renderer
    renderer.close()


@pytest.mark.parametrize("vertices", [
    [[0.05, 0.03, 0.6], [0.2, 0.05, 0.8], [0.1, 0.2, 0.7]],
    [[-0.2, -0.1, 0.6], [0.1, -0.2, 0.5], [0.1, 0.1, 1.0]],
])
def test_corners_land_on_their_projection(renderer, vertices):
    vertices = np.array(vertices, np.float32)
    picture = renderer.render(vertices, TRIANGLE, WHITE)
    ys, xs = np.nonzero((picture != np.array(renderer.background)).any(axis=2))
    pixels = CAMERA.project(vertices)
    box = np.array([xs.min(), ys.min(), xs.max(), ys.max()])
    np.testing.assert_allclose(box, np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]), atol=2.0)      # its tips cover no pixel
    np.testing.assert_allclose([xs.mean(), ys.mean()], pixels.mean(axis=0), atol=0.1)
    for corner in pixels:
        assert np.min(np.hypot(xs - corner[0], ys - corner[1])) < 2.0


def test_overlay_changes_only_the_mesh(renderer):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (CAMERA.height, CAMERA.width, 3)).astype(np.uint8)
    vertices = np.array([[-0.1, -0.1, 0.7], [0.1, -0.1, 0.7], [0, 0.1, 0.7]], np.float32)
    picture = renderer.render(vertices, TRIANGLE, image=image, style="grid")
    ys, xs = np.nonzero((picture != image).any(axis=2))
    low, high = CAMERA.project(vertices).min(axis=0), CAMERA.project(vertices).max(axis=0)
    assert len(xs) > 1000
    assert xs.min() >= low[0] - 2 and xs.max() <= high[0] + 2 and ys.min() >= low[1] - 2 and ys.max() <= high[1] + 2


def test_unseen_vertices_are_tinted_and_orbit_differs(renderer):
    vertices = np.array([[-0.1, -0.1, 0.7], [0.1, -0.1, 0.7], [0, 0.1, 0.75]], np.float32)
    seen = renderer.render(vertices, TRIANGLE, WHITE)
    unseen = renderer.render(vertices, TRIANGLE, WHITE, visible=np.zeros(3, bool))
    orbit = renderer.render(vertices, TRIANGLE, WHITE, view="orbit")
    assert (seen != unseen).any() and (seen != orbit).any()
    assert orbit.shape == seen.shape == (CAMERA.height, CAMERA.width, 3)


def test_empty_and_wrong_input(renderer):
    image = np.full((CAMERA.height, CAMERA.width, 3), 9, np.uint8)
    assert (renderer.render(np.zeros((0, 3)), np.zeros((0, 3), int), image=image) == image).all()
    with pytest.raises(ValueError, match="view"):
        renderer.render(np.zeros((3, 3)), TRIANGLE, view="sideways")
    with pytest.raises(ValueError, match="camera"):
        renderer.render(np.zeros((3, 3)), TRIANGLE, image=image[1:])


def test_film_is_whole_even_when_interrupted(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "film.mp4"
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 15) as film:
        for value in range(4):
            film.write(np.full((47, 61, 3), 40 * value, np.uint8))
            assert not path.exists()
        raise KeyboardInterrupt
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert len(frames) == 4 and frames[0].shape == (48, 62, 3)
    assert abs(int(frames[3].mean()) - 120) < 5
    assert list(tmp_path.iterdir()) == [path]


def test_no_pictures_no_film(tmp_path):
    with VideoWriter(tmp_path / "film.mp4", 15):
        pass
    assert not list(tmp_path.iterdir())


def test_mixing_is_that_of_the_formula() -> None:
    """To a grey level: the picture over the image by its alpha; of the grid by its lines, its cells tinted, unseen ones more."""
    rng = np.random.default_rng(0)
    image, code = (rng.integers(0, 256, (40, 50, channels), np.uint8) for channels in (3, 4))
    line, unseen, inside = (code[..., [channel]] / 255 for channel in (0, 1, 3))
    color = np.array(GRID) + np.subtract(GRID_UNSEEN, GRID) * unseen
    expected = image + (color - image) * np.maximum(line * inside * 0.85, inside * (0.10 + 0.12 * unseen))
    assert np.abs(_mix_lines(image, code, 0.85) - expected).max() <= 1


@pytest.mark.usefixtures("renderer")
def test_a_process_of_its_own_draws_the_same() -> None:
    vertices = np.array([[-0.1, -0.1, 0.7], [0.1, -0.1, 0.7], [0, 0.1, 0.75]], np.float32)
    image = np.random.default_rng(0).integers(0, 255, (CAMERA.height, CAMERA.width, 3)).astype(np.uint8)
    process, here = RenderProcess(), SurfaceRenderer(CAMERA)
    process.begin()
    for options in ({"image": image, "style": "grid"}, {"view": "orbit"}):
        assert (process.render(CAMERA, vertices, TRIANGLE, WHITE, **options) == here.render(vertices, TRIANGLE, WHITE, **options)).all()
    here.close()
    half = CAMERA.scaled(320, 240)
    assert process.render(half, vertices, TRIANGLE).shape == (240, 320, 3)
    with pytest.raises(ValueError, match="the image is 641x481, the camera 320x240"):
        process.render(half, vertices, TRIANGLE, image=image)
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(RenderingUnavailable, match="has ended"):
        process.render(CAMERA, vertices, TRIANGLE)
    process.close()
