"""The simulated recording: what the camera sees must be the true cloth, and the cloth must behave like one."""
from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("open3d")

from dalf_core.lens import Lens  # noqa: E402
from dalf_ros.bags.bag_reader import read_camera, read_frames  # noqa: E402
from dalf_ros.bags.bag_source import BagSource  # noqa: E402
from dalf_ros.bags.bag_topics import choose_topics  # noqa: E402
from dalf_ros.conversions.messages import header  # noqa: E402
from dalf_ros.demo.evaluation import compare  # noqa: E402
from dalf_ros.simulation.cloth import COLUMNS, REFINEMENT, ROWS, ClothMotion, simulate_cloth  # noqa: E402
from dalf_ros.simulation.recording import FIRST_STAMP_NS, FRAME_ID, MASK_TOPIC, default_camera, observe, record, sample_times  # noqa: E402
from dalf_ros.simulation.truth import Attachment, GroundTruth  # noqa: E402

CAMERA = default_camera(320, 240)


@pytest.fixture(scope="module")
def motion() -> ClothMotion:
    return simulate_cloth(np.array([0.0, 0.1, 1.2]))


@pytest.fixture(scope="module")
def frames(motion):
    return list(observe(motion, CAMERA, seed=3))


@pytest.fixture(scope="module")
def truth(motion, frames) -> GroundTruth:
    return GroundTruth(motion.vertices, motion.triangles, motion.uv, np.array([frame.visible for frame in frames]),
                       np.array([frame.stamp_ns for frame in frames]), CAMERA)


def points_of(frame, inset: int = 2) -> np.ndarray:
    """The depth inside the mask, shrunk by some pixels, as (N, 3) metres."""
    kernel = np.ones((2 * inset + 1, 2 * inset + 1), np.uint8)
    ys, xs = np.nonzero((cv2.erode(frame.mask, kernel) > 0) & (frame.depth_mm > 0))
    return CAMERA.lift(np.stack([xs, ys], axis=1).astype(float), frame.depth_mm[ys, xs] * 1e-3).astype(np.float32)


def test_it_rests_flat_and_then_moves(motion):
    first = motion.vertices[0]
    assert np.ptp(first[:, 2]) < 0.002 and abs(first[:, 2].mean() - 0.70) < 0.002
    assert np.linalg.norm(motion.vertices[1] - first, axis=1).max() < 0.001
    assert np.linalg.norm(motion.vertices[2] - first, axis=1).max() > 0.03
    assert np.ptp(motion.vertices[2][:, 2]) > 0.03


def test_the_cloth_hardly_stretches(motion):
    fine = motion.vertices.reshape(len(motion.vertices), (ROWS - 1) * REFINEMENT + 1, (COLUMNS - 1) * REFINEMENT + 1, 3)
    grid = fine[:, ::REFINEMENT, ::REFINEMENT]
    for axis in (1, 2):
        length = np.linalg.norm(np.diff(grid, axis=axis), axis=-1)
        strain = np.abs(length[-1] / length[0] - 1)
        assert np.median(strain) < 0.01 and np.percentile(strain, 95) < 0.05


def test_depth_lies_on_the_true_surface(frames, truth):
    for number in (0, 2):
        attachment = Attachment(truth, points_of(frames[number]), number)
        assert attachment.on_cloth.mean() > 0.98
        assert np.median(attachment.offset_m) < 0.0015 and np.percentile(attachment.offset_m, 95) < 0.006
    surface = points_of(frames[0])
    assert abs((surface[:, 2] - 0.70).mean()) < 0.0005       # unbiased
    assert 0.0004 < surface[:, 2].std() < 0.003


