"""Named points on sheets whose bending is known: place, normal, carried direction, what is refused."""
from __future__ import annotations

import numpy as np
import pytest

from dalf_core import NonRigidRegistration
from dalf_core.templates.closest_point import closest_point
from dalf_core.templates.named_points import NamedPoints, PointError
from dalf_core.types import LOST

from ..analytic import CAMERA, DISTANCE, RolledSheet, turn

FLAT = RolledSheet()
BENT = RolledSheet(radius=0.25, R=turn((0.2, 1, 0.3), 12), shift=(0.02, -0.01, 0.03))
PLACES = {"corner": (-0.12, 0.08), "middle": (0.0, 0.0), "grasp/left_1": (0.1, -0.05)}      # u, v on the flat sheet


def on_sheet(u: float, v: float) -> np.ndarray:
    return np.array([u, v, DISTANCE])


@pytest.fixture(scope="module")
def registration() -> NonRigidRegistration:
    made = NonRigidRegistration(CAMERA)
    made.set_reference(FLAT.depth())
    return made


@pytest.fixture
def points(registration: NonRigidRegistration) -> NamedPoints:
    named = NamedPoints()
    for name, place in PLACES.items():
        named.add(name, on_sheet(*place), registration.surface, 0.01)
    return named


@pytest.fixture(scope="module")
def bent(registration: NonRigidRegistration):
    return [registration.register(BENT.depth(), *BENT.pairs()) for _ in range(3)][-1]


