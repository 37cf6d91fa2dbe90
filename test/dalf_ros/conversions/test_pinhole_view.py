"""Lens distortion is undone in all that a frame has; a surface followed through a lens against the truth."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_core.lens import EQUIDISTANT, PLUMB_BOB, RATIONAL_POLYNOMIAL, Lens
from dalf_core.matching.keyframes import KeyframeMatches
from dalf_core.matching.prediction import Prediction
from dalf_core.tracking import SurfaceTracker
from dalf_ros.conversions.pinhole_view import lens_prediction, pinhole_view, rectified_matches
from dalf_ros.errors import SetupError

CAMERA = PinholeCamera(200.0, 201.0, 95.5, 70.2, 192, 144)
BARREL = (-0.30, 0.10, 0.001, -0.0007, -0.01)


LENSES = {"barrel": Lens(CAMERA, PLUMB_BOB, BARREL), "fisheye": Lens(CAMERA, EQUIDISTANT, (-0.02, 0.01, -0.005, 0.001)),
          "rational": Lens(CAMERA, RATIONAL_POLYNOMIAL, (0.51, -2.6, 0.0006, -0.0002, 1.49, 0.39, -2.4, 1.4)), "pinhole": Lens(CAMERA)}


@pytest.mark.parametrize("name", LENSES)
def test_a_surface_through_a_lens(relief, name: str) -> None:
    """Followed through a lens, vertices are where the surface is, as well as through a pinhole. Depth noise 1 mm, motion 33 mm."""
    scene, noise, moved = relief(LENSES[name]), 1e-3, np.array([0.03, -0.01, 0.01])
    tracker = SurfaceTracker(device="cpu", max_vertices=3000)
    for stamp, shift in ((1, np.zeros(3)), (2, moved / 2), (3, moved)):
        view = pinhole_view(scene.lens, scene.matches(stamp, shift, 1, np.zeros(3)), scene.depth(shift, noise))
        frame = tracker.process(view.matches, view.depth_m, view.camera)
    reference, result = tracker.reference_vertices.astype(float), frame.registration
    assert frame.status == "tracked", frame.reason
    off = np.abs(reference[:, 2] - scene.height(reference[:, 0], reference[:, 1]))
    assert np.sqrt((off**2).mean()) < 0.7 * noise           # smoothed over its neighbours
    error = np.linalg.norm(result.vertices - reference - moved, axis=1)[result.visible]
    assert np.sqrt((error**2).mean()) < noise
    if name != "pinhole":
        wrong = SurfaceTracker(device="cpu", max_vertices=3000)
        wrong.process(scene.matches(1, np.zeros(3), 1, np.zeros(3)), scene.depth(np.zeros(3), noise), CAMERA)
        vertices = wrong.reference_vertices.astype(float)
        assert np.abs(vertices[:, 2] - scene.height(vertices[:, 0], vertices[:, 1])).max() > 3 * noise


def test_pairs_beyond_the_pinhole_image_are_no_inliers(relief) -> None:
    scene = relief(LENSES["barrel"])
    matches = scene.matches(2, np.array([0.08, 0.03, 0]), 1, np.zeros(3), count=800)
    flat = rectified_matches(matches, scene.lens)
    expected = scene.lens.undistort(matches.query_xy)
    inside = ((expected > -0.5) & (expected < np.array([192, 144]) - 0.5)).all(axis=1)
    assert (flat.matches.inlier == inside).all() and 0.5 < inside.mean() < 0.98
    np.testing.assert_allclose(flat.query_xy[inside], expected[inside], atol=1e-3)
    assert np.isfinite(flat.query_xy).all() and rectified_matches(matches, Lens(CAMERA)) is matches


def test_a_template_s_picture_has_no_distortion(relief) -> None:
    """Of matches to one, the image's pixels alone are this lens's; its picture may be of any size and shape."""
    scene = relief(Lens(CAMERA, PLUMB_BOB, BARREL))
    matches = scene.matches(1, np.zeros(3), 0, np.zeros(3))
    of_template = replace(matches, template="cloth", reference_image_size=(333, 777))
    flat, plain = rectified_matches(of_template, scene.lens), rectified_matches(matches, scene.lens)
    np.testing.assert_array_equal(flat.reference_xy, matches.reference_xy)
    np.testing.assert_array_equal(flat.query_xy, plain.query_xy)
    assert np.abs(plain.reference_xy - matches.reference_xy).max() > 1, "without a template they are this lens's too"


def test_keyframes_are_undistorted_too(relief) -> None:
    """Pixels of keyframes are of the same image as the others: seen through the same lens. What lies outside is left out."""
    scene = relief(LENSES["barrel"])
    rng = np.random.default_rng(1)
    truth = rng.uniform([5, 5], [187, 139], (60, 2))            # in the pinhole image
    outside = np.array([[0.0, 0.0], [191.0, 143.0]])            # corners of the lens's image: beyond the border of the pinhole image
    xy = np.concatenate([scene.lens.distort(truth), outside]).astype(np.float32)
    matches = replace(scene.matches(2, np.zeros(3), 1, np.zeros(3)),
                      keyframes=KeyframeMatches(np.repeat([1, 2], 31), np.arange(62), xy))
    found = rectified_matches(matches, scene.lens).keyframes
    np.testing.assert_allclose(found.query_xy, truth, atol=0.02)
    assert found.index.tolist() == list(range(60)) and found.keyframe.tolist() == [1] * 31 + [2] * 29
    assert np.abs(xy[:60] - truth).max() > 5                    # which they would be off otherwise


def test_another_resolution_of_depth(relief) -> None:
    """Camera and lens follow the depth image; the matched image keeps its own pixels."""
    scene, half = relief(LENSES["barrel"]), relief(LENSES["barrel"].scaled(96, 72))
    matches = scene.matches(2, np.zeros(3), 1, np.zeros(3))
    view = pinhole_view(scene.lens, matches, half.depth(np.zeros(3)))
    assert view.camera == CAMERA.scaled(96, 72) and view.matches.image_size == (192, 144)
    np.testing.assert_array_equal(view.matches.query_xy, rectified_matches(matches, scene.lens).query_xy)
    with pytest.raises(SetupError, match="depth is 192x108 but camera_info describes 192x144"):
        pinhole_view(scene.lens, matches, np.ones((108, 192), np.float32))


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("scale", [1, 2])
def test_a_prediction_is_where_the_lens_shows_it(name: str, scale: int) -> None:
    """The way back of rectified_matches, at the resolution of the image."""
    lens, size = LENSES[name], (192 * scale, 144 * scale)
    seen = np.array([[20.0, 30], [95, 70], [170, 120], [60, 20]]) * scale
    pinhole = np.vstack([lens.scaled(*size).undistort(seen), [[np.nan, np.nan]]]).astype(np.float32)
    told = lens_prediction(Prediction(1, 0, np.zeros(5, int), np.arange(5), pinhole, np.ones(5, bool)), lens, size)
    assert np.abs(told.xy[:4] - seen).max() < 0.01 and np.isnan(told.xy[4]).all()
    assert name == "pinhole" or np.abs(pinhole[:4] - seen).max() > 0.5
