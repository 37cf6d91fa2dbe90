"""A template followed from wherever the surface is, under another camera: exact matches on an analytic scene."""
from dataclasses import replace

import numpy as np
import pytest

from dalf_core import PinholeCamera, Template
from dalf_core.camera import rescale_pixels
from dalf_core.lens import Lens
from dalf_core.tracking import FrameMatches, SurfaceTracker
from dalf_core.tracking.wanted_points import PointPlacer, wanted_points
from dalf_core.types import Matches

from ..analytic import CAMERA, DISTANCE, RolledSheet

STAMP = 77
OTHER = PinholeCamera(300.0, 310.0, 150.0, 130.0, 320, 240)


def template_of_plane() -> Template:
    """The sheet while it is flat, at CAMERA."""
    image = np.full((240, 320, 3), 90, np.uint8)
    return Template.of_frame("sheet", image, RolledSheet().depth(), CAMERA)


def matches_of(scene: RolledSheet, stamp_ns: int, camera: PinholeCamera, size: tuple[int, int] = (320, 240), template: str = "sheet"):
    """Exact matches from the template's picture, of resolution size, to a frame of the scene."""
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(-0.16, 0.16, 300), rng.uniform(-0.12, 0.12, 300), np.full(300, DISTANCE)], axis=1)
    reference = rescale_pixels(CAMERA.project(points), (320, 240), size)
    index = np.arange(300)
    matches = Matches(index, index, np.zeros(300, np.float32), np.ones(300, bool))
    now = camera.project(scene.move(points)).astype(np.float32)
    return FrameMatches(stamp_ns, STAMP, (320, 240), size, matches, reference, now, template=template)


@pytest.mark.parametrize(("camera", "size"), [(CAMERA, (320, 240)), (OTHER, (640, 480))])
def test_the_first_frame_is_found_bent(camera, size):
    template, scene = template_of_plane(), RolledSheet(0.25)
    tracker = SurfaceTracker()
    tracker.adopt(template, STAMP)
    frame = tracker.process(matches_of(scene, 5, camera, size), scene.depth(camera), camera)
    assert frame.status == "tracked" and not frame.is_reference and frame.reference_stamp_ns == STAMP
    np.testing.assert_array_equal(tracker.reference_vertices, template.surface.vertices)
    off = np.linalg.norm(frame.registration.vertices - scene.move(template.surface.vertices.astype(float)), axis=1)
    assert np.median(off) < 5e-4 and np.percentile(off[frame.registration.visible], 95) < 2e-3


def test_with_fewer_vertices_than_the_template_has():
    template, scene = template_of_plane(), RolledSheet(0.25)
    tracker = SurfaceTracker(max_vertices=1000)
    tracker.adopt(template, STAMP)
    frame = tracker.process(matches_of(scene, 5, OTHER), scene.depth(OTHER), OTHER)
    assert frame.status == "tracked" and tracker.template is template
    assert 500 < len(tracker.reference_vertices) <= 1000 < len(template.surface.vertices)
    off = np.linalg.norm(frame.registration.vertices - scene.move(tracker.reference_vertices.astype(float)), axis=1)
    assert np.median(off) < 5e-4 and np.percentile(off[frame.registration.visible], 95) < 2e-3


@pytest.mark.parametrize("max_vertices", [6000, 700])
def test_its_named_points_go_with_it(max_vertices):
    """Those of the file, and one that is wanted at a pixel of its picture."""
    place = np.array([0.05, -0.04, DISTANCE])
    template, scene = replace(template_of_plane(), points={"grasp": place}), RolledSheet(0.25)
    tracker, said = SurfaceTracker(max_vertices=max_vertices), []
    placer = PointPlacer(wanted_points("corner,120.5,100.5 nowhere,1,1"), said.append)
    tracker.adopt(template, STAMP)
    frame = tracker.process(matches_of(scene, 5, OTHER), scene.depth(OTHER), OTHER)
    placer.attend(tracker, frame, Lens(OTHER), (320, 240))
    corner = CAMERA.lift(np.array([[120.5, 100.5]]), np.array([DISTANCE]))
    followed = tracker.points.follow(frame.registration)
    assert [point.name for point in followed] == ["grasp", "corner"] and "nowhere" in said[0] and len(said) == 1
    np.testing.assert_allclose([point.position for point in followed], scene.move(np.vstack([place, corner])), atol=2e-3)


def test_the_reference_is_seen_by_the_template_s_camera():
    """Until an image of the camera's own becomes the reference."""
    template, scene, tracker = template_of_plane(), RolledSheet(0.25), SurfaceTracker()
    tracker.adopt(template, STAMP)
    assert tracker.reference_camera is None and tracker.template is None
    tracker.process(matches_of(scene, 5, OTHER), scene.depth(OTHER), OTHER)
    assert tracker.template is template and tracker.reference_camera == CAMERA
    tracker.adopt(None)
    tracker.process(matches_of(scene, 6, OTHER, template=""), scene.depth(OTHER), OTHER)
    assert tracker.template is None and tracker.reference_camera == OTHER


def test_matches_to_a_template_that_has_not_come_wait():
    scene, tracker = RolledSheet(0.25), SurfaceTracker()
    frame = tracker.process(matches_of(scene, 5, CAMERA), scene.depth(CAMERA), CAMERA)
    assert frame.status == "waiting" and "template sheet" in frame.reason and tracker.surface is None


def test_a_reset_keeps_the_template_and_dropping_it_does_not():
    scene, tracker, template = RolledSheet(0.25), SurfaceTracker(), template_of_plane()
    tracker.adopt(template, STAMP)
    tracker.reset()
    assert tracker.process(matches_of(scene, 5, CAMERA), scene.depth(CAMERA), CAMERA).status == "tracked"
    tracker.adopt(None)
    frame = tracker.process(matches_of(scene, 6, CAMERA, template=""), scene.depth(CAMERA), CAMERA)
    assert frame.is_reference, "matches to an image of the camera: the frame becomes the reference"


def test_a_template_without_depth_has_no_surface_to_follow():
    with pytest.raises(ValueError, match="no depth"):
        SurfaceTracker().adopt(Template.of_frame("poster", np.full((240, 320, 3), 90, np.uint8)), STAMP)
