"""Remembered planes of the depth image."""
import pytest

from dalf_core.registration.planes import LocalPlanes, plane_at

from ..analytic import CAMERA, RolledSheet, turn


def at(planes, depth, u, v):
    return plane_at(depth, planes.value, planes.known, planes.radius, planes.gate, u, v)


def plane_image(turned):
    return RolledSheet(R=turn((0, 1, 0.2), turned), half_width=9, half_height=9).depth()


def test_inverse_depth_of_a_plane_between_pixel_centres():
    depth, planes = plane_image(12), LocalPlanes(CAMERA, 2)
    x, y = 150, 90
    inverse = 1.0 / depth.astype(float)
    across, down = inverse[y, x + 1] - inverse[y, x], inverse[y + 1, x] - inverse[y, x]
    for u, v in ((x + 0.3, y - 0.4), (x - 0.49, y + 0.1), (x + 0.3, y - 0.4)):      # the last one is remembered
        found, got, b, c = at(planes, depth, u, v)
        assert found == 1
        assert got == pytest.approx(inverse[y, x] + across * (u - x) + down * (v - y), rel=1e-6)
        assert (b, c) == (pytest.approx(across, abs=1e-6), pytest.approx(down, abs=1e-6))
    assert planes.known.sum() == planes.known[y, x]         # one fit


def test_another_image_is_looked_at_afresh():
    planes = LocalPlanes(CAMERA, 2)
    first, other = plane_image(12), plane_image(-20)
    at(planes, first, 100.0, 80.0)
    assert at(planes, other, 100.0, 80.0)[1] == pytest.approx(1 / first[80, 100], rel=1e-5)
    planes.forget()
    assert at(planes, other, 100.0, 80.0)[1] == pytest.approx(1 / other[80, 100], rel=1e-5)


@pytest.mark.parametrize("u, v", [(-3.0, 50.0), (50.0, -0.6), (CAMERA.width - 0.4, 50.0), (50.0, 1e6), (1.0, 50.0)])
def test_beside_the_image_or_at_its_border_there_is_none(u, v):
    assert at(LocalPlanes(CAMERA, 2), plane_image(0), u, v)[0] == 0


def test_no_reading_is_no_plane():
    depth, planes = plane_image(0), LocalPlanes(CAMERA, 2)
    depth[60, 70] = 0
    for _ in range(2):
        assert at(planes, depth, 70.2, 60.1)[0] == 0
