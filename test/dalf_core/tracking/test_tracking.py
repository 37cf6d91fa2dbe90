"""The session's bookkeeping, with exact matches on analytic scenes; the extractor itself where the official weights are at hand."""
import cv2
import numpy as np
import pytest

from dalf_core.camera import rescale_pixels
from dalf_core.tracking import FeatureTracker, FrameMatches, SurfaceTracker
from dalf_core.tracking.surface_tracker import JOINS_AGAIN
from dalf_core.types import Matches

from ..analytic import CAMERA, DISTANCE, RolledSheet, turn

SECOND = 1_000_000_000


def frame_matches(scene, index, stamp, reference_stamp=0, size=(320, 240)):
    """Matches of keypoints `index` (exact, of the flat sheet at reference_stamp) to `scene`."""
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(-0.16, 0.16, 300), rng.uniform(-0.12, 0.12, 300), np.full(300, DISTANCE)], axis=1)[index]
    xy = [rescale_pixels(CAMERA.project(p).astype(np.float32), (320, 240), size) for p in (points, scene.move(points))]
    count = len(index)
    matches = Matches(np.asarray(index), np.arange(count), np.zeros(count, np.float32), np.ones(count, bool))
    return FrameMatches(stamp, reference_stamp, size, size, matches, *xy)


def rmse_mm(frame, tracker, at_reference, now):
    """Error of the vertices, of a surface that was made of scene `at_reference`, in scene `now`."""
    flat = np.linalg.inv(at_reference.R) if at_reference.R is not None else np.eye(3)
    rest = (tracker.reference_vertices - np.array([0, 0, DISTANCE]) - np.array(at_reference.shift)) @ flat.T + np.array([0, 0, DISTANCE])
    return 1e3 * np.sqrt(((frame.registration.vertices - now.move(rest)) ** 2).sum(1).mean())


ALL = np.arange(300)
TURNED = RolledSheet(R=turn((0, 0, 1), 15), shift=(0.01, 0, 0.02))
BENT = RolledSheet(0.25, turn((0, 0, 1), 25))


def test_follows_from_the_first_frame_on():
    tracker = SurfaceTracker()
    first = tracker.process(frame_matches(RolledSheet(), ALL, 0), RolledSheet().depth(), CAMERA)
    assert first.is_reference and first.status == "tracked" and first.topology_id == 1
    frame = tracker.process(frame_matches(BENT, ALL[20:], SECOND), BENT.depth(), CAMERA)
    assert (frame.status, frame.is_reference, frame.reference_stamp_ns, frame.matches) == ("tracked", False, 0, 280)
    assert rmse_mm(frame, tracker, RolledSheet(), BENT) < 0.8


def test_started_late_it_joins_matches_by_their_reference_index():
    """It never sees the image that the matches refer to: its surface is of a later frame, and half of the keypoints are known there."""
    tracker = SurfaceTracker()
    tracker.process(frame_matches(TURNED, ALL[::2], SECOND), TURNED.depth(), CAMERA)
    frame = tracker.process(frame_matches(BENT, ALL, 2 * SECOND), BENT.depth(), CAMERA)
    assert frame.matches == 150 and frame.reference_stamp_ns == SECOND
    assert rmse_mm(frame, tracker, TURNED, BENT) < 0.8


