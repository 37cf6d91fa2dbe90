"""Masks of a selected and of a followed object, through a lens and at other resolutions."""
import cv2
import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_core.lens import PLUMB_BOB, Lens
from dalf_core.matching.prediction import Prediction
from dalf_core.tracking.object_mask import LEAST_MARGIN, followed_mask, predicted_mask, selected_mask

from ..table_scene import CAMERA, middle, overlap, scene

BARREL = Lens(CAMERA, PLUMB_BOB, (-0.30, 0.10, 0.001, -0.0007, -0.01))


def through(lens: Lens, image: np.ndarray) -> np.ndarray:
    """A pinhole image as the lens shows it, nearest pixels."""
    x, y = np.meshgrid(np.arange(320.0), np.arange(240.0))
    places = lens.undistort(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(240, 320, 2).astype(np.float32)
    return cv2.remap(image, places[..., 0], places[..., 1], cv2.INTER_NEAREST)


def test_what_is_selected_through_a_lens():
    pytest.importorskip("open3d")
    depth, image, masks = scene()
    true = through(BARREL, masks["ball"].astype(np.uint8)) > 0
    mask = selected_mask(through(BARREL, depth), through(BARREL, image), middle(true), BARREL, near_m=0.05, far_m=20.0)
    assert mask.shape == true.shape and overlap(mask > 0, true) > 0.85


def test_depth_of_half_the_resolution():
    pytest.importorskip("open3d")
    depth, image, masks = scene()
    mask = selected_mask(depth[::2, ::2], image, middle(masks["mound"]), Lens(CAMERA), near_m=0.05, far_m=20.0)
    assert mask.shape == (240, 320) and overlap(mask > 0, masks["mound"]) > 0.85


def test_a_followed_surface_with_its_margin():
    """A square of 0.2 m at 1 m: 60 pixels, and as much around it as is said."""
    vertices = np.array([[-0.1, -0.1, 1], [0.1, -0.1, 1], [-0.1, 0.1, 1], [0.1, 0.1, 1], [0, 0, -1]])
    triangles = np.array([[0, 2, 1], [1, 2, 3], [0, 1, 4]])      # one is not in front of the camera
    mask = followed_mask(vertices, triangles, CAMERA, Lens(CAMERA), (320, 240))
    x, y, width, height = cv2.boundingRect(mask)
    assert (x, y) == (round(129.5 - LEAST_MARGIN), round(89.5 - LEAST_MARGIN)) and width == height == 61 + 2 * LEAST_MARGIN
    bent = followed_mask(vertices, triangles, CAMERA, BARREL, (640, 480))
    assert overlap(bent > 0, cv2.resize(through(BARREL, mask), (640, 480), interpolation=cv2.INTER_NEAREST) > 0) > 0.9
    assert followed_mask(vertices + [9, 0, 0], triangles, CAMERA, Lens(PinholeCamera(300, 300, 159.5, 119.5, 320, 240)), (320, 240)) is None


def test_where_keypoints_are_foreseen_with_a_margin():
    """Those that are hidden, or nowhere, do not count; the hull of the others, grown by 8 % of 100 pixels."""
    xy = np.array([[100, 60], [200, 60], [150, 120], [300, 200], [np.nan, 0], [1e9, 3]], np.float32)
    visible = np.array([True, True, True, False, True, True])
    prediction = Prediction(2, 1, np.zeros(6, np.int64), np.arange(6), xy, visible)
    mask = predicted_mask(prediction, (320, 240))
    assert mask.shape == (240, 320) and cv2.boundingRect(mask) == (92, 52, 117, 77)
    assert mask[80, 150] == 255 and mask[110, 110] == 0 and mask[200, 300] == 0
    few = Prediction(2, 1, np.zeros(2, np.int64), np.arange(2), xy[:2], visible[:2])
    assert predicted_mask(few, (320, 240)) is None


def test_a_rule_selects_through_a_lens():
    pytest.importorskip("open3d")
    depth, image, masks = scene()
    true = through(BARREL, masks["mound"].astype(np.uint8)) > 0
    mask = selected_mask(through(BARREL, depth), through(BARREL, image), "largest_above_plane", BARREL, near_m=0.05, far_m=20.0)
    assert overlap(mask > 0, true) > 0.85
