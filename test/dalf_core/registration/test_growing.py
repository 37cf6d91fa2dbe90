"""A cloth on a turning drum: what comes round is added to the model."""
import numpy as np
import pytest
from scipy.spatial import cKDTree

from dalf_core import NonRigidRegistration
from dalf_core.tracking import FrameMatches, SurfaceTracker
from dalf_core.types import Matches

from ..analytic import CAMERA, DISTANCE, RolledSheet, turn

RADIUS = 0.1
STEP = 2.0          # degrees a frame


def drum(degrees: float) -> RolledSheet:
    """A sheet once round a drum of 0.1 m, but for a gap at the back, turned about the drum's axis."""
    R = turn((0, 1, 0), degrees)
    centre = np.array([0, 0, RADIUS])       # the drum's axis in the sheet's own frame, which turns about its near side
    return RolledSheet(RADIUS, R, tuple(centre - R @ centre), half_width=0.28, half_height=0.08)


def pairs(degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Exact correspondences of what is seen at the start and now."""
    rng = np.random.default_rng(int(degrees * 10))
    points = np.stack([rng.uniform(-1.1, 1.1, 300) * RADIUS, rng.uniform(-0.07, 0.07, 300), np.full(300, DISTANCE)], axis=1)
    angle = points[:, 0] / RADIUS - np.deg2rad(degrees)
    points = points[np.abs(angle) < 1.1]
    return CAMERA.project(drum(0).move(points)), CAMERA.project(drum(degrees).move(points))


def follow(grow_to: int, frames: int = 26):
    registration = NonRigidRegistration(CAMERA, max_vertices=2500, grow_to=grow_to)
    registration.set_reference(drum(0).depth())
    sizes = []
    for frame in range(frames):
        result = registration.register(drum(STEP * frame).depth(), *pairs(STEP * frame))
        sizes.append(len(result.vertices))
        assert result.status == "tracked" and len(result.vertices) == len(registration.reference_vertices) == len(result.visible)
    return registration, result, sizes, STEP * (frames - 1)


@pytest.fixture(scope="module")
def grown():
    return follow(6000)


def share_of_depth(vertices: np.ndarray, depth: np.ndarray) -> float:
    """Of the readings: those with a vertex within 6 mm."""
    y, x = np.nonzero(depth)
    points = CAMERA.lift(np.stack([x, y], axis=1).astype(float), depth[y, x].astype(float))
    return float((cKDTree(vertices).query(points)[0] < 0.006).mean())


def test_what_comes_round_is_added(grown):
    registration, result, sizes, degrees = grown
    fixed = follow(0)
    depth = drum(degrees).depth()
    assert sizes == sorted(sizes) and sizes[-1] > 1.2 * sizes[0] and len(set(fixed[2])) == 1
    assert share_of_depth(fixed[1].vertices, depth) < 0.75
    assert share_of_depth(result.vertices, depth) > 0.93


def test_the_added_part_lies_where_it_was_in_the_reference_pose(grown):
    """The drum is rigid: in the reference pose all is on the drum at its first place."""
    registration, _, sizes, _ = grown
    added = registration.reference_vertices[sizes[0]:].astype(float)
    off_axis = np.hypot(added[:, 0], added[:, 2] - DISTANCE - RADIUS) - RADIUS
    assert np.sqrt((off_axis**2).mean()) < 0.003 and np.abs(off_axis).max() < 0.012
    assert max((added[:, 0] > 0).mean(), (added[:, 0] < 0).mean()) > 0.9           # on the side that came round


def test_the_mesh_stays_proper(grown):
    registration, result, sizes, _ = grown
    surface = registration.surface
    assert surface.triangles.max() == len(surface.vertices) - 1 and (np.diff(np.sort(surface.triangles, axis=1)) > 0).all()
    assert np.isfinite(result.vertices).all() and np.allclose(np.linalg.norm(surface.normals, axis=1), 1, atol=1e-4)
    assert len(np.unique(surface.triangles)) > 0.99 * len(surface.vertices)


def test_the_bound_is_kept():
    registration, _, sizes, _ = follow(sizes_bound := 2000)
    assert max(sizes) <= max(sizes_bound, sizes[0])


def test_lost_right_after_growing_keeps_the_model_as_it_was(monkeypatch):
    """The result of that frame, the model and the topology belong together, then and in the frames after."""
    tracker = SurfaceTracker(max_vertices=2500, grow_to=6000)
    judge, lost = NonRigidRegistration._judge, []

    def judge_grown(self, fit, landmarks):
        if sizes and len(self.surface.vertices) > sizes[0] and not lost:
            lost.append(len(self.surface.vertices))
            return self._lost("for the test", len(landmarks))
        return judge(self, fit, landmarks)

    sizes, topologies = [], []
    monkeypatch.setattr(NonRigidRegistration, "_judge", judge_grown)
    for number in range(26):
        reference_xy, current_xy = pairs(STEP * number)
        count = len(reference_xy)
        index = np.arange(count)
        matches = FrameMatches(number, 0, (320, 240), (320, 240), Matches(index + 1000 * number, index, np.zeros(count, np.float32),
                                                                          np.ones(count, bool)), reference_xy, current_xy)
        if number == 0:
            frame = tracker.process(matches, drum(0).depth(), CAMERA)
            sizes.append(len(tracker.reference_vertices))
        else:
            monkeypatch.setattr(tracker._places, "points", lambda view, index, xy=reference_xy: tracker.registration.reference_points(xy))
            frame = tracker.process(matches, drum(STEP * number).depth(), CAMERA)
        result = frame.registration
        assert frame.status == "tracked"
        assert len(result.vertices) == len(result.normals) == len(result.visible) == len(tracker.reference_vertices)
        assert tracker.triangles.max() == len(result.vertices) - 1
        sizes.append(len(result.vertices))
        topologies.append(frame.topology_id)
    assert lost and lost[0] > sizes[0]
    np.testing.assert_array_equal(np.diff(topologies) > 0, np.diff(sizes[1:]) > 0)         # a new mesh, a new number; else none
    assert sizes[-1] > sizes[0]                                                             # it grows when it can
