"""Keyframes: a sheet that turns away, with features that match only between views that are alike, through both halves of the session."""
import numpy as np
import pytest

from dalf_core.matching.keyframes import NO_KEYFRAMES, REMEMBERED, Keyframes, LandmarkMap
from dalf_core.tracking import FeatureTracker, SurfaceTracker
from dalf_core.types import Features, Matches

from ..analytic import CAMERA, DISTANCE, RolledSheet, turn

SECOND = 1_000_000_000
TURNS = [*np.arange(0, 75, 5.0), 75.0]


class ViewBoundFeatures:
    """Stands in for DALF: exact keypoints of 400 points of the sheet, whose descriptors turn by 1 to 4 times the angle that the sheet
    turns. So the farther two views are apart, the fewer keypoints match: half of them at 28 degrees, none at 75.
    """

    def __init__(self):
        rng = np.random.default_rng(0)
        self.points = np.stack([rng.uniform(-0.17, 0.17, 400), rng.uniform(-0.12, 0.12, 400), np.full(400, DISTANCE)], axis=1)
        a, b = np.linalg.qr(rng.normal(size=(400, 128, 2)))[0].transpose(2, 0, 1)
        rate = rng.uniform(1, 4, (400, 1))
        turns = np.deg2rad(rate)
        self.descriptors = lambda degrees: (np.cos(turns * degrees) * a + np.sin(turns * degrees) * b).astype(np.float32)

    def extract(self, image, mask=None):
        """The "image" is (scene, degrees); the scene is None where nothing is seen."""
        scene, degrees = image
        xy = CAMERA.project(scene.move(self.points)).astype(np.float32) if scene else np.zeros((0, 2), np.float32)
        shuffled = np.random.default_rng(int(degrees)).permutation(len(xy))[:350]
        return Features(xy[shuffled], np.ones(len(shuffled), np.float32), self.descriptors(degrees)[shuffled], (320, 240))


def tracker_of_views(**options):
    """No second look: there are no pixels to unwarp."""
    return FeatureTracker(ViewBoundFeatures(), second_look="never", **options)


def turned(degrees):
    return RolledSheet(R=turn((0, 1, 0), degrees))


def follow(turns, max_keyframes, drop_between=(), drop_before=0):
    """The sheet turned by `turns` degrees, None = out of sight. Frames of drop_between never reach the depth half, nor those before
    drop_before, as if it had been started then. Returns the features and surfaces by frame, RMSE in mm by frame, and both trackers."""
    features, surfaces = tracker_of_views(max_keyframes=max_keyframes), SurfaceTracker()
    seen, found, errors, rest = [], [], [], None
    for number, degrees in enumerate(turns):
        scene = None if degrees is None else turned(degrees)
        seen.append(features.process((scene, degrees or 0), number * SECOND))
        if number in drop_between or number < drop_before:
            continue
        depth = scene.depth() if scene else np.zeros((240, 320), np.float32)
        found.append(surfaces.process(seen[-1].matches, depth, CAMERA))
        if rest is None:        # the surface's points on the flat sheet
            rest = (surfaces.reference_vertices - [0, 0, DISTANCE]) @ scene.R + [0, 0, DISTANCE]
        errors.append(1e3 * np.sqrt(((found[-1].registration.vertices - scene.move(rest)) ** 2).sum(1).mean()) if scene else np.nan)
    return seen, found, np.array(errors), features, surfaces


@pytest.fixture(scope="module")
def turning():
    return follow(TURNS, 8)


def test_a_sheet_that_turns_away_stays_tracked(turning):
    seen, found, errors, features, _ = turning
    assert [frame.status for frame in found] == ["tracked"] * len(TURNS)
    assert errors.max() < 1.0
    assert seen[-1].matches.matches.inlier.sum() == 0 and found[-1].inliers > 90
    assert 1 <= len(features.keyframes) <= 2


def test_without_keyframes_nothing_holds_it():
    seen, found, errors, features, _ = follow(TURNS, 0)
    assert len(features.keyframes) == 0 and all(len(frame.matches.keyframes) == 0 for frame in seen)
    assert found[-1].status != "tracked" and found[-1].inliers < 4


def test_turned_away_it_is_found_again_after_occlusion():
    turns = [*TURNS, None, None, 75.0]
    assert follow(turns, 0)[1][-1].status == "lost"
    _, found, errors, _, _ = follow(turns, 8)
    assert [frame.status for frame in found[-3:]] == ["lost", "lost", "tracked"] and errors[-1] < 0.8


def test_the_depth_half_may_miss_the_frames_that_become_keyframes(turning):
    announced = [n for n, frame in enumerate(turning[0]) if len(frame.matches.keyframes) > 200]
    _, found, errors, _, _ = follow(TURNS, 8, drop_between=announced[:1])
    assert announced and {frame.status for frame in found} == {"tracked"} and errors.max() < 1.0


def test_the_depth_half_may_start_late():
    """It sees the sheet for the first time at 55 degrees, and then follows it back to where the reference image was taken."""
    _, found, errors, _, surfaces = follow([*TURNS[:12], *TURNS[11::-1]], 8, drop_before=11)
    assert found[0].is_reference and {frame.status for frame in found} == {"tracked"}
    assert errors.max() < 1.0


