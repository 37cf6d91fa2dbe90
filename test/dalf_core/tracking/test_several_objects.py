"""Three pictures moved about in one image: each is matched where it is, and DALF looks once for all."""
from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dalf_core import DALF
from dalf_core.templates.template import Template
from dalf_core.tracking import match_carrier
from dalf_core.tracking.background_tracker import background_executor
from dalf_core.tracking.several_objects import SeveralObjects

from ..feature_fixtures import textured

SIZE = (160, 120)
NAMES = ("left", "right", "below")
PLACES = np.array([[20, 16], [264, 30], [140, 190]])
PERIOD_NS = 100_000_000


class Counted:
    """A DALF that counts its looks."""

    def __init__(self, dalf: DALF) -> None:
        self._dalf, self.looks = dalf, 0

    def __getattr__(self, name: str):
        return getattr(self._dalf, name)

    def extract(self, image, mask=None):
        self.looks += 1
        return self._dalf.extract(image, mask)


@pytest.fixture(scope="module")
def dalf() -> DALF:
    return DALF(weights="light", top_k=1500)


@pytest.fixture
def counted(dalf: DALF) -> Counted:
    return Counted(dalf)


@pytest.fixture
def objects(counted: Counted) -> Iterator[SeveralObjects]:
    templates = {name: (Template(name, textured(*SIZE, seed=number)).with_features(counted), 1 + number)
                 for number, name in enumerate(NAMES)}
    executor = background_executor()
    made = SeveralObjects(counted, templates, executor)
    yield made
    executor.shutdown()
    made.close()


def image_of(shift: np.ndarray, without: str = "") -> np.ndarray:
    """All three pictures on grey, each moved by shift from its place, one of them left out."""
    image = np.full((340, 460, 3), 110, np.uint8)
    for number, (name, (x, y)) in enumerate(zip(NAMES, PLACES + shift)):
        if name != without:
            image[y:y + SIZE[1], x:x + SIZE[0]] = textured(*SIZE, seed=number)
    return image


def look(objects: SeveralObjects) -> dict:
    """What DALF finds, once it has looked for all of them."""
    deadline = time.monotonic() + 60
    while any(lane.is_looking for lane in objects.lanes.values()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return objects.collect()


def places(results: list, place: np.ndarray) -> np.ndarray:
    """How far verified matches are from where they are, pixels: (M,)."""
    pairs = results[-1].frame.matches
    good = pairs.matches.inlier
    return np.linalg.norm(pairs.query_xy[good] - pairs.reference_xy[good] - place, axis=1)


def test_each_is_matched_where_it_is_and_an_image_is_looked_at_once(objects: SeveralObjects, counted: Counted) -> None:
    begun = counted.looks
    shift = np.zeros(2, int)
    for number in range(4):
        shift = np.array([3 * number, 2 * number])
        results = objects.process(image_of(shift), (10 + number) * PERIOD_NS)
        assert set(results) == set(NAMES)
        look(objects)
        assert counted.looks - begun <= 1 + number + 3 * 1        # the first image may be looked at again for each: little is known
    late = counted.looks
    results = objects.process(image_of(shift), 14 * PERIOD_NS)
    look(objects)
    assert counted.looks == late + 1
    for name, place in zip(NAMES, PLACES):
        off = places(results[name], place + shift)
        assert 30 <= len(off) <= 250 and np.median(off) < 0.5 and np.mean(off < 2) > 0.95, name
        assert results[name][-1].frame.matches.template == name
        assert results[name][-1].frame.matches.reference_stamp_ns == 1 + NAMES.index(name)


def test_what_is_the_same_for_all_is_done_once_an_image(objects: SeveralObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    objects.process(image_of(np.zeros(2, int)), 10 * PERIOD_NS)
    look(objects)
    objects.process(image_of(np.array([1, 1])), 11 * PERIOD_NS)
    look(objects)
    gate, calls = threading.Event(), Counter()
    objects.lanes["left"]._executor.submit(gate.wait)       # what DALF does is not counted

    def counted(name: str, real: Callable) -> Callable:
        def called(*arguments: np.ndarray) -> object:
            calls[name] += 1
            return real(*arguments)
        return called

    monkeypatch.setattr(match_carrier, "pyramid", counted("pyramid", match_carrier.pyramid))
    shift = np.array([5, 4])
    objects._each(lambda name: objects.lanes[name].collect())       # they bring what was found forward
    calls.clear()
    results = objects.process(image_of(shift), 12 * PERIOD_NS)
    gate.set()
    assert calls == {"pyramid": 1}
    assert all(np.median(places(results[name], place + shift)) < 0.5 for name, place in zip(NAMES, PLACES))
    look(objects)


def test_an_image_of_another_size(objects: SeveralObjects) -> None:
    for number, image in enumerate((image_of(np.zeros(2, int)), image_of(np.array([2, 2]))[:330, :450], image_of(np.array([3, 1])))):
        results = objects.process(image, (10 + number) * PERIOD_NS)
        look(objects)
    assert all(np.median(places(results[name], place + [3, 1])) < 0.5 for name, place in zip(NAMES, PLACES))


def test_one_that_is_not_there_has_no_matches(objects: SeveralObjects) -> None:
    for number in range(3):
        results = objects.process(image_of(np.zeros(2, int), without="right"), (10 + number) * PERIOD_NS)
        look(objects)
    counts = {name: int(results[name][-1].frame.matches.matches.inlier.sum()) for name in NAMES}
    assert counts["right"] < 8 and min(counts["left"], counts["below"]) >= 30


def test_none_begins_with_another_image_while_one_still_looks(objects: SeveralObjects) -> None:
    """They stay in step: those that are done wait for the last one, and all look at the same image again."""
    objects._threads = ThreadPoolExecutor(1)        # so that the slow one comes last to the one thread of DALF
    slow, go_on = objects.trackers[NAMES[-1]], threading.Event()
    process = slow.process
    slow.process = lambda *arguments, **options: (go_on.wait(60), process(*arguments, **options))[1]
    objects.process(image_of(np.zeros(2, int)), 10 * PERIOD_NS)
    done = [objects.lanes[name] for name in ("left", "right")]
    deadline = time.monotonic() + 60
    while any(lane.is_looking for lane in done):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    objects.process(image_of(np.zeros(2, int)), 11 * PERIOD_NS)
    assert not any(lane.is_looking for lane in done) and objects.lanes["below"].is_looking
    go_on.set()
    look(objects)
    image = image_of(np.zeros(2, int))
    objects.process(image, 12 * PERIOD_NS)
    assert all(lane._looked_at[0] is image for lane in objects.lanes.values())
    look(objects)


def test_a_reset_keeps_the_templates(objects: SeveralObjects) -> None:
    objects.process(image_of(np.zeros(2, int)), 10 * PERIOD_NS)
    objects.reset()
    for number in range(2):
        results = objects.process(image_of(np.array([9, 5])), (20 + number) * PERIOD_NS)
        look(objects)
    results = objects.process(image_of(np.array([9, 5])), 30 * PERIOD_NS)
    assert all(np.median(places(results[name], place + [9, 5])) < 0.5 for name, place in zip(NAMES, PLACES))