def test_a_keypoint_that_was_not_on_the_surface_is_looked_for_again_some_frames_later():
    tracker, holed = SurfaceTracker(), TURNED.depth()
    holed[:, :160] = 0
    tracker.process(frame_matches(TURNED, ALL[::2], SECOND), TURNED.depth(), CAMERA)
    tracker.process(frame_matches(TURNED, ALL, 2 * SECOND), holed, CAMERA)
    known = [tracker.process(frame_matches(TURNED, ALL, (3 + n) * SECOND), TURNED.depth(), CAMERA).matches for n in range(JOINS_AGAIN + 1)]
    assert 200 < known[0] < 250 and known[JOINS_AGAIN // 2] == known[0] and known[-1] == 300


def test_matches_to_a_new_image_start_anew():
    tracker = SurfaceTracker()
    tracker.process(frame_matches(RolledSheet(), ALL, 0), RolledSheet().depth(), CAMERA)
    frame = tracker.process(frame_matches(RolledSheet(), ALL, SECOND, reference_stamp=SECOND), RolledSheet().depth(), CAMERA)
    assert frame.is_reference and frame.topology_id == 2


def test_frame_without_depth_waits_and_says_why():
    tracker = SurfaceTracker()
    frame = tracker.process(frame_matches(RolledSheet(), ALL, 0), np.zeros((240, 320), np.float32), CAMERA)
    assert frame.status == "waiting" and "depth readings" in frame.reason and frame.registration is None
    assert tracker.process(frame_matches(TURNED, ALL, 1), TURNED.depth(), CAMERA).is_reference


def test_limits_of_depth_are_the_registrations():
    depth = RolledSheet().depth()
    waiting = SurfaceTracker(near_m=0.75).process(frame_matches(RolledSheet(), ALL, 0), depth, CAMERA)
    assert waiting.status == "waiting" and "outside near_m=0.75" in waiting.reason
    with_wall = np.where(depth > 0, depth, 3.0).astype(np.float32)
    tracker = SurfaceTracker(far_m=2.0, depth_noise_m=0.002)
    assert tracker.process(frame_matches(RolledSheet(), ALL, 0), with_wall, CAMERA).status == "tracked"
    assert tracker.reference_vertices[:, 2].max() < 0.71 and tracker.registration.depth_noise_m == 0.002


def test_matches_in_a_larger_image_are_brought_to_the_depth():
    tracker = SurfaceTracker()
    tracker.process(frame_matches(RolledSheet(), ALL, 0, size=(1280, 960)), RolledSheet().depth(), CAMERA.scaled(1280, 960))
    frame = tracker.process(frame_matches(BENT, ALL, 1, size=(1280, 960)), BENT.depth(), CAMERA.scaled(1280, 960))
    assert rmse_mm(frame, tracker, RolledSheet(), BENT) < 0.8


def test_wrong_matches_marked_as_such_are_not_used():
    tracker = SurfaceTracker()
    tracker.process(frame_matches(RolledSheet(), ALL, 0), RolledSheet().depth(), CAMERA)
    matches = frame_matches(BENT, ALL, 1)
    matches.matches.inlier[:100] = False
    matches.query_xy[:100] = 5
    assert tracker.process(matches, BENT.depth(), CAMERA).matches == 200


def test_topology_changes_after_reset():
    tracker = SurfaceTracker()
    tracker.process(frame_matches(RolledSheet(), ALL, 0), RolledSheet().depth(), CAMERA)
    tracker.reset()
    assert tracker.reference_vertices is None
    assert tracker.process(frame_matches(TURNED, ALL, 1), TURNED.depth(), CAMERA).topology_id == 2


def test_rescaled_pixels_keep_the_image_corners():
    corners = np.array([[-0.5, -0.5], [319.5, 239.5]])
    np.testing.assert_allclose(rescale_pixels(corners, (320, 240), (640, 480)), [[-0.5, -0.5], [639.5, 479.5]])


@pytest.fixture(scope="module")
def dalf(data_folder):
    from dalf_core import DALF
    return DALF(weights=str(data_folder / "dalf/model_ts-fl_final.pth"), device="cpu", top_k=300)


def test_features_are_matched_to_the_first_image(dalf, data_folder):
    image = cv2.resize(cv2.imread(str(data_folder / "dalf/kanagawa_1.png")), (320, 240), interpolation=cv2.INTER_AREA)
    shifted = np.roll(image, 16, axis=1)
    tracker = FeatureTracker(dalf)
    first, second = tracker.process(image, 5), tracker.process(shifted, 6)
    assert (first.matches.stamp_ns, first.matches.reference_stamp_ns, second.matches.reference_stamp_ns) == (5, 5, 5)
    moved = (second.matches.query_xy - second.matches.reference_xy)[second.matches.matches.inlier]
    assert len(moved) > 100 and np.abs(np.median(moved, axis=0) - [16, 0]).max() < 0.1


def test_scaled_extraction_reports_pixels_of_the_image_given(dalf, data_folder):
    image = cv2.resize(cv2.imread(str(data_folder / "dalf/kanagawa_1.png")), (320, 240), interpolation=cv2.INTER_AREA)
    mask = np.zeros((240, 320), np.uint8)
    mask[60:180, 100:220] = 1
    frame = FeatureTracker(dalf, image_scale=2).process(image, 0, mask)
    assert frame.features.image_size == (320, 240)
    x, y = frame.features.keypoints.T
    assert len(x) > 50 and x.min() > 99 and x.max() < 220.5 and y.min() > 59 and y.max() < 180.5


def test_an_image_with_too_few_keypoints_does_not_become_the_reference(dalf, data_folder):
    tracker = FeatureTracker(dalf)
    image = cv2.resize(cv2.imread(str(data_folder / "dalf/kanagawa_1.png")), (320, 240), interpolation=cv2.INTER_AREA)
    mask = np.zeros((240, 320), np.uint8)
    mask[100:120, 100:120] = 1
    few = tracker.process(image, 1, mask)
    assert 0 < len(few.features) < 16 and few.matches is None
    assert tracker.process(image, 2).matches.reference_stamp_ns == 2


def test_matches_to_the_image_before(dalf, data_folder):
    image = cv2.resize(cv2.imread(str(data_folder / "dalf/kanagawa_1.png")), (320, 240), interpolation=cv2.INTER_AREA)
    tracker = FeatureTracker(dalf)
    assert tracker.process(image, 1, to_reference=False, to_previous=True).previous is None and tracker.reference is None
    tracker.process(np.roll(image, 8, axis=1), 2)
    both = tracker.process(np.roll(image, 20, axis=1), 3, to_previous=True)
    for pairs, stamp, shift in ((both.matches, 2, 12), (both.previous, 2, 12)):
        assert (pairs.stamp_ns, pairs.reference_stamp_ns) == (3, stamp)
        moved = (pairs.query_xy - pairs.reference_xy)[pairs.matches.inlier]
        assert len(moved) > 100 and np.abs(np.median(moved, axis=0) - [shift, 0]).max() < 0.1
    after = tracker.process(np.roll(image, 21, axis=1), 4, to_previous=True)
    assert (after.matches.reference_stamp_ns, after.previous.reference_stamp_ns) == (2, 3)
    empty = tracker.process(image, 5, np.zeros((240, 320), np.uint8), to_previous=True)
    assert len(empty.features) == 0 and len(empty.previous.matches) == 0
    assert len(tracker.process(image, 6, to_previous=True).previous.matches) == 0


def test_region_is_where_keypoints_come_from(dalf, data_folder):
    image = cv2.resize(cv2.imread(str(data_folder / "dalf/kanagawa_1.png")), (320, 240), interpolation=cv2.INTER_AREA)
    tracker = FeatureTracker(dalf)
    tracker.process(image, 0)
    tracker.region = (100, 60, 120, 96)
    mask = np.ones((240, 320), np.uint8)
    mask[:, 200:] = 0
    frame = tracker.process(image, 1, mask)
    x, y = frame.features.keypoints.T
    assert len(x) > 50 and x.min() >= 100 and x.max() < 200.5 and y.min() >= 60 and y.max() < 156
    assert frame.features.image_size == (320, 240)
    still = (frame.matches.query_xy - frame.matches.reference_xy)[frame.matches.matches.inlier]
    assert len(still) > 20 and np.abs(np.median(still, axis=0)).max() < 0.2
    tracker.min_score = float(frame.features.scores[20])
    assert len(tracker.process(image, 2, mask).features) == 21
    tracker.region = (300, 0, 40, 40)
    with pytest.raises(ValueError, match="beyond the image, which is 320x240"):
        tracker.process(image, 3)


def test_a_mask_of_another_resolution(dalf, data_folder):
    """With a region and a scale too: the same keypoints as with a mask of the image's size; another aspect ratio is an error."""
    image = cv2.resize(cv2.imread(str(data_folder / "dalf/kanagawa_1.png")), (320, 240), interpolation=cv2.INTER_AREA)
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[60:180, 80:240] = 1
    for tracker, region in ((FeatureTracker(dalf), (40, 40, 200, 160)), (FeatureTracker(dalf, image_scale=0.5), None)):
        tracker.region = region
        expected = tracker.process(image, 1, mask).features.keypoints
        found = tracker.process(image, 2, np.kron(mask, np.ones((2, 2), np.uint8))).features.keypoints
        assert len(expected) > 16 and np.array_equal(found, expected)
        assert (expected >= [79, 59]).all() and (expected <= [241, 181]).all()
        with pytest.raises(ValueError, match="aspect ratio"):
            tracker.process(image, 3, mask[:, :-80])


def test_a_surface_is_cut_out_by_a_mask_of_another_resolution():
    sheet, mask = RolledSheet(), np.zeros((240, 320), np.uint8)
    mask[60:180, 80:240] = 1
    found = []
    for given in (mask, mask[::2, ::2], np.kron(mask, np.ones((2, 2), np.uint8))):
        tracker = SurfaceTracker(device="cpu")
        tracker.process(frame_matches(sheet, ALL, 0), sheet.depth(), CAMERA, mask=given)
        found.append(tracker.reference_vertices)
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    with pytest.raises(ValueError, match="aspect ratio"):
        SurfaceTracker(device="cpu").process(frame_matches(sheet, ALL, 0), sheet.depth(), CAMERA, mask=mask[:100])


def test_the_prediction_is_where_the_surface_has_the_keypoints():
    tracker = SurfaceTracker()
    assert tracker.prediction() is None
    tracker.process(frame_matches(RolledSheet(), ALL, 0), RolledSheet().depth(), CAMERA)
    tracker.process(frame_matches(BENT, ALL[:150], SECOND), BENT.depth(), CAMERA)
    told = tracker.prediction()
    assert (told.stamp_ns, told.reference_stamp_ns) == (SECOND, 0) and (told.view == 0).all()
    true = frame_matches(BENT, told.index, SECOND).query_xy
    assert len(told) == 300 and np.abs(told.xy - true)[told.visible].max() < 1.0 and told.visible.mean() > 0.9
    seen = tracker.process(frame_matches(BENT, ALL[:0], 2 * SECOND), np.full((240, 320), 0.3, np.float32), CAMERA)
    assert seen.status == "lost"
    lost = tracker.prediction()                 # where it was seen last
    assert lost.stamp_ns == 2 * SECOND and np.array_equal(lost.xy, told.xy) and np.array_equal(lost.visible, told.visible)
    tracker.reset()
    assert tracker.prediction() is None


def test_the_prediction_is_in_pixels_of_the_matched_image():
    tracker = SurfaceTracker()
    tracker.process(frame_matches(RolledSheet(), ALL, 0, size=(640, 480)), RolledSheet().depth(), CAMERA)
    told = tracker.prediction()
    assert np.abs(told.xy - frame_matches(RolledSheet(), told.index, 0, size=(640, 480)).query_xy).max() < 0.5