def test_matches_that_suffice_keep_keyframes_out():
    seen, _, _, features, _ = follow([0.0, 2.0, 5.0], 8)
    assert len(features.keyframes) == 0 and seen[-1].matches.keyframes is NO_KEYFRAMES


def test_reset_forgets_keyframes():
    features = tracker_of_views()
    for degrees in TURNS:
        features.process((turned(degrees), degrees), 0)
    assert len(features.keyframes) > 0
    features.reset()
    assert len(features.keyframes) == 0


def test_no_more_keyframes_than_asked_for():
    features = tracker_of_views(max_keyframes=1)
    named = [features.process((turned(degrees), degrees), 0).matches.keyframes.keyframe.max(initial=0) for degrees in [*TURNS, 80.0, 85.0]]
    assert len(features.keyframes) == 1 and max(named) > 1      # numbers are never used twice


def test_a_negative_number_is_refused():
    with pytest.raises(ValueError, match="max_keyframes"):
        FeatureTracker(ViewBoundFeatures(), max_keyframes=-1)


def test_an_unknown_image_does_not_become_a_keyframe():
    """Few keypoints match anything: it may show something else."""
    extractor = ViewBoundFeatures()
    reference, other = extractor.extract((turned(0), 0)), extractor.extract((turned(0), 70))
    none = Matches(*(np.zeros(0, kind) for kind in (np.int64, np.int64, np.float32, bool)))
    keyframes = Keyframes(8)
    assert len(keyframes.see(reference, other, none)) == 0 and len(keyframes) == 0


def test_a_keypoint_that_the_reference_knows_is_not_named_twice():
    tracker = tracker_of_views()
    for degrees in TURNS[:10]:
        frame = tracker.process((turned(degrees), degrees), int(degrees))
    pairs = frame.matches
    ours = {tuple(xy) for xy in pairs.query_xy[pairs.matches.inlier].tolist()}
    assert ours and len(pairs.keyframes) and not ours & {tuple(xy) for xy in pairs.keyframes.query_xy.tolist()}


def test_landmark_map_knows_what_was_joined():
    places = LandmarkMap()
    view, index = np.array([0, 0, 3]), np.array([5, 7, 5])
    points = np.array([[1.0, 2, 3], [np.nan] * 3, [4, 5, 6]])
    places.join(view, index, points)
    np.testing.assert_array_equal(places.points(view, index), points)
    assert np.isnan(places.points(np.array([1, 0]), np.array([5, 4_000_000_000]))).all()
    assert places.points(view[:0], index[:0]).shape == (0, 3)


def test_landmark_map_forgets_old_keyframes_but_never_the_reference():
    places = LandmarkMap()
    for number in range(REMEMBERED + 3):
        places.join(np.array([number]), np.array([0]), np.ones((1, 3)))
    known = np.isfinite(places.points(np.arange(REMEMBERED + 3), np.zeros(REMEMBERED + 3, int))[:, 0])
    assert known[0] and not known[1:3].any() and known[3:].all()


def test_pixels_go_back_to_the_reference_by_the_inverse_warp():
    """Of a bent and turned sheet; what lies in front of it or beside it does not."""
    now = RolledSheet(0.25, turn((0, 0, 1), 25))
    reference_xy, current_xy = now.pairs()
    depth = now.depth()
    depth[:60] = 0.5                                    # something hides its upper part
    tracker = SurfaceTracker()
    extractor = ViewBoundFeatures()
    still = FeatureTracker(extractor).process((RolledSheet(), 0), 0).matches
    tracker.process(still, RolledSheet().depth(), CAMERA)
    registration = tracker.registration
    registration.register(depth, reference_xy, current_xy)
    found = registration.to_reference(current_xy)
    hidden = current_xy[:, 1] < 62
    truth = CAMERA.lift(reference_xy, np.full(len(reference_xy), DISTANCE))
    shown = current_xy[:, 1] > 66
    assert np.isnan(found[hidden]).all() and np.isfinite(found[shown]).mean() > 0.95
    assert np.nanmax(np.linalg.norm(found - truth, axis=1)) < 1.5e-3
    assert np.isnan(registration.to_reference(np.array([[2.0, 200.0]]))).all()


def test_points_and_pixels_register_alike():
    now = RolledSheet(0.25, turn((0, 0, 1), 25))
    tracker = SurfaceTracker()
    tracker.process(FeatureTracker(ViewBoundFeatures()).process((RolledSheet(), 0), 0).matches, RolledSheet().depth(), CAMERA)
    reference_xy, current_xy = now.pairs()
    points = tracker.registration.reference_points(reference_xy)
    points[3] = np.nan
    result = tracker.registration.register_pixels(now.depth(), points, current_xy)
    assert result.status == "tracked" and len(result.inlier) == len(points) and not result.inlier[3] and result.inlier.sum() > 140
    with pytest.raises(ValueError, match=r"\(M, 3\) and \(M, 2\)"):
        tracker.registration.register_pixels(now.depth(), points[:5], current_xy)
