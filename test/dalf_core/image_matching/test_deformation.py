"""Turn, zoom, shear and bending of maps that are known exactly, and what they decide."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core.image_matching.deformation import HALF_PATCH, Deformation, deformation
from dalf_core.image_registration.image_warp import fit_image_warp

SIZE = (320, 240)
XY = np.random.default_rng(0).uniform(0, np.array(SIZE) - 1.0, (150, 2))


def affine(turn: float = 0.0, along: float = 1.0, across: float = 1.0):
    """A map that stretches along x and y, then turns by degrees."""
    angle = np.radians(turn)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([along, across])
    return fit_image_warp(XY, XY @ matrix.T + 40, SIZE, SIZE)


@pytest.mark.parametrize("turn, along, across", [(0, 1, 1), (30, 1, 1), (-170, 1.5, 1.5), (12, 1.2, 0.8), (0, 0.5, 0.5)])
def test_affine_maps_are_measured_exactly(turn: float, along: float, across: float) -> None:
    found = deformation(affine(turn, along, across), XY[:20])
    assert np.allclose(found.turn, abs(turn), atol=1e-3) and np.allclose(found.zoom, np.log2(np.sqrt(along * across)), atol=1e-4)
    assert np.allclose(found.shear, abs(np.log2(along / across)), atol=1e-4) and np.allclose(found.bend, 0, atol=1e-4)


def test_bend_is_the_change_of_the_local_map_across_a_patch() -> None:
    curve = 0.002
    target = XY + curve * np.stack([XY[:, 0] ** 2, np.zeros(len(XY))], axis=1)
    warp = fit_image_warp(XY, target, SIZE, SIZE, smoothing=0)
    middle = np.array([[160.0, 120.0]])
    found = deformation(warp, middle)
    stretch = 1 + 2 * curve * 160
    assert found.bend[0] == pytest.approx(2 * curve * 2 * HALF_PATCH / np.sqrt(stretch), rel=0.1)
    assert found.zoom[0] == pytest.approx(np.log2(np.sqrt(stretch)), abs=0.02)


def test_a_map_that_folds_over_is_strong() -> None:
    warp = fit_image_warp(XY, XY * [-1, 1] + [319, 0], SIZE, SIZE)
    assert np.isinf(deformation(warp, XY[:5]).shear).all() and deformation(warp, XY[:5]).calls_for_another_look


@pytest.mark.parametrize("turn, along, across, pays", [
    (0, 1, 1, False), (4, 1.03, 1.03, False), (20, 1, 1, True), (0, 1.3, 1.3, True), (0, 0.75, 0.75, True), (0, 1.2, 0.95, True)])
def test_the_gate(turn: float, along: float, across: float, pays: bool) -> None:
    assert deformation(affine(turn, along, across), XY).calls_for_another_look is pays


def some(count: int, **changed: float) -> Deformation:
    """100 places that nothing moves but `count` of them, by what is named."""
    values = {name: np.zeros(100) for name in ("turn", "zoom", "shear", "bend")}
    for name, value in changed.items():
        values[name][:count] = value
    return Deformation(**values)


@pytest.mark.parametrize("changed", [{"turn": 9.0}, {"zoom": 0.13}, {"zoom": -0.13}, {"shear": 0.16}, {"bend": 0.16}])
def test_a_quarter_of_the_places_must_be_moved_strongly_by_one_of_the_four(changed: dict[str, float]) -> None:
    assert some(25, **changed).calls_for_another_look and not some(24, **changed).calls_for_another_look
    assert not some(100, **{name: value * 0.85 for name, value in changed.items()}).calls_for_another_look


def test_no_places_call_for_nothing() -> None:
    assert not deformation(affine(50), np.zeros((0, 2))).calls_for_another_look


def test_it_tells_in_words() -> None:
    assert str(deformation(affine(30, 1.5, 1.5), XY)) == "turned by 30°, zoomed by 50%, sheared by 0%, bent by 0%"


def test_what_is_left_where_another_map_is_undone_first() -> None:
    same = deformation(affine(50, 1.4, 0.8), XY[:20], affine(50, 1.4, 0.8))
    assert max(np.abs(values).max() for values in (same.turn, same.zoom, same.shear, same.bend)) < 1e-3
    left = deformation(affine(70, 1.5, 1.5), XY[:20], affine(50, 1.2, 1.2))
    assert np.allclose(left.turn, 20, atol=1e-3) and np.allclose(left.zoom, np.log2(1.5 / 1.2), atol=1e-4)
    assert left.calls_for_another_look and not deformation(affine(53, 1.25, 1.2), XY, affine(50, 1.2, 1.2)).calls_for_another_look


def test_of_a_map_that_shows_no_area_all_is_left() -> None:
    flat = fit_image_warp(XY, XY * [1, 0] + [0, 120], SIZE, SIZE)
    assert deformation(affine(), XY[:5], flat).calls_for_another_look
