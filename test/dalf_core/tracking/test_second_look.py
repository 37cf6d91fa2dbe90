"""Where the trackers look again, and where they must not, with an extractor that needs no weights; and with DALF on a real pair."""
from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

from dalf_core import DALF, Features
from dalf_core.image_matching.second_look import verified_matches
from dalf_core.matching.verification import MIN_VERIFIED
from dalf_core.tracking import BackgroundTracker, FeatureFrame, FeatureTracker, MatchCarrier, SequentialTracker
from dalf_core.tracking.background_tracker import background_executor
from dalf_core.tracking.match_carrier import detections_of
from dalf_core.tracking.template_tracking import TemplateFrame, TemplateTracker

from ..feature_fixtures import textured
from ..image_matching.patches import SIZE, PatchExtractor, turned

A = textured(*SIZE)
B, BACK = turned(A, 14)
FAR_TURNED, FAR_BACK = turned(A, 20)                # so far that the first look alone makes it a keyframe


def after_a(extractor: PatchExtractor, **options) -> FeatureTracker:
    """A tracker whose reference is A, and that has asked for nothing since."""
    tracker = FeatureTracker(extractor, **options)
    tracker.process(A, 1)
    extractor.asked.clear()
    return tracker


def errors(frame: FeatureFrame, back=BACK) -> np.ndarray:
    """Pixels of A, of the verified matches."""
    good = frame.matches.matches.inlier
    return np.linalg.norm(back(frame.matches.query_xy[good]) - frame.matches.reference_xy[good], axis=1)


def verified(frame: FeatureFrame) -> int:
    return int(frame.matches.matches.inlier.sum())


def test_what_is_little_matched_is_looked_at_again() -> None:
    extractor = PatchExtractor()
    one, two = (after_a(extractor, second_look=second_look).process(B, 2) for second_look in ("never", "auto"))
    assert len(extractor.asked) == 2 and "second_look" in two.milliseconds and "second_look" not in one.milliseconds
    assert verified(two) > 1.3 * verified(one) >= 1.3 * MIN_VERIFIED
    assert np.median(errors(two)) < 0.25 and (errors(two) < 1.5).mean() > 0.97


def test_features_of_the_second_look_stand_behind_those_of_the_first() -> None:
    one, two = (after_a(PatchExtractor(), second_look=second_look).process(B, 2) for second_look in ("never", "auto"))
    count, pairs = len(one.features), two.matches
    assert len(two.features) > count and two.features.image_size == SIZE
    for name in ("keypoints", "scores", "descriptors", "scales"):
        assert np.array_equal(getattr(two.features, name)[:count], getattr(one.features, name))
    assert np.array_equal(two.features.keypoints[pairs.matches.query_index], pairs.query_xy)
    assert len(np.unique(pairs.matches.query_index)) == len(pairs.matches) and (pairs.matches.query_index >= count).any()


def test_once_is_enough_where_patches_look_alike_or_most_is_matched(monkeypatch) -> None:
    extractor = PatchExtractor()
    after_a(extractor).process(np.roll(A, (5, 9), axis=(0, 1)), 2)
    assert len(extractor.asked) == 1
    monkeypatch.setattr("dalf_core.tracking.feature_tracker.WEAK", 0.05)
    after_a(extractor).process(B, 2)
    assert len(extractor.asked) == 1


def test_once_is_enough_where_the_caller_has_no_time() -> None:
    extractor = PatchExtractor()
    after_a(extractor).process(B, 2, again=False)
    assert len(extractor.asked) == 1


def test_another_thing_is_not_looked_at_again_and_nothing_is_found_in_it() -> None:
    for seed in range(1, 9):
        extractor = PatchExtractor()
        frame = after_a(extractor).process(textured(*SIZE, seed=seed), 2)
        assert verified(frame) < MIN_VERIFIED and len(extractor.asked) == 1