def test_mask_and_visibility_agree_with_the_outline(motion, frames):
    for number in (0, 2):
        outline = np.zeros((CAMERA.height, CAMERA.width), np.uint8)
        pixels = CAMERA.project(motion.vertices[number])
        for triangle in motion.triangles:
            cv2.fillConvexPoly(outline, np.rint(pixels[triangle]).astype(np.int32), 255)
        both, either = (outline & frames[number].mask) > 0, (outline | frames[number].mask) > 0
        assert both.sum() / either.sum() > 0.93
    assert frames[0].visible.mean() > 0.9
    assert frames[0].color[frames[0].mask > 0].std() > 30    # printed, not plain


def test_the_hand_covers_most_of_the_cloth(motion):
    covered = next(observe(replace(motion, vertices=motion.vertices[:1], time_s=np.array([2.95])), CAMERA, seed=0))
    assert covered.visible.mean() < 0.45
    assert np.percentile(covered.depth_mm[covered.depth_mm > 0], 5) < 320


def test_same_seed_same_bytes(motion, frames):
    again, other = next(observe(motion, CAMERA, seed=3)), next(observe(motion, CAMERA, seed=4))
    assert (again.color == frames[0].color).all() and (again.depth_mm == frames[0].depth_mm).all()
    assert (other.depth_mm != frames[0].depth_mm).any()
    assert (simulate_cloth(np.array([0.0, 0.1])).vertices == motion.vertices[:2]).all()


def test_attached_points_follow_the_truth(frames, truth):
    points = points_of(frames[0])[::7]
    attachment = Attachment(truth, points, 0)
    on_cloth = attachment.on_cloth
    error, visible = attachment.errors(points, 0)
    np.testing.assert_allclose(error, attachment.offset_m[on_cloth], atol=1e-6)
    assert visible.mean() > 0.9
    error, _ = attachment.errors(attachment.positions(2), 2)
    assert error.max() == 0
    assert not Attachment(truth, points + np.float32([0, 0, 0.2]), 0).on_cloth.any()


def test_a_perfect_surface_has_no_error(truth):
    def message(vertices, stamp, triangles=()):
        stamped, first = (SimpleNamespace(stamp=SimpleNamespace(**header(int(t), FRAME_ID)["stamp"])) for t in (stamp, truth.stamps_ns[0]))
        return SimpleNamespace(header=stamped, reference_header=first, vertices=vertices.ravel(), normals=[], visible=[], colors=[],
                               triangles=np.asarray(triangles, np.uint32).ravel(), topology_id=1)

    meshes = [message(truth.vertices[0], truth.stamps_ns[0], truth.triangles)]
    found = truth.vertices + np.float32([0, 0, 0.003])[:, None, None]
    meshes += [message(vertices, stamp) for vertices, stamp in zip(found, truth.stamps_ns)]
    status = dict(zip(truth.stamps_ns.tolist(), ("tracked", "tracked", "lost")))
    summary, rows = compare(meshes, status, truth)
    assert summary.rmse_mm < 1e-3 and summary.tracked_share == pytest.approx(2 / 3)
    assert rows[2].rmse_m == pytest.approx(0.003 * np.sqrt(3), rel=1e-3)


def test_the_recording_is_an_ordinary_bag(tmp_path):
    made = record(tmp_path / "bag", tmp_path / "truth.npz", camera=default_camera(160, 120), times=sample_times(180)[:12:4])
    with BagSource(tmp_path / "bag") as source:
        chosen = choose_topics(source.topics, mask=MASK_TOPIC)
        lens = read_camera(source, chosen)
        read = list(read_frames(source, chosen, 0.001))
    assert lens == Lens(default_camera(160, 120))
    assert [frame.stamp_ns for frame in read] == made.stamps_ns.tolist() and read[0].stamp_ns == FIRST_STAMP_NS
    assert read[0].frame_id == FRAME_ID and read[0].image.shape == (120, 160, 3) and read[0].mask.any()
    loaded = GroundTruth.load(tmp_path / "truth.npz")
    assert loaded.camera == lens.camera and (loaded.vertices == made.vertices).all() and loaded.frame(read[1].stamp_ns) == 1
    with pytest.raises(KeyError):
        loaded.frame(5)