def true_frame(u: float, v: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place, normal towards the camera, and where the sheet's u direction points, by the sheet's own formula."""
    place, ahead, down = BENT.move(np.array([on_sheet(u, v), on_sheet(u + 1e-5, v), on_sheet(u, v + 1e-5)]))
    x, y = (ahead - place) / 1e-5, (down - place) / 1e-5
    return place, -np.cross(x, y), x


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))


def test_places_and_axes_on_a_bent_sheet(registration, points, bent) -> None:
    followed = points.follow(bent, registration.covariance(points.positions))
    assert [point.name for point in followed] == list(PLACES) == list(points.names)
    for point, place in zip(followed, PLACES.values()):
        truth, normal, along = true_frame(*place)
        assert np.linalg.norm(point.position - truth) < 1e-3
        assert angle(point.normal, normal) < 2 and angle(point.rotation[:, 0], along) < 2
        np.testing.assert_allclose(point.rotation.T @ point.rotation, np.eye(3), atol=1e-12)
        assert np.linalg.det(point.rotation) == pytest.approx(1) and point.rotation[:, 2] @ point.normal == pytest.approx(1)
        assert point.visible and point.confidence > 0.9
        deviation = np.sqrt(np.linalg.eigvalsh(point.covariance))
        assert (deviation > 1e-5).all() and (deviation < 5e-3).all()


def test_a_hidden_point_is_not_visible(registration, points, bent) -> None:
    """Before the sheet's left part there is something else."""
    depth = BENT.depth()
    depth[:, :140] = 0.4
    registration.register(BENT.depth(), *BENT.pairs())
    hidden = registration.register(depth, *BENT.pairs())
    found = {point.name: point for point in points.follow(hidden, registration.covariance(points.positions))}
    assert not found["corner"].visible and found["corner"].confidence < 0.2 and found["grasp/left_1"].visible
    assert np.trace(found["corner"].covariance) > 2 * np.trace(found["grasp/left_1"].covariance)
    for name, place in PLACES.items():
        assert np.linalg.norm(found[name].position - true_frame(*place)[0]) < 5e-3


def test_by_pixels_and_positions_of_the_bent_sheet(registration, bent) -> None:
    registration.register(BENT.depth(), *BENT.pairs())
    named, (place, _, _) = NamedPoints(), true_frame(0.05, 0.03)
    named.add_at_pixel("pixel", tuple(CAMERA.project(place[None])[0]), registration, bent)
    named.add_at_position("position", place, registration, bent)
    named.add_at_reference_pixel("reference", tuple(CAMERA.project(on_sheet(0.05, 0.03)[None])[0]), registration)
    np.testing.assert_allclose(named.positions, np.tile(on_sheet(0.05, 0.03), (3, 1)), atol=1e-3)
    for point in named.follow(bent):
        assert np.linalg.norm(point.position - place) < 1.2e-3 and np.isnan(point.covariance).all()


def test_a_position_beside_the_surface_is_taken_to_it(registration) -> None:
    named = NamedPoints()
    named.add("a", on_sheet(0.03, 0.02) + [0, 0, 0.004], registration.surface, 0.005)
    np.testing.assert_allclose(named.positions[0], on_sheet(0.03, 0.02), atol=1e-6)
    with pytest.raises(PointError, match="12 mm off the surface: at most 5 mm"):
        named.add("b", on_sheet(0.03, 0.02) + [0, 0, 0.012], registration.surface, 0.005)
    with pytest.raises(PointError, match="not finite"):
        named.add("b", np.array([np.nan, 0, 0.7]), registration.surface, 0.005)
    assert named.names == ("a",)


@pytest.mark.parametrize("name", ["", "two words", "-x", "/a", "a/", "a//b", "ä"])
def test_names_that_no_frame_can_have(registration, points, name: str) -> None:
    with pytest.raises(PointError, match="cannot be named"):
        points.add(name, on_sheet(0, 0), registration.surface, 0.01)


def test_a_name_is_given_once_and_taken_away_once(registration, points) -> None:
    with pytest.raises(PointError, match="'corner' already: remove it first"):
        points.add("corner", on_sheet(0, 0), registration.surface, 0.01)
    points.remove("corner")
    with pytest.raises(PointError, match="no point is named 'corner' .named points: middle, grasp/left_1."):
        points.remove("corner")
    points.add("corner", on_sheet(0, 0), registration.surface, 0.01)
    assert points.names == ("middle", "grasp/left_1", "corner")


def test_pixels_that_show_no_surface(registration) -> None:
    depth = BENT.depth()
    depth[100:110, 150:160] = np.nan
    depth[:20, :20] = 0.9
    result = registration.register(depth, *BENT.pairs())
    named = NamedPoints()
    for xy, words in (((155, 105), "no depth reading at pixel .155, 105."), ((-5, 9000), "no depth reading"),
                      ((np.nan, 1), "no depth reading"), ((8, 8), "something else than the followed surface")):
        with pytest.raises(PointError, match=words):
            named.add_at_pixel("a", xy, registration, result)
    with pytest.raises(PointError, match="not at pixel .1, 1. of the reference image"):
        named.add_at_reference_pixel("a", (1, 1), registration)
    assert not len(named)


def test_while_the_surface_is_lost_nothing_is_named_and_nothing_seen(registration, points) -> None:
    before = points.follow(registration.register(BENT.depth(), *BENT.pairs()))
    lost = registration.register(np.zeros_like(BENT.depth()), *np.zeros((2, 0, 2)))
    assert lost.status == LOST
    for was, now in zip(before, points.follow(lost)):
        np.testing.assert_allclose(now.position, was.position)
        assert not now.visible and now.confidence == 0
    with pytest.raises(PointError, match="the surface is lost"):
        points.add_at_pixel("new", (160, 120), registration, lost)
    with pytest.raises(PointError, match="the surface is lost"):
        points.add_at_position("new", on_sheet(0, 0), registration, lost)


def test_the_closest_point_is_the_best_of_many() -> None:
    """Against a dense sampling of random triangles."""
    rng = np.random.default_rng(0)
    vertices, triangles = rng.normal(size=(9, 3)), np.arange(9).reshape(3, 3)
    shares = rng.dirichlet((0.5, 0.5, 0.5), 20000)
    samples = np.einsum("nk,fkc->fnc", shares, vertices[triangles]).reshape(-1, 3)
    for point in rng.normal(size=(30, 3)) * 2:
        distance, corner, weight = closest_point(vertices, triangles, point)
        best = np.linalg.norm(samples - point, axis=1).min()
        assert distance <= best + 1e-12 and distance > best - 0.02
        assert weight.sum() == pytest.approx(1) and (weight >= 0).all()
        assert np.linalg.norm(weight @ vertices[corner] - point) == pytest.approx(distance)
