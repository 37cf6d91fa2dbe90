"""The tasks' ground truth must be exact, and what is said of their faults must hold."""
import numpy as np
import pytest

bending_sheet = pytest.importorskip("bending_sheet")
from bending_sheet import CAMERA, LEVELS, Amount, Directions, View, deformed, make_sequence, make_task, rendered_depth  # noqa: E402

EXACT = View(noise_m=0.0, missing=0.0, outliers=0.0)


def edge_lengths(vertices, triangles):
    return np.linalg.norm(vertices[triangles[:, 0]] - vertices[triangles[:, 1]], axis=1)


def test_rendered_plane_is_exact():
    """z = 0.5 + 0.3 x + 0.2 y along the ray through each pixel centre."""
    corners = np.array([[x, y, 0.5 + 0.3 * x + 0.2 * y] for x, y in ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5))])
    depth = rendered_depth(corners, np.array([[0, 2, 1], [1, 2, 3]]), CAMERA)
    x, y = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    expected = 0.5 / (1 - 0.3 * (x - CAMERA.cx) / CAMERA.fx - 0.2 * (y - CAMERA.cy) / CAMERA.fy)
    assert depth.all()
    np.testing.assert_allclose(depth, expected, rtol=1e-12)


def test_nearer_triangle_hides_the_farther():
    near = np.array([[-1, -1, 0.5], [1, -1, 0.5], [-1, 1, 0.5]])
    depth = rendered_depth(np.concatenate([near, near * 2]), np.array([[0, 1, 2], [3, 4, 5]]), CAMERA)
    np.testing.assert_allclose(depth[depth > 0], 0.5)


def test_bending_and_moving_keep_lengths_on_the_flat_sheet():
    rng = np.random.default_rng(0)
    flat = np.column_stack([rng.uniform(-0.2, 0.2, (500, 2)), np.full(500, bending_sheet.DISTANCE)])
    step = 1e-5 * rng.normal(size=(500, 3)) * [1, 1, 0]
    amount, directions = Amount(130.0, 0.0, 0.0, 25.0, 0.06), Directions.draw(4)
    moved = deformed(flat + step, amount, directions) - deformed(flat, amount, directions)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), np.linalg.norm(step, axis=1), rtol=1e-4)


def test_stretching_is_along_the_roll_alone():
    directions = Directions.draw(2)
    along = np.array([np.cos(directions.roll), np.sin(directions.roll), 0]) * 1e-3
    across = np.array([-along[1], along[0], 0])
    middle = np.array([0, 0, bending_sheet.DISTANCE])
    points = deformed(np.stack([middle, middle + along, middle + across]), Amount(1e-6, 0, 0.03, 10, 0.02), directions)
    np.testing.assert_allclose(np.linalg.norm(points[1:] - points[0], axis=1), [1.03e-3, 1e-3], rtol=1e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_depth_and_landmarks_show_the_truth(level):
    """Without noise every visible vertex is on the measured surface, and every landmark on its vertex."""
    task = make_task(level, 3, EXACT)
    np.testing.assert_array_equal(task.landmark_target, task.truth[task.landmark_vertex])
    assert not task.wrong.any() and task.visible[task.landmark_vertex].all()
    x, y = np.rint(CAMERA.project(task.truth[task.visible])).astype(int).T
    gap = task.depth[y, x] - task.truth[task.visible][:, 2]
    assert np.median(np.abs(gap)) < 5e-4 and (gap > -0.008).all()
    assert task.visible.mean() > 0.75


def test_normals_face_the_camera():
    reference = make_task("small", 0).reference
    assert ((reference.vertices * reference.normals).sum(axis=1) < 0).all()


def test_faults_are_as_asked_for():
    clean, task = make_task("medium", 7, EXACT), make_task("medium", 7)
    surface, read = clean.depth > 0, task.depth > 0
    assert not (read & ~surface).any()
    assert (surface & ~read).sum() / surface.sum() == pytest.approx(0.2, abs=0.02)
    assert np.std((task.depth - clean.depth)[read]) == pytest.approx(0.001, rel=0.03)
    off = np.linalg.norm(task.landmark_target - task.truth[task.landmark_vertex], axis=1)
    assert task.wrong.sum() == 68 and off[~task.wrong].max() < 0.008
    assert np.median(off[task.wrong]) > 0.05


def test_coherent_outliers_are_one_patch_in_another_place():
    task = make_task("medium", 1, View(outliers=0.6, coherent=0.5, noise_m=0.0))
    assert task.wrong.sum() == 120
    source = task.landmark_source
    nearest = np.linalg.norm(task.truth[None] - task.landmark_target[:, None], axis=2).argmin(axis=1)
    shift = (task.reference.vertices[nearest] - source)[:, :2]
    # the patch: wrong landmarks with about the same shift along the sheet
    votes = (np.linalg.norm(shift[:, None] - shift[None], axis=2) < 0.012) & task.wrong & task.wrong[:, None]
    patch = votes[votes.sum(axis=1).argmax()]
    assert 45 <= patch.sum() <= 65
    assert 0.09 < np.linalg.norm(np.median(shift[patch], axis=0)) < 0.17
    assert edge_lengths(source[patch], np.array([[0, 1]])).max() < 0.3


def test_same_seed_same_task_other_seed_another():
    first, again, other = make_task("large", 5), make_task("large", 5), make_task("large", 6)
    for name in ("depth", "truth", "landmark_target"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


def test_sequence_goes_from_small_to_large_and_back():
    frames = list(make_sequence(3, EXACT, frames=8))
    small, large = (make_task(level, 3, EXACT).truth for level in ("small", "large"))
    np.testing.assert_allclose(frames[0].truth, small)
    np.testing.assert_allclose(frames[4].truth, large)
    np.testing.assert_allclose(frames[6].truth, frames[2].truth)
