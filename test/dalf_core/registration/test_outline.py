"""Where space is free."""
import numpy as np
import pytest

from dalf_core import NonRigidRegistration, PinholeCamera
from dalf_core.registration import stages
from dalf_core.registration.outline import nearest_surface, outline_camera
from dalf_core.surface import surface_from_depth

from ..analytic import CAMERA, RolledSheet


def nearest_of_all(depth, camera, far_m):
    """(H, W, 2) x and y."""
    outline = nearest_surface(depth, outline_camera(camera), far_m)
    return outline.place[outline.label]


@pytest.mark.parametrize(("width", "step"), [(320, 1), (640, 2), (1280, 4)])
def test_the_nearest_pixel_of_the_surface(width, step):
    camera = PinholeCamera(500.0, 500.0, width / 2, width / 3, width, width * 3 // 4)
    coarse = outline_camera(camera)
    assert (coarse.width, coarse.height) == (width // step, width * 3 // 4 // step)
    depth = np.zeros((camera.height, camera.width), np.float32)
    depth[:, :width // 2] = 0.7
    depth[100:104, 100:104] = 0         # a hole of the sensor
    depth[:, -20:] = 3.0                # the wall behind
    nearest = nearest_of_all(depth, camera, 1.5)
    y, x = np.mgrid[:coarse.height, :coarse.width].astype(np.float32)
    edge = width // 2 // step - 1
    np.testing.assert_array_equal(nearest[:, :, 0], np.minimum(x, edge))
    np.testing.assert_array_equal(nearest[:, :, 1], y)


def test_nothing_seen_draws_nothing():
    assert np.isnan(nearest_of_all(np.zeros((CAMERA.height, CAMERA.width), np.float32), CAMERA, 9.0)).all()


def test_hidden_parts_stay_out_of_free_space(monkeypatch):
    """A sheet rolled so far that its sides are behind it: what cannot be seen there must not stick out beside it."""
    flat, rolled = RolledSheet(), RolledSheet(radius=0.075)        # 137 degrees to either side
    surface = surface_from_depth(flat.depth(), CAMERA, max_vertices=3000)
    truth = rolled.move(surface.vertices.astype(float))
    source = surface.vertices[(np.abs(surface.vertices[:, 0]) < 0.075)][::20]
    beside, error = [], []
    for weight in (0.0, stages.FREE_SPACE_COLD):
        monkeypatch.setattr(stages, "FREE_SPACE_COLD", weight)
        registration = NonRigidRegistration(CAMERA)
        registration.set_reference_surface(surface)
        result = registration.register_points(rolled.depth(), source, rolled.move(source))
        assert result.status == "tracked"
        pixel = np.round(CAMERA.project(result.vertices)).astype(int)
        nearest = nearest_of_all(rolled.depth(), CAMERA, 9.0)[pixel[:, 1], pixel[:, 0]]
        beside.append(np.percentile(np.linalg.norm(nearest - pixel, axis=1), 95))
        error.append(np.sqrt(((result.vertices - truth) ** 2).sum(axis=1).mean()) * 1e3)
    assert beside[0] > 8 and beside[1] < 6          # pixels
    assert error[1] < 0.6 * error[0]