def test_keypoints_stay_on_the_mask_and_in_the_region() -> None:
    extractor = PatchExtractor()
    tracker = after_a(extractor)
    mask = np.zeros((SIZE[1] // 2, SIZE[0] // 2), np.uint8)            # of another resolution
    mask[20:110, 20:130] = 1
    frame = tracker.process(B, 2, mask)
    off = 2.5                                   # corners are refined after they are found on the mask
    x, y = frame.features.keypoints.T
    assert len(extractor.asked) == 2 and x.min() > 40 - off and x.max() < 260 + off and y.min() > 40 - off and y.max() < 220 + off
    assert len(x) > 400
    tracker.region = (80, 60, 150, 120)
    extractor.asked.clear()
    frame = tracker.process(FAR_TURNED, 3, mask)
    x, y = frame.features.keypoints.T
    assert x.min() > 80 - off and x.max() < 230 + off and y.min() > 60 - off and y.max() < 180 + off
    assert np.median(errors(frame, FAR_BACK)) < 0.25
    first, second = extractor.asked
    assert first.shape[:2] == (120, 150) and 120 < second.shape[0] < SIZE[1] and 150 < second.shape[1] < SIZE[0]   # no more than needed


def test_the_second_look_is_as_large_as_the_first() -> None:
    extractor = PatchExtractor()
    frame = after_a(extractor, image_scale=2.0).process(B, 2)
    assert [picture.shape[:2] for picture in extractor.asked] == [(480, 640)] * 2
    assert frame.features.image_size == SIZE and np.median(errors(frame)) < 0.25


def test_what_scores_too_little_is_left_out_of_both_looks() -> None:
    tracker = after_a(ScoredPatches())
    tracker.min_score = 0.5
    scores = tracker.process(FAR_TURNED, 2).features.scores
    assert len(scores) > 300 and scores.min() >= 0.5


class ScoredPatches(PatchExtractor):
    """Scores fall from 1 to 0."""

    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        found = super().extract(image, mask)
        return Features(found.keypoints, np.linspace(1, 0, len(found), dtype=np.float32), found.descriptors, found.image_size)


def test_the_image_before_is_matched_by_first_looks() -> None:
    tracker = after_a(PatchExtractor())
    tracker.process(B, 2)
    frame = tracker.process(B, 3, to_previous=True)
    pairs = frame.previous.matches
    assert len(pairs) > 300 and np.array_equal(pairs.query_index, pairs.reference_index)
    assert np.array_equal(frame.features.keypoints[pairs.query_index], frame.previous.query_xy)


def test_a_keyframe_keeps_the_features_of_its_own_look(monkeypatch) -> None:
    """Made of an image that was looked at twice, it must be matched by the next image like it, and be carried by all its keypoints."""
    monkeypatch.setattr("dalf_core.matching.keyframes.PLENTY", 1000)
    monkeypatch.setattr("dalf_core.matching.keyframes.ENOUGH", 0.9)
    extractor, alone = PatchExtractor(), PatchExtractor()
    tracker = after_a(extractor)
    frame = tracker.process(FAR_TURNED, 2)
    own = alone.extract(FAR_TURNED)
    named = frame.matches.keyframes
    assert len(extractor.asked) == 2 and len(frame.features) > len(own) and set(named.keyframe) == {1}
    assert np.array_equal(named.query_xy, own.keypoints) and np.array_equal(named.index, np.arange(len(own)))
    seen = tracker.process(FAR_TURNED, 3, again=False).matches.keyframes
    assert len(seen) > 300 and np.abs(seen.query_xy - own.keypoints[seen.index]).max() < 1e-3       # two of its corners nearly coincide
    carrier = MatchCarrier()
    reference = FeatureTracker(alone).process(A, 1)
    carrier.renew(reference, A, frozenset(), detections_of(reference.matches), carrier.carried)
    carrier.renew(frame, FAR_TURNED, tracker.keyframes.numbers, detections_of(frame.matches), carrier.carried)
    again = carrier.carry(FAR_TURNED, 3).keyframes
    assert len(again) > 100 and np.abs(again.query_xy - own.keypoints[again.index]).max() < 0.5


def test_keypoints_of_the_second_look_count_when_a_keyframe_would_be_made() -> None:
    made = [len(after_a(PatchExtractor(), second_look=look).process(FAR_TURNED, 2).matches.keyframes) for look in ("never", "auto")]
    assert made[0] > 400 and made[1] == 0


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="second_look must be one of auto, never, not 'always'"):
        FeatureTracker(PatchExtractor(), second_look="always")


def test_images_that_are_only_carried_to_are_not_looked_at() -> None:
    extractor = PatchExtractor()
    tracker = SequentialTracker(FeatureTracker(extractor), look_every=1000)
    for k in range(8):
        frame = tracker.process(turned(A, 2 * k)[0], k)
    assert len(extractor.asked) == 1 and verified(frame) > 200


def test_of_a_recording_only_what_little_is_carried_to_is_looked_at_again() -> None:
    extractor = PatchExtractor()
    tracker = SequentialTracker(FeatureTracker(extractor, max_keyframes=0))
    for k in range(8):
        tracker.process(turned(A, 2 * k)[0], k)
    assert len(extractor.asked) == 8            # though little is matched in the last of them
    tracker.process(textured(*SIZE, seed=5), 8)
    assert len(extractor.asked) == 9
    frame = tracker.process(B, 9)               # after a cut
    assert len(extractor.asked) == 11 and verified(frame) > 250


class Threads(PatchExtractor):
    """Remembers which threads have asked; the first look at a picture waits for a signal."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.go = threading.Semaphore(0)

    def extract(self, image: np.ndarray, mask: np.ndarray | None = None) -> Features:
        self.names.append(threading.current_thread().name)
        if not self.names[-1].startswith("DALF"):
            raise AssertionError("an image callback must not wait for an extraction")
        assert self.go.acquire(timeout=60)
        return super().extract(image, mask)


def test_live_images_never_wait_and_are_looked_at_again_only_when_little_is_carried() -> None:
    extractor, found, executor = Threads(), threading.Event(), background_executor()
    tracker = BackgroundTracker(FeatureTracker(extractor, max_keyframes=0), executor, found.set)

    def look(image: np.ndarray, stamp_ns: int, looks: int) -> None:
        """DALF looks at the image, so often; images that come meanwhile are carried to, at once."""
        found.clear()
        tracker.process(image, stamp_ns)
        for k in range(1, 4):
            tracker.process(image, stamp_ns + k)
        before = len(extractor.names)
        for _ in range(looks):
            extractor.go.release()
        assert found.wait(60)
        assert len(extractor.names) - before <= looks and not extractor.go.acquire(blocking=False)
        tracker.collect()

    try:
        look(A, 0, 1)
        for k in range(1, 8):               # carried there: one look is enough, though little is matched
            look(turned(A, 2 * k)[0], 100 * k, 1)
        look(textured(*SIZE, seed=5), 1000, 1)
        look(B, 2000, 2)                    # lost meanwhile: now it pays
    finally:
        extractor.go.release(100)
        executor.shutdown(cancel_futures=True)


def after_a_cut(tracker: TemplateTracker) -> TemplateFrame:
    assert tracker.process(textured(*SIZE, seed=5)).method == "lost"
    return tracker.process(B)


def test_a_film_is_found_again_by_both_looks() -> None:
    one, two = (after_a_cut(TemplateTracker(PatchExtractor(), A, second_look=second_look)) for second_look in ("never", "auto"))
    assert two.verified > 1.3 * one.verified and two.used > 1.1 * one.used
    y, x = np.nonzero(two.warp.support)
    xy = np.stack([x, y], axis=1)[::37].astype(float)
    assert np.median(np.linalg.norm(BACK(two.warp.image_positions(xy)) - xy, axis=1)) < 0.3


def test_a_real_cloth_bent_and_turned_is_found_by_a_second_look(data_folder) -> None:
    pictures = [cv2.resize(cv2.imread(str(data_folder / f"dalf/kanagawa_{k}.png")), SIZE, interpolation=cv2.INTER_AREA) for k in (1, 2)]
    dalf = DALF(device="cpu", top_k=400, precision="float32")
    reference = dalf.extract(pictures[0])
    single = int(verified_matches(reference, dalf.extract(pictures[1])).inlier.sum())
    tracker = FeatureTracker(dalf)
    tracker.process(pictures[0], 1)
    frame = tracker.process(pictures[1], 2)
    assert single >= MIN_VERIFIED and verified(frame) > 1.3 * single
