"""The part that is shown: where it is chosen, and that picture, positions and camera agree about it."""
from __future__ import annotations

import cv2
import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_core.drawing.zoom import LEAST, MARGIN, Zoom

SIZE = (320, 240)


def test_the_part_is_around_the_points_with_a_margin_of_the_pictures_proportions():
    zoom = Zoom.around(np.array([[100.0, 90], [140, 110], [np.nan, 3]]), SIZE, 640)
    assert (zoom.width, zoom.height) == pytest.approx((60, 45)) and MARGIN == 1.5 and zoom.shown == (640, 480)
    assert (zoom.left + zoom.width / 2, zoom.top + zoom.height / 2) == pytest.approx((120.5, 100.5))
    corners = zoom.positions(np.array([[zoom.left, zoom.top], [zoom.left + zoom.width, zoom.top + zoom.height]]) - 0.5)
    np.testing.assert_allclose(corners, [[-0.5, -0.5], [639.5, 479.5]])


@pytest.mark.parametrize(("xy", "expected"), [
    ([[2.0, 2], [60, 40]], (0, 0, 87, 65.25)),                      # at a corner it stays within the picture
    ([[-500.0, 5], [900, 200]], (0, 0, 320, 240)),                  # no larger than the picture
    ([[310.0, 230]], (320 * (1 - LEAST), 240 * (1 - LEAST), 320 * LEAST, 240 * LEAST)),
    ([], (0, 0, 320, 240)),
])
def test_the_part_stays_within_the_picture(xy, expected):
    zoom = Zoom.around(np.array(xy), SIZE, 640)
    assert (zoom.left, zoom.top, zoom.width, zoom.height) == pytest.approx(expected)


@pytest.mark.parametrize("shown", [640, 40])
def test_picture_positions_and_camera_agree(shown):
    """A ramp of brightness is read where positions() says, and the camera projects there."""
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    ramp = np.stack([1.5 * x - 90, 2 * y - 120, 0 * x], axis=2).clip(0, 255).round().astype(np.uint8)
    zoom = Zoom.around(np.array([[101.0, 90], [180, 150]]), SIZE, shown)
    picture = zoom.picture(ramp)
    assert picture.shape == (zoom.shown[1], zoom.shown[0], 3)
    for xy in ([110, 95], [150, 120], [170, 140]):
        u, v = zoom.positions(np.array([xy])).astype(np.float32).T
        read = cv2.remap(picture.astype(np.float32), u, v, cv2.INTER_LINEAR)[0, 0]
        np.testing.assert_allclose(read[:2], [1.5 * xy[0] - 90, 2 * xy[1] - 120], atol=0.55)
    camera = PinholeCamera(300.0, 310.0, 150.0, 130.0, *SIZE)
    points = np.array([[0.0, 0, 1], [0.05, -0.04, 0.8]])
    np.testing.assert_allclose(zoom.camera(camera).project(points), zoom.positions(camera.project(points)), atol=1e-9)
    assert (zoom.camera(camera).width, zoom.camera(camera).height) == zoom.shown
