"""The tracker on a template that moves by a known map; the extractor is a stand-in that knows the map."""
from __future__ import annotations

import cv2
import numpy as np
import pytest

from dalf_core import options
from dalf_core.tracking.template_tracking import TemplateTracker
from dalf_core.types import Features

from ..feature_fixtures import textured

SIZE = (320, 240)
TEMPLATE = textured(*SIZE)
COUNT = 300


def to_template(xy: np.ndarray, phase: float) -> np.ndarray:
    """Image pixels to template pixels in the frame of this phase; phase 0 is the template itself."""
    return xy + phase * np.stack([np.sin(xy[:, 1] / 50) * 12 + 15, np.cos(xy[:, 0] / 45) * 9], axis=1)


def image_at(phase: float) -> np.ndarray:
    pixels = np.stack(np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1])), axis=-1).reshape(-1, 2).astype(float)
    grid = to_template(pixels, phase).reshape(SIZE[1], SIZE[0], 2).astype(np.float32)
    return cv2.remap(TEMPLATE, grid, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


class Extractor:
    """Gives each frame the keypoints at the template's keypoints' true places. `alike`: so many share each descriptor."""

    def __init__(self, alike: int = 1) -> None:
        rng = np.random.default_rng(0)
        self.template_xy = rng.uniform(8, np.array(SIZE) - 8.0, (COUNT, 2))
        kinds = rng.normal(size=(COUNT // alike, 64))
        self.descriptors = kinds[rng.permutation(COUNT) % len(kinds)]
        self.noise = rng.normal(0, 0.3, (COUNT, 2))
        self.phase, self.looks = 0.0, 0

    def extract(self, image: np.ndarray, mask: None = None) -> Features:
        self.looks += 1
        xy = self.template_xy.copy()
        for _ in range(30):                                  # the inverse of to_template, by fixed point
            xy = self.template_xy - (to_template(xy, self.phase) - xy)
        descriptors = self.descriptors + np.random.default_rng(int(self.phase * 100) + 1000).normal(0, 0.1, self.descriptors.shape)
        descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
        xy = xy if self.phase == 0 else xy + self.noise
        return Features(xy.astype(np.float32), np.ones(COUNT, np.float32), descriptors.astype(np.float32), SIZE)


def error_of(frame, phase: float) -> np.ndarray:
    """Template pixels, at keypoint places that are supported: through the map and back."""
    y, x = np.nonzero(frame.warp.support)
    xy = np.stack([x, y], axis=1)[::37].astype(float)
    return np.linalg.norm(to_template(frame.warp.image_positions(xy), phase) - xy, axis=1)


def test_frames_are_registered_directly_where_descriptors_tell_keypoints_apart():
    extractor = Extractor()
    tracker = TemplateTracker(extractor, TEMPLATE)
    for phase in (0.2, 1.0, -1.0, 2.0):
        extractor.phase = phase
        frame = tracker.process(image_at(phase))
        assert (frame.method, frame.reason) == ("direct", "")
        assert frame.verified > 0.9 * COUNT and frame.used > 0.9 * COUNT and frame.supported > 0.6
        assert np.median(error_of(frame, phase)) < 0.5 and np.percentile(error_of(frame, phase), 95) < 1.5
        assert frame.zncc > 0.95
        assert set(frame.milliseconds) == {"carry", "extract", "match", "verify", "keyframes", "register", "compare"}


def test_where_descriptors_are_ambiguous_matches_are_carried():
    extractor = Extractor(alike=10)
    tracker = TemplateTracker(extractor, TEMPLATE)
    for phase in (0.3, 0.7, 1.0, 1.3, 1.6, 2.0):
        extractor.phase = phase
        frame = tracker.process(image_at(phase))
        assert frame.method == "tracked" and frame.verified < 20 and frame.carried > 150 and frame.used > 150
        assert np.median(error_of(frame, phase)) < 0.4 and np.percentile(error_of(frame, phase), 95) < 2 and frame.zncc > 0.95
    assert tracker.process(textured(*SIZE, seed=5)).method == "lost"      # nothing is carried any more,
    frame = tracker.process(image_at(2.0))                                # and nothing known of where to look
    assert (frame.method, frame.carried, frame.used) == ("lost", 0, 0) and frame.reason == f"{frame.verified} verified matches, 0 carried"


@pytest.mark.parametrize("every, looks", [(1, 10), (3, 4), (options.AUTO, 1)])
def test_dalf_looks_at_some_frames_only(every, looks):
    """Every third, or the first: the others are registered by what is carried to them, as exactly."""
    extractor = Extractor()
    tracker = TemplateTracker(extractor, TEMPLATE, look_every=every)
    assert extractor.looks == 1                                           # at the template
    for number, phase in enumerate(np.linspace(0.2, 2.0, 10)):
        extractor.phase = phase
        frame = tracker.process(image_at(phase))
        looked = number % every == 0 if every else number == 0
        assert (frame.method, frame.features is not None, frame.matches is not None) == ("direct" if looked else "tracked", looked, looked)
        assert frame.verified > 0.9 * COUNT if looked else frame.verified == 0
        assert looked or frame.carried > 150
        assert np.median(error_of(frame, phase)) < (0.5 if looked else 0.4) and np.percentile(error_of(frame, phase), 95) < 2
    assert extractor.looks == 1 + looks


def test_after_a_cut_auto_finds_the_template_again_by_a_look():
    extractor = Extractor()
    tracker = TemplateTracker(extractor, TEMPLATE, look_every=options.AUTO)
    known, other = extractor.descriptors, np.random.default_rng(9).normal(size=extractor.descriptors.shape)
    methods = []
    for phase in (0.2, 0.4, None, None, 2.0, 2.0, 2.0):
        extractor.phase, extractor.descriptors = (1.05, other) if phase is None else (phase, known)
        methods.append(tracker.process(textured(*SIZE, seed=5) if phase is None else image_at(phase)).method)
    assert methods == ["direct", "tracked", "lost", "lost", "direct", "tracked", "tracked"]


def test_matches_near_a_prediction_count_only_where_the_picture_bears_them_out():
    """Half of the frame shows something else. Its keypoints look like the template's, so near their places they all match."""
    extractor = Extractor(alike=10)
    tracker = TemplateTracker(extractor, TEMPLATE)
    for phase in (0.3, 0.7):
        extractor.phase = phase
        tracker.process(image_at(phase))
    extractor.phase, image = 1.0, image_at(1.0)
    image[:, 160:] = textured(*SIZE, seed=5)[:, 160:]
    warp = tracker.process(image).warp
    placed = warp.image_positions(warp.template_xy[warp.inlier])[:, 0]
    assert (placed < 150).sum() > 80 and (placed > 170).sum() < 10


def test_another_scene_is_lost():
    extractor = Extractor()
    tracker = TemplateTracker(extractor, TEMPLATE)
    extractor.phase = 1.0
    tracker.process(image_at(1.0))
    extractor.descriptors = np.random.default_rng(9).normal(size=extractor.descriptors.shape)
    extractor.phase = 1.05
    frame = tracker.process(textured(*SIZE, seed=5))
    assert frame.method == "lost" and frame.warp is None and np.isnan(frame.zncc) and frame.used == 0 and frame.supported == 0


def test_a_frame_that_shows_nothing_is_lost_and_the_next_is_found():
    extractor = Extractor()
    tracker = TemplateTracker(extractor, TEMPLATE)
    frame = tracker.process(np.full_like(TEMPLATE, 30))
    assert (frame.method, frame.reason) == ("lost", "the image is constant") and len(frame.matches) == 0
    assert tracker.process(TEMPLATE).method == "direct"


def test_a_template_with_too_few_keypoints_is_refused():
    extractor = Extractor()
    with pytest.raises(ValueError, match="300 keypoints"):
        TemplateTracker(extractor, TEMPLATE, min_verified=301)
    with pytest.raises(ValueError, match="at least 6"):
        TemplateTracker(extractor, TEMPLATE, min_verified=2)
