"""The scenes made from the simulated cloth: what covers it and how far it turns must be as the truth says."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("open3d")

from dalf_core.surface import vertex_normals  # noqa: E402
from dalf_ros.bags.bag_reader import RgbdFrame  # noqa: E402
from dalf_ros.simulation import scenes  # noqa: E402
from dalf_ros.simulation.cloth import simulate_cloth  # noqa: E402
from dalf_ros.simulation.recording import FIRST_STAMP_NS, default_camera, record  # noqa: E402
from dalf_ros.simulation.scenes import CARD_M, COVERED_FOR, TURNED_FRAMES, covered, covers, record_scene, recorded, turned  # noqa: E402
from dalf_ros.simulation.truth import GroundTruth  # noqa: E402

CAMERA = default_camera(160, 120)


@pytest.fixture(scope="module")
def still() -> GroundTruth:
    """The cloth at rest."""
    motion = simulate_cloth(np.array([0.0, 1 / 30]))
    return GroundTruth(motion.vertices, motion.triangles, motion.uv, np.zeros(motion.vertices.shape[:2], bool), np.array([0, 1]), CAMERA)


def test_the_cloth_turns_away_and_back(still: GroundTruth) -> None:
    frames, truth = turned("turned", still, seed=0)
    assert len(frames) == TURNED_FRAMES and [frame.stamp_ns for frame in frames] == truth.stamps_ns.tolist()
    assert truth.stamps_ns[0] == FIRST_STAMP_NS and (truth.stamps_ns[30] - FIRST_STAMP_NS) == 10**9
    facing = [-vertex_normals(truth.vertices[number], truth.triangles).mean(axis=0)[2] for number in (0, 60, TURNED_FRAMES - 1)]
    assert facing[0] > 0.99 and facing[1] == pytest.approx(np.cos(np.radians(75)), abs=0.02) and facing[2] > 0.99
    seen = truth.visible.mean(axis=1)
    assert seen[0] > 0.9 and seen[-1] > 0.9
    vertices = truth.vertices[45][truth.visible[45]]
    x, y = np.rint(CAMERA.project(vertices)).astype(int).T
    depth = frames[45].depth_m[y, x]
    assert np.median(np.abs(depth - vertices[:, 2])[depth > 0]) < 0.004     # the picture is of this truth


def test_a_card_covers_what_the_covers_say() -> None:
    frame = RgbdFrame(0, "f", np.zeros((4, 5, 3), np.uint8), np.ones((4, 5), np.float32), np.zeros((4, 5), np.uint8))
    hidden = [number for number, shown in enumerate(covered([frame] * 180, covers("covered"))) if shown.depth_m[0, 0] == np.float32(CARD_M)]
    assert hidden == [*range(50, 50 + COVERED_FOR), *range(130, 130 + COVERED_FOR)]
    assert covers("cloth") == () and covers("turned") == (range(52, 62),)


def test_a_scene_is_written_as_it_is(still: GroundTruth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = record(tmp_path / "bag", tmp_path / "truth.npz", camera=CAMERA, times=np.arange(4) / 30)
    with pytest.raises(ValueError, match="has 4 frames"):
        record_scene("covered", tmp_path, tmp_path / "made")
    monkeypatch.setattr(scenes, "DURATION_S", 4 / 30)
    monkeypatch.setitem(scenes.COVERED_AT, "covered", (2,))
    truth = record_scene("covered", tmp_path, tmp_path / "covered")
    before, after = recorded(tmp_path / "bag"), recorded(tmp_path / "covered" / "bag")
    assert [frame.stamp_ns for frame in after] == made.stamps_ns.tolist() == truth.stamps_ns.tolist()
    for one, other in zip(before[:2], after[:2]):
        assert (one.image == other.image).all() and (one.mask == other.mask).all()
        np.testing.assert_array_equal(one.depth_m, other.depth_m)
    assert (after[2].depth_m == np.float32(CARD_M)).all() and (after[3].mask == 255).all() and after[3].image.std() < 5
    loaded = GroundTruth.load(tmp_path / "covered" / "truth.npz")
    assert (loaded.vertices == replace(made).vertices).all()
