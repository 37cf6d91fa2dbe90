"""Results in a base frame against the same points taken there one by one, by the formulas of the messages."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dalf_core.camera import PinholeCamera
from dalf_core.tracking import FrameMatches, SurfaceTracker
from dalf_core.types import Matches
from dalf_ros.conversions import messages, topics
from dalf_ros.conversions.based_results import Placement, moved_deformation, optical
from dalf_ros.conversions.results import SurfaceResults
from dalf_ros.conversions.transforms import RigidTransform

RNG = np.random.default_rng(4)
CAMERA = PinholeCamera(60.0, 60.0, 31.5, 23.5, 64, 48)


def transform(number: int) -> RigidTransform:
    return RigidTransform(Rotation.random(random_state=number).as_matrix(), np.random.default_rng(number).normal(size=3))


PLACE = Placement("base_link", transform(1), transform(2), transform(3))


def at(to: RigidTransform, points: np.ndarray) -> np.ndarray:
    return np.array([to.rotation @ point + to.translation for point in np.asarray(points, float)])


def warped(points: np.ndarray, weight: np.ndarray, g: np.ndarray, turn: np.ndarray, t: np.ndarray) -> np.ndarray:
    """As DeformationField.msg says, with given weights (N, K)."""
    moved = np.einsum("kij,nkj->nki", turn, points[:, None] - g) + g + t
    return np.einsum("nk,nki->ni", weight, moved)


def test_the_formula_of_the_warp_holds_in_the_base_frame() -> None:
    points, g, t = RNG.normal(size=(9, 3)), RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))
    turn, weight = Rotation.random(5, random_state=7).as_matrix(), RNG.random((9, 5))
    weight /= weight.sum(axis=1, keepdims=True)
    based = moved_deformation(PLACE, g, turn, t)
    np.testing.assert_allclose(warped(at(PLACE.reference, points), weight, *based), at(PLACE.surface, warped(points, weight, g, turn, t)),
                               atol=1e-12)
    assert all(one is other for one, other in zip(moved_deformation(optical("camera"), g, turn, t), (g, turn, t)))


@pytest.fixture(scope="module")
def made() -> dict[str, tuple[dict, dict]]:
    """Fields of every topic of one tracked frame: in the optical frame, in the base frame."""
    tracker = SurfaceTracker()
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    xy = np.stack(np.meshgrid(np.arange(4.0, 60, 6), np.arange(4.0, 44, 6)), axis=-1).reshape(-1, 2).astype(np.float32)
    index = np.arange(len(xy))
    pairs = Matches(index, index, np.zeros(len(xy), np.float32), np.ones(len(xy), bool))
    for number in range(2):
        depth = (0.7 + 0.03 * np.sin(x / 9) * np.cos(y / 7) + 0.004 * number).astype(np.float32)
        matches = FrameMatches(1 + number, 1, (64, 48), (64, 48), pairs, xy, xy + 0.5 * number)
        frame = tracker.process(matches, depth, CAMERA)
        if number == 0:
            tracker.points.add("grasp", tracker.surface.vertices[300].astype(float), tracker.surface, 0.02)
    assert frame.status == "tracked"

    def fields(place: Placement) -> dict[str, dict]:
        results = SurfaceResults(tracker)
        wanted = set(topics.SURFACE_TOPICS)
        return dict([*results.surface(frame, place, wanted), *results.points(frame, place, wanted),
                     *results.landmarks(frame, matches, depth, CAMERA, place, wanted), *results.covariance(frame, place, wanted)])

    plain, based = fields(optical("camera")), fields(PLACE)
    missing = {topics.STATUS, topics.PREDICTION, topics.SELECTION, topics.SELECTED_IMAGE}
    assert set(plain) == set(based) == set(topics.SURFACE_TOPICS) - missing
    return {name: (plain[name], based[name]) for name in plain}


def xyz(vectors: list[dict]) -> np.ndarray:
    return np.array([[one[axis] for axis in "xyz"] for one in vectors])


def test_every_message_names_the_base_frame(made: dict) -> None:
    for name, (_, based) in made.items():
        for one in based.get("markers", [based]):
            assert {one[key]["frame_id"] for key in ("header", "reference_header") if key in one} == {"base_link"}, name


@pytest.mark.parametrize(("name", "to"), [(topics.MESH, PLACE.surface), (topics.REFERENCE, PLACE.reference)])
def test_vertices_and_normals(made: dict, name: str, to: RigidTransform) -> None:
    plain, based = made[name]
    np.testing.assert_allclose(based["vertices"].reshape(-1, 3), at(to, plain["vertices"].reshape(-1, 3)), atol=1e-6)
    np.testing.assert_allclose(based["normals"].reshape(-1, 3), plain["normals"].reshape(-1, 3) @ to.rotation.T, atol=1e-6)
    assert based["vertices"].dtype == np.float32


def test_cloud_markers_and_landmarks(made: dict) -> None:
    clouds = [fields["data"].view("<f4").reshape(-1, 4) for fields in made[topics.POINTS]]
    np.testing.assert_allclose(clouds[1][:, :3], at(PLACE.surface, clouds[0][:, :3]), atol=1e-6)
    np.testing.assert_array_equal(clouds[1][:, 3], clouds[0][:, 3])
    plain, based = (xyz(fields["points"]) for fields in made[topics.MARKER])
    np.testing.assert_allclose(based, at(PLACE.surface, plain), atol=1e-6)
    plain, based = (xyz(fields["points"]) for fields in made[topics.LANDMARKS])
    np.testing.assert_allclose(based[::2], at(PLACE.surface, plain[::2]), atol=1e-6)
    np.testing.assert_allclose(based[1::2], at(PLACE.camera, plain[1::2]), atol=1e-6)


def test_covariances_turn(made: dict) -> None:
    rows, columns = np.triu_indices(3)
    packed = [np.zeros((fields["covariance"].size // 6, 3, 3)) for fields in made[topics.COVARIANCE]]
    for full, fields in zip(packed, made[topics.COVARIANCE]):
        full[:, rows, columns] = full[:, columns, rows] = fields["covariance"].reshape(-1, 6)
    turn = PLACE.surface.rotation
    np.testing.assert_allclose(packed[1], [turn @ one @ turn.T for one in packed[0]], atol=1e-9)
    assert packed[0].max() > 1e-6


def test_the_deformation_moves_the_reference_to_the_mesh(made: dict) -> None:
    """Node by node: g of the reference moves to g + t, as it does in the optical frame."""
    plain, based = ({key: fields[key].astype(float).reshape(-1, 3) for key in ("node_position", "node_translation")}
                    for fields in made[topics.DEFORMATION])
    np.testing.assert_allclose(based["node_position"], at(PLACE.reference, plain["node_position"]), atol=1e-6)
    np.testing.assert_allclose(based["node_position"] + based["node_translation"],
                               at(PLACE.surface, plain["node_position"] + plain["node_translation"]), atol=2e-6)
    turned, before = (messages.rotation_matrices(fields["node_rotation"].reshape(-1, 4)) for fields in made[topics.DEFORMATION][::-1])
    np.testing.assert_allclose(turned, PLACE.surface.rotation @ before @ PLACE.reference.rotation.T, atol=1e-5)


def test_named_points(made: dict) -> None:
    (plain,), (based,) = (fields["points"] for fields in made[topics.NAMED_POINTS])
    to = PLACE.surface
    np.testing.assert_allclose(xyz([based["position"]]), at(to, xyz([plain["position"]])), atol=1e-9)
    np.testing.assert_allclose(xyz([based["normal"]]), xyz([plain["normal"]]) @ to.rotation.T, atol=1e-9)
    axes = [Rotation.from_quat([point["orientation"][axis] for axis in "xyzw"]).as_matrix() for point in (plain, based)]
    np.testing.assert_allclose(axes[1], to.rotation @ axes[0], atol=1e-9)
    before, after = (point["covariance"].reshape(3, 3) for point in (plain, based))
    np.testing.assert_allclose(after, to.rotation @ before @ to.rotation.T, atol=1e-12)
    assert np.isfinite(before).all() and (based["visible"], based["name"]) == (plain["visible"], "grasp")
    poses = [xyz([fields["poses"][0]["position"]]) for fields in made[topics.POINT_POSES]]
    np.testing.assert_allclose(poses[1], at(to, poses[0]), atol=1e-9)
    arrows = [xyz(fields["markers"][1]["points"]) for fields in made[topics.POINT_MARKERS]]
    np.testing.assert_allclose(arrows[1], at(to, arrows[0]), atol=1e-9)
