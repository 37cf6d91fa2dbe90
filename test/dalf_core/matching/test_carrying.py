"""Keypoints carried through images of a textured plane whose motion is known exactly."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core.matching.carrying import Carried, LandmarkCarrier
from dalf_core.matching.patch_alignment import pyramid
from dalf_core.matching.prediction import Prediction

from .scenes import affine_view, centre, grid, mapped, turned

STEP_NS = 33_000_000
XY = grid(8.0, 70.0)
VIEW = np.zeros(len(XY), np.int64)
INDEX = np.arange(len(XY))


def carrier(most: int = 800) -> LandmarkCarrier:
    made = LandmarkCarrier(most)
    first = affine_view(np.eye(2), centre())
    made.add_view(0, first, XY)
    made.detected(VIEW, INDEX, XY, 0)
    assert len(made.carry(first, 0)) > 0.9 * min(most, len(XY))
    return made


def pose(k: int) -> tuple[np.ndarray, np.ndarray]:
    return turned(1.5 * k, 1 + 0.004 * k), centre() + 8 * np.sin([0.2 * k, 0.13 * k])


def errors(found: Carried, matrix: np.ndarray, middle: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found.xy - mapped(XY[found.index], matrix, middle), axis=1)


def expected(matrix: np.ndarray, middle: np.ndarray, stamp_ns: int, visible: bool = True) -> Prediction:
    return Prediction(stamp_ns, 0, VIEW, INDEX, mapped(XY, matrix, middle).astype(np.float32), np.full(len(XY), visible))


def test_nothing_drifts_through_a_turn_of_sixty_degrees() -> None:
    made = carrier()
    for k in range(1, 41):
        found = made.carry(affine_view(*pose(k)), k * STEP_NS)
        assert len(found) > 0.9 * len(XY) and errors(found, *pose(k)).max() < 0.25
    assert found.correlation.min() > 0.7
    assert np.allclose(found.age_s, 40 * STEP_NS / 1e9)


def test_a_pyramid_stands_for_its_image() -> None:
    image = affine_view(*pose(2))
    found, expected = carrier().carry(pyramid(image), STEP_NS), carrier().carry(image, STEP_NS)
    assert np.array_equal(found.xy, expected.xy) and len(found) > 0.9 * len(XY)


def test_what_is_covered_is_not_carried_and_comes_back_where_it_is_predicted() -> None:
    made = carrier()
    cover = np.random.default_rng(0).integers(0, 255, (240, 320), np.uint8)
    for k in range(1, 6):
        made.carry(affine_view(*pose(k)), k * STEP_NS)
    for k in range(6, 12):
        assert len(made.carry(cover, k * STEP_NS, expected(*pose(5), (k - 1) * STEP_NS))) == 0
    found = made.carry(affine_view(*pose(7)), 12 * STEP_NS, expected(*pose(5), 11 * STEP_NS))
    assert len(found) > 0.9 * len(XY) and errors(found, *pose(7)).max() < 0.5       # through the affine map of two images before


def test_half_covered() -> None:
    made = carrier()
    image = affine_view(*pose(1)).copy()
    image[:, 160:] = np.random.default_rng(0).integers(0, 255, (240, 160))
    found = made.carry(image, STEP_NS)
    there = mapped(XY, *pose(1))[:, 0]
    assert set(INDEX[there < 145]) <= set(found.index) and not set(INDEX[there > 175]) & set(found.index)


def test_what_passes_in_front_does_not_take_along_what_is_beside_it() -> None:
    """A plain hand sweeps over the plane, faster than that moves; all that it has not reached, or has left, is found."""
    made, width = carrier(), 90
    for k in range(1, 11):
        image, left = affine_view(*pose(k)).copy(), 320 - 40 * k
        image[:, max(left, 0):max(left + width, 0)] = 170
        found = made.carry(image, k * STEP_NS, expected(*pose(k - 1), (k - 1) * STEP_NS))
        there = mapped(XY, *pose(k))[:, 0]
        free = INDEX[(there < left - 20) | (there > left + width + 60)]
        assert np.isin(free, found.index).mean() > 0.99
        assert errors(found, *pose(k))[np.isin(found.index, free)].max() < 0.25


def test_a_wrong_prediction_is_outdone_by_what_the_image_before_showed() -> None:
    made = carrier()
    matrix, middle = pose(1)
    found = made.carry(affine_view(matrix, middle), STEP_NS, expected(matrix, middle + (70, 40), 0))
    assert len(found) > 0.9 * len(XY) and errors(found, matrix, middle).max() < 0.25


def test_of_what_is_lost_a_wrong_prediction_finds_nothing() -> None:
    made = carrier()
    made.carry(np.full((240, 320), 90, np.uint8), STEP_NS)
    assert len(made.carry(affine_view(*pose(1)), 2 * STEP_NS, expected(pose(1)[0], pose(1)[1] + (70, 40), STEP_NS))) == 0


def test_another_picture_shows_nothing_by_chance() -> None:
    for number in range(6):
        made = carrier()
        other = affine_view(np.eye(2), centre() + (1000.0 + 500 * number, 700.0))
        assert len(made.carry(other, STEP_NS, expected(*pose(0), 0))) <= 3


@pytest.mark.parametrize("age_s, found", [(0.4, len(XY)), (0.6, 0)])
def test_of_an_old_prediction_no_use_is_made(age_s: float, found: int) -> None:
    made = carrier()
    made.carry(np.full((240, 320), 90, np.uint8), 10**9)
    told = expected(*pose(0), 2 * 10**9 - int(1e9 * age_s))
    assert len(made.carry(affine_view(*pose(0)), 2 * 10**9, told)) == found


def test_what_is_predicted_hidden_and_was_not_seen_is_not_looked_for() -> None:
    made = carrier()
    made.carry(np.random.default_rng(0).integers(0, 255, (240, 320), np.uint8), STEP_NS)
    assert len(made.carry(affine_view(*pose(0)), 2 * STEP_NS, expected(*pose(0), STEP_NS, visible=False))) == 0
    assert len(made.carry(affine_view(*pose(0)), 3 * STEP_NS, expected(*pose(0), 2 * STEP_NS))) == len(XY)


def test_detections_bring_back_what_was_lost() -> None:
    made = carrier()
    for k in (1, 2):
        assert len(made.carry(np.full((240, 320), 90, np.uint8), k * STEP_NS)) == 0
    made.detected(VIEW, INDEX, mapped(XY, *pose(20)).astype(np.float32) + 1.5, 2 * STEP_NS)
    found = made.carry(affine_view(*pose(20)), 3 * STEP_NS)
    assert len(found) > 0.9 * len(XY) and errors(found, *pose(20)).max() < 0.25
    assert np.allclose(found.age_s, STEP_NS / 1e9)


def test_after_a_contradiction_older_predictions_are_not_used() -> None:
    made = carrier()
    made.drop_carried(0)
    assert len(made.carry(affine_view(*pose(1)), STEP_NS, expected(*pose(1), 0))) == 0
    assert len(made.carry(affine_view(*pose(1)), 2 * STEP_NS, expected(*pose(1), STEP_NS))) == len(XY)


@pytest.mark.parametrize("most", [40, 100])
def test_no_more_than_asked_for(most: int) -> None:
    found = carrier(most).carry(affine_view(*pose(1)), STEP_NS)
    assert 0.8 * most < len(found) <= most


def test_fewer_and_more_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be carried changes from image to image; neighbours are looked for anew only then."""
    made, thinned = carrier(), []
    view = made._views[0]
    thin = view.thin
    monkeypatch.setattr(view, "thin", lambda share: (thinned.append(share), thin(share)))
    counts = []
    for k, most in enumerate((800, 800, 100, 99, 100, 800, 800), start=1):
        made.most = most
        counts.append(len(made.carry(affine_view(*pose(k)), k * STEP_NS)))
    assert len(thinned) == 2 and thinned[1] == 1.0
    assert min(counts[0], counts[1], counts[6]) > 0.95 * len(XY) and max(counts[2:5]) <= 100 and min(counts[2:5]) > 80


def test_views_beside_the_first() -> None:
    made = carrier()
    matrix, middle = turned(90), centre()
    later = affine_view(matrix, middle)
    made.carry(later, 0)
    made.add_view(3, later, XY)
    made.detected(np.full(len(XY), 3), INDEX, XY, 0)
    found = made.carry(later, STEP_NS)
    own = found.view == 3
    assert own.sum() == len(XY) and np.abs(found.xy[own] - XY[found.index[own]]).max() < 0.05
    made.drop_view(3)
    assert made.views == (0,)


def test_hostile_names_are_left_out() -> None:
    made = carrier()
    odd = Prediction(0, 0, np.array([0, 0, 9]), np.array([10**6, 1, 0]), np.full((3, 2), 50, np.float32), np.ones(3, bool))
    assert len(made.carry(affine_view(*pose(1)), STEP_NS, odd)) > 0.9 * len(XY)


def test_images_of_another_size_are_no_error() -> None:
    made = carrier()
    assert len(made.carry(affine_view(*pose(1))[:200, :200], STEP_NS)) > 0
