"""DALF's looks and what is carried between them, on a real picture that moves by known pixels."""
from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dalf_core import DALF
from dalf_core.matching.carrying import NOTHING, Carried, LandmarkCarrier
from dalf_core.matching.prediction import Prediction
from dalf_core.tracking import BackgroundTracker, FeatureTracker, MatchCarrier, SequentialTracker
from dalf_core.tracking.background_tracker import MOST, NICE, _Images, _Interval, background_executor
from dalf_core.tracking.match_carrier import Detections, detections_of, gray, levels_of, united

STEP_NS = 33_000_000


@pytest.fixture(scope="module")
def dalf() -> DALF:
    return DALF(device="cpu", top_k=500, precision="float32")


@pytest.fixture(scope="module")
def picture(data_folder) -> np.ndarray:
    return cv2.resize(cv2.imread(str(data_folder / "dalf/kanagawa_1.png")), (320, 240), interpolation=cv2.INTER_AREA)


def moved(picture: np.ndarray, k: int) -> np.ndarray:
    """Shifted by two pixels an image to the right."""
    return cv2.warpAffine(picture, np.float32([[1, 0, 2 * k], [0, 1, 0]]), picture.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def test_an_object_is_held_while_half_of_it_is_carried() -> None:
    carrier = MatchCarrier()
    assert not carrier.is_held
    carrier._most_found = 40        # more than half of it, of at least ten
    for count, held in ((20, True), (19, False)):
        carrier.carried = replace(NOTHING, view=np.zeros(count, np.int64), index=np.zeros(count, np.int64))
        assert len(carrier.carried) == count and carrier.is_held == held and carrier.is_poor
    carrier._most_found = 8
    carrier.carried = replace(NOTHING, view=np.zeros(8, np.int64), index=np.zeros(8, np.int64))
    assert not carrier.is_held


def motion(matches) -> np.ndarray:
    return matches.query_xy - matches.reference_xy


def test_dalf_in_the_first_image_only(dalf, picture) -> None:
    tracker = SequentialTracker(FeatureTracker(dalf), look_every=1000)
    first = tracker.process(picture, 0)
    for k in range(1, 16):
        frame = tracker.process(moved(picture, k), k * STEP_NS)
        off = np.abs(motion(frame.matches) - (2 * k, 0)).max(axis=1)
        assert frame.features is None and len(off) > 0.6 * len(first.matches.matches)
        assert np.mean(off < 0.3) > 0.97 and off.max() < 4
        assert np.allclose(frame.matches.age_s, k * STEP_NS / 1e9)


def test_every_image_has_what_dalf_finds_and_what_is_carried(dalf, picture) -> None:
    tracker, alone = SequentialTracker(FeatureTracker(dalf)), FeatureTracker(dalf)
    for k in range(3):
        both, found = (t.process(moved(picture, k), k * STEP_NS) for t in (tracker, alone))
    count = len(found.matches.matches)
    assert np.array_equal(both.matches.query_xy[:count], found.matches.query_xy)        # untouched, and in front
    assert (both.matches.age_s[:count] == 0).all() and (both.matches.age_s[count:] > 0).all()
    assert (both.matches.matches.query_index[count:] == -1).all()
    good = both.matches.matches.reference_index[both.matches.matches.inlier]
    assert len(good) == len(set(good.tolist())) > found.matches.matches.inlier.sum()
    assert np.mean(np.abs(motion(both.matches)[both.matches.matches.inlier] - (4, 0)).max(axis=1) < 1.5) > 0.98


@pytest.mark.parametrize("every, looks", [(1, 7), (3, 3), (0, 1)])
def test_how_often_dalf_looks(dalf, picture, every: int, looks: int) -> None:
    tracker = SequentialTracker(FeatureTracker(dalf), every)
    frames = [tracker.process(moved(picture, k), k * STEP_NS) for k in range(7)]
    assert sum(frame.features is not None for frame in frames) == looks


def test_auto_looks_again_where_little_is_carried(dalf, picture) -> None:
    tracker = SequentialTracker(FeatureTracker(dalf), 0)
    tracker.process(picture, 0)
    other = np.full_like(picture, 90)
    other[::7] = 200

    def looks(image: np.ndarray, stamps: range) -> list[int]:
        return [k for k in stamps if tracker.process(image, k * STEP_NS).features is not None]

    assert looks(other, range(1, 17)) == [1, 3, 7, 15]      # at once; and less and less often while that is in vain,
    assert looks(picture, range(17, 30)) == [23]            # which it no longer is there:
    assert looks(other, range(30, 34)) == [30, 32]          # it begins anew
    with pytest.raises(ValueError, match="look_every"):
        SequentialTracker(FeatureTracker(dalf), -1)


def test_what_is_carried_wrong_is_dropped_by_what_dalf_finds(dalf, picture) -> None:
    features, carrier = FeatureTracker(dalf), MatchCarrier()
    first = features.process(picture, 0)
    carrier.renew(first, picture, frozenset(), detections_of(first.matches), NOTHING)
    carrier.carry(picture, 0)
    second = features.process(moved(picture, 5), STEP_NS)
    right = carrier.carry(moved(picture, 5), STEP_NS)
    assert not carrier.renew(second, moved(picture, 5), frozenset(), detections_of(second.matches), carrier.carried)
    assert len(right.matches) > 100
    astray = replace(carrier.carried, xy=carrier.carried.xy + np.float32([9, 0]))
    assert carrier.renew(second, moved(picture, 5), frozenset(), detections_of(second.matches), astray)
    # predictions up to that image are not used any more
    carrier.carry(np.full_like(picture, 90), 2 * STEP_NS)
    index = np.arange(len(first.features))
    told = [Prediction(stamp, 0, 0 * index, index, first.features.keypoints + np.float32([12, 0]), np.ones(len(index), bool))
            for stamp in (STEP_NS, 2 * STEP_NS)]
    assert len(carrier.carry(moved(picture, 6), 3 * STEP_NS, prediction=told[0]).matches) == 0
    assert len(carrier.carry(moved(picture, 6), 4 * STEP_NS, prediction=told[1]).matches) > 100
    few = astray.__class__(*(value[:9] for value in vars(astray).values()))
    assert not carrier.renew(second, moved(picture, 5), frozenset(), detections_of(second.matches), few)


def test_detections_are_brought_forward(picture) -> None:
    xy = np.stack(np.meshgrid(np.arange(60.0, 200, 20), np.arange(60.0, 180, 20)), axis=-1).reshape(-1, 2).astype(np.float32)
    found = Detections(np.zeros(len(xy), np.int64), np.arange(len(xy)), xy)
    now = found.forward([levels_of(moved(picture, k)).images[1] for k in range(6)])
    assert np.median(np.abs(now.xy - xy - (10, 0)).max(axis=1)) < 0.3 and np.array_equal(now.index, found.index)


def test_what_is_carried_already_is_not_brought_forward(picture) -> None:
    xy = np.stack(np.meshgrid(np.arange(60.0, 200, 20), np.arange(60.0, 180, 20)), axis=-1).reshape(-1, 2).astype(np.float32)
    index = np.arange(len(xy))
    found = Detections(np.zeros(len(xy), np.int64), index, xy)
    half = Carried(0 * index[::2], index[::2], xy[::2] + np.float32(1), np.ones(len(index[::2]), np.float32), np.zeros(len(index[::2])))
    images = [levels_of(moved(picture, k)).images[1] for k in range(3)]
    left, all_of_them = found.without(half).forward(images), found.forward(images)
    assert np.isnan(left.xy[::2]).all() and np.array_equal(left.index, index)
    assert np.array_equal(left.xy[1::2], all_of_them.xy[1::2]) and np.isfinite(left.xy[1::2]).all()
    astray = replace(half, xy=half.xy + np.float32(30))
    assert np.array_equal(found.without(astray).xy, xy)         # contradicted: all are needed


def test_places_left_open_change_nothing(picture) -> None:
    xy = np.stack(np.meshgrid(np.arange(60.0, 200, 10), np.arange(60.0, 180, 10)), axis=-1).reshape(-1, 2).astype(np.float32)
    index, landmarks = np.arange(len(xy)), LandmarkCarrier()
    landmarks.add_view(0, gray(picture), xy)
    landmarks.detected(0 * index, index, xy, 0)
    landmarks.carry(gray(picture), 1)
    open_places = np.full_like(xy, np.nan)
    landmarks.detected(0 * index, index, open_places, 2 * STEP_NS)
    now = landmarks.carry(gray(picture), 2 * STEP_NS)
    assert len(now) > 0.8 * len(xy) and np.abs(now.xy - xy[now.index]).max() < 0.5
    assert (now.age_s == 0).all()                               # DALF has found them, too
    landmarks.carry(np.full_like(gray(picture), 90), 3 * STEP_NS)     # all lost
    landmarks.detected(0 * index, index, open_places, 3 * STEP_NS)
    assert len(landmarks.carry(gray(picture), 4 * STEP_NS)) == 0
    open_places[::2] = xy[::2]                                  # beside open ones, the others are found as well as alone
    landmarks.detected(0 * index, index, open_places, 4 * STEP_NS)
    assert not landmarks._views[0].detected[1::2].any() and landmarks._views[0].detected[::2].all()
    assert len(landmarks.carry(gray(picture), 5 * STEP_NS)) > 0.7 * len(xy)


def test_united_keeps_dalfs_where_both_have_one(dalf, picture) -> None:
    features, carrier = FeatureTracker(dalf), MatchCarrier()
    first = features.process(picture, 0)
    carrier.renew(first, picture, frozenset(), detections_of(first.matches), NOTHING)
    carried, found = carrier.carry(moved(picture, 1), STEP_NS), features.process(moved(picture, 1), STEP_NS).matches
    both = united(found, carried)
    reference = both.matches.reference_index[both.matches.inlier]
    assert len(reference) == len(np.union1d(found.matches.reference_index[found.matches.inlier], carried.matches.reference_index))


# ---------------------------------------------------------------- in the background

@pytest.fixture
def executor():
    made = background_executor()
    yield made
    made.shutdown(cancel_futures=True)


def wait(tracker: BackgroundTracker, found: threading.Event):
    assert found.wait(60)
    found.clear()
    return tracker.collect()


def test_the_reference_comes_without_a_second_image(dalf, picture, executor) -> None:
    found = threading.Event()
    tracker = BackgroundTracker(FeatureTracker(dalf), executor, found.set)
    assert tracker.process(picture, 5) == []
    result, = wait(tracker, found)
    assert (result.stamp_ns, result.frame.matches.reference_stamp_ns) == (5, 5)
    assert len(result.frame.features) == len(result.frame.matches.matches) > 300
    carried, = tracker.process(moved(picture, 1), 5 + STEP_NS)
    assert carried.frame.features is None and np.abs(np.median(motion(carried.frame.matches), axis=0) - (2, 0)).max() < 0.05


@pytest.mark.parametrize("catches_up", [3, 100])        # on DALF's thread, or where its results are taken
def test_images_that_come_while_dalf_looks_are_caught_up_with(dalf, picture, executor, monkeypatch, catches_up: int) -> None:
    monkeypatch.setattr("dalf_core.tracking.background_tracker.CATCHES_UP", catches_up)
    found, gate = threading.Event(), threading.Event()
    executor.submit(gate.wait)                  # DALF begins late
    tracker = BackgroundTracker(FeatureTracker(dalf), executor, found.set)
    for k in range(12):
        assert tracker.process(moved(picture, k), k * STEP_NS) == []
    gate.set()
    assert found.wait(60)
    reference, carried = tracker.process(moved(picture, 12), 12 * STEP_NS)
    assert reference.stamp_ns == 0 and carried.stamp_ns == 12 * STEP_NS
    off = np.abs(motion(carried.frame.matches) - (24, 0)).max(axis=1)
    assert len(off) > 200 and np.mean(off < 0.3) > 0.97
    assert np.allclose(carried.frame.matches.age_s, 12 * STEP_NS / 1e9)


def test_of_what_dalf_looked_at_before_a_reset_nothing_is_used(dalf, picture, executor) -> None:
    found = threading.Event()
    tracker = BackgroundTracker(FeatureTracker(dalf), executor, found.set)
    tracker.process(picture, 1)
    tracker.reset()
    assert wait(tracker, found) == []
    assert tracker.process(moved(picture, 4), 2) == []
    result, = wait(tracker, found)
    assert result.frame.matches.reference_stamp_ns == 2


def test_what_dalf_cannot_use_is_told(dalf, picture, executor) -> None:
    found = threading.Event()
    tracker = BackgroundTracker(FeatureTracker(dalf), executor, found.set)
    tracker.process(np.full_like(picture, 7), 1)
    result, = wait(tracker, found)
    assert result.frame is None and "constant" in result.problem
    tracker.process(picture, 2)
    assert wait(tracker, found)[0].frame.matches.stamp_ns == 2


def test_dalfs_thread_has_low_priority(executor: ThreadPoolExecutor) -> None:
    import os

    usual = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert executor.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result() == min(19, usual + NICE)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == usual


def test_images_are_thinned_but_never_the_ends(monkeypatch) -> None:
    monkeypatch.setattr("dalf_core.tracking.background_tracker.KEPT_BYTES", 40)
    images = _Images()
    for k in range(1, 30):
        images.add(np.full((2, 2), k, np.uint8))
        kept, last = images.after(1)
        assert kept[0][0, 0] == 1 and kept[-1][0, 0] == k == last and len(kept) <= 10
    assert [image[0, 0] for image in images.after(28)[0]][-1] == 29


def test_a_slow_machine_carries_fewer_keypoints() -> None:
    interval, most = _Interval(), 500
    for k in range(8):
        most = interval.affordable(k * STEP_NS, 0.032, most, MOST)
    assert 300 < most < 400
    for k in range(8, 12):
        most = interval.affordable(k * STEP_NS, 0.032, most, MOST)
    assert most == 300
    for k in range(12, 40):
        most = interval.affordable(k * STEP_NS, 0.010, most, MOST)
    assert most == 500


def test_time_of_carrying_does_not_hang_on_dalf(dalf, picture, executor) -> None:
    """process() never waits for DALF's thread, however long that takes."""
    gate = threading.Event()
    tracker = BackgroundTracker(FeatureTracker(dalf), executor)
    executor.submit(gate.wait)
    try:
        started = time.monotonic()
        for k in range(5):
            tracker.process(moved(picture, k), k)
        assert time.monotonic() - started < 30      # it would wait for ever
    finally:
        gate.set()
