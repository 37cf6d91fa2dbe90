"""Datasets and meshes of a surface whose motion is known, read back by other programs than those that wrote them."""
from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_core.datasets.episode import STATUSES, DatasetError, Episode, EpisodeFrame, surface_keypoints
from dalf_core.datasets.features import COLOR, DEPTH, KEYPOINTS, VISIBLE, frame_features
from dalf_core.datasets.gltf import write_gltf
from dalf_core.datasets.lerobot import write_lerobot
from dalf_core.datasets.tables import write_tables
from dalf_core.types import PointTrack

parquet = pytest.importorskip("pyarrow.parquet")

FRAMES, ROWS, COLUMNS, FPS = 6, 9, 12, 20
HEIGHT, WIDTH = 48, 64
ARROW = {"float32": "float", "float64": "double", "int64": "int64"}


def grid() -> tuple[np.ndarray, np.ndarray]:
    """A wavy sheet before the camera, and its triangles, counter-clockwise seen from there."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    vertices = np.stack([0.02 * (x - 5), 0.02 * (y - 4), 0.6 + 0.01 * np.sin(x)], axis=-1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(ROWS - 1)[:, None] * COLUMNS + np.arange(COLUMNS - 1)).reshape(-1, 1)
    triangles = np.concatenate([corner + [0, COLUMNS, 1], corner + [1, COLUMNS, COLUMNS + 1]]).astype(np.int32)
    return vertices, triangles


def motion(frame: int) -> np.ndarray:
    return np.array([0.01 * frame, -0.005 * frame, 0.02 * frame], np.float32)


def images():
    for frame in range(FRAMES):
        image = np.full((HEIGHT, WIDTH, 3), (40 * frame, 90, 200 - 30 * frame), np.uint8)
        depth = np.full((HEIGHT, WIDTH), 0.6 + 0.02 * frame, np.float32)
        depth[:4] = np.nan
        yield EpisodeFrame(image, depth)


def episode(name: str = "cloth", fps: int = FPS, **changes) -> Episode:
    """No surface in the first frame, half of it hidden in the second."""
    reference, triangles = grid()
    vertices = np.stack([reference + motion(frame) for frame in range(FRAMES)])
    vertices[0] = np.nan
    visible = np.ones(vertices.shape[:2], bool)
    visible[0] = False
    visible[1, reference[:, 0] > 0] = False
    status = np.array([STATUSES.index(word) for word in ("waiting", "degraded", *["tracked"] * (FRAMES - 2))], np.uint8)
    grasp = PointTrack(vertices[:, 17].copy(), visible[:, 17].copy())
    colors = np.tile(np.array([[255, 128, 0]], np.uint8), (len(reference), 1))
    stamps = 1_700_000_000_000_000_000 + np.arange(FRAMES) * (10**9 // fps)
    return Episode(**{**dict(name=name, stamp_ns=stamps, status=status, residual_m=np.array([np.nan] + [0.001] * (FRAMES - 1), np.float32),
                             reference=reference, triangles=triangles, colors=colors, vertices=vertices, visible=visible,
                             points={"arm/grasp": grasp}, images=images), **changes})


def test_keypoints_are_spread_and_always_the_same() -> None:
    reference, _ = grid()
    index = surface_keypoints(reference, 12)
    assert len(set(index)) == 12 and (index == surface_keypoints(reference, 12)).all()
    apart = np.linalg.norm(reference[index][:, None] - reference[index], axis=2)[~np.eye(12, dtype=bool)]
    assert apart.min() > 0.035
    with pytest.raises(DatasetError, match="200 keypoints of a surface that has 108 vertices"):
        surface_keypoints(reference, 200)


def test_features_are_finite_and_unknown_is_not_visible() -> None:
    one = episode()
    features = frame_features(one, 10, ["arm/grasp", "elsewhere"])
    index = surface_keypoints(one.reference, 10)
    assert all(np.isfinite(values).all() and len(values) == FRAMES for values in features.values())
    assert not features[KEYPOINTS][0].any() and not features[VISIBLE][0].any()
    np.testing.assert_array_equal(features[KEYPOINTS][3].reshape(-1, 3), one.vertices[3, index])
    np.testing.assert_array_equal(features[VISIBLE][1], one.reference[index, 0] <= 0)
    np.testing.assert_array_equal(features["observation.points.arm.grasp"][4], one.vertices[4, 17])
    assert not features["observation.points.elsewhere.visible"].any()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    write_lerobot(tmp_path, [episode("a"), episode("b")], keypoints=10, task="fold a cloth", images=True, depth=True)
    return tmp_path


def test_lerobot_data(dataset: Path) -> None:
    """Files are found as info.json says, and hold what its features declare."""
    info = json.loads((dataset / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_episodes"], info["total_frames"]) == ("v3.0", FPS, 2, 2 * FRAMES)
    assert info["splits"] == {"train": "0:2"}
    episodes = parquet.read_table(dataset / "meta/episodes").to_pylist()
    index = surface_keypoints(episode().reference, 10)
    for number, row in enumerate(episodes):
        assert (row["episode_index"], row["length"], row["tasks"]) == (number, FRAMES, ["fold a cloth"])
        assert (row["dataset_from_index"], row["dataset_to_index"]) == (number * FRAMES, (number + 1) * FRAMES)
        path = info["data_path"].format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
        table = parquet.read_table(dataset / path)
        declared = {key: feature for key, feature in info["features"].items() if feature["dtype"] != "video"}
        assert set(table.column_names) == set(declared)
        for key, feature in declared.items():
            kind = table.schema.field(key).type
            if feature["dtype"] != "image":
                assert str(kind if feature["shape"] == [1] else kind.value_type) == ARROW[feature["dtype"]], key
                assert feature["shape"] == [1] or kind.list_size == feature["shape"][0] == len(feature["names"])
        np.testing.assert_allclose(table["timestamp"].to_numpy(), np.arange(FRAMES) / FPS, atol=1e-7)
        np.testing.assert_array_equal(table["index"].to_numpy(), number * FRAMES + np.arange(FRAMES))
        places = np.stack(table[KEYPOINTS].to_numpy()).reshape(FRAMES, -1, 3)
        np.testing.assert_array_equal(places[2:], episode().vertices[2:, index])
        depths = [cv2.imdecode(np.frombuffer(cell["bytes"], np.uint8), cv2.IMREAD_UNCHANGED) for cell in table[DEPTH].to_pylist()]
        assert [depth[10, 10] for depth in depths] == [600 + 20 * frame for frame in range(FRAMES)] and not depths[0][:4].any()


def test_lerobot_videos_and_meta(dataset: Path) -> None:
    info = json.loads((dataset / "meta/info.json").read_text())
    feature = info["features"][COLOR]
    assert feature["shape"] == [HEIGHT, WIDTH, 3] and feature["info"]["video.codec"] == "h264"
    for row in parquet.read_table(dataset / "meta/episodes").to_pylist():
        assert (row[f"videos/{COLOR}/from_timestamp"], row[f"videos/{COLOR}/to_timestamp"]) == (0, FRAMES / FPS)
        film = cv2.VideoCapture(str(dataset / info["video_path"].format(
            video_key=COLOR, chunk_index=row[f"videos/{COLOR}/chunk_index"], file_index=row[f"videos/{COLOR}/file_index"])))
        colors = []
        while (read := film.read())[0]:
            colors.append(read[1].mean(axis=(0, 1)))
        np.testing.assert_allclose(colors, [[40 * frame, 90, 200 - 30 * frame] for frame in range(FRAMES)], atol=5)
    tasks = parquet.read_table(dataset / "meta/tasks.parquet")
    assert tasks.to_pylist() == [{"task_index": 0, "__index_level_0__": "fold a cloth"}]
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]
    stats = json.loads((dataset / "meta/stats.json").read_text())
    assert set(stats) == set(info["features"])
    numbers = {"min": [0], "max": [FRAMES - 1], "mean": [2.5], "q50": [2.5], "count": [2 * FRAMES]}
    assert stats["frame_index"].items() >= numbers.items() and stats["frame_index"]["std"] == pytest.approx([np.std(np.arange(FRAMES))])
    np.testing.assert_allclose(np.ravel(stats[COLOR]["mean"]), [125 / 255, 90 / 255, 100 / 255], atol=0.02)     # RGB
    assert np.shape(stats[COLOR]["mean"]) == (3, 1, 1)


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    options = dict(keypoints=10, task="x", images=True, depth=True)
    for number, (episodes, words) in enumerate([
            ([episode(), episode("slow", fps=10)], "10 to 20 frames a second"), ([episode(images=None)], "not at hand"),
            ([episode(images=lambda: list(images())[:3])], "3 images were read for 6 frames"),
            ([episode(images=lambda: [EpisodeFrame(one.image, None) for one in images()])], "frame 0 has no depth"),
            ([episode(), episode("b", images=lambda: [EpisodeFrame(one.image[:40], one.depth_m) for one in images()])], "64x40 pixels")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(DatasetError, match=words):
            write_lerobot(folder, episodes, **options)
    write_lerobot(tmp_path, [episode(images=None)], **{**options, "images": False, "depth": False})
    assert not (tmp_path / "videos").exists()


def test_tables(tmp_path: Path) -> None:
    write_tables(tmp_path, [episode("a"), episode("b", colors=None)], keypoints=10)
    table = parquet.read_table(tmp_path / "frames.parquet")
    assert table.num_rows == 2 * FRAMES and table["episode"].to_pylist() == ["a"] * FRAMES + ["b"] * FRAMES
    assert table["status"].to_pylist()[:3] == ["waiting", "degraded", "tracked"]
    with np.load(tmp_path / "meshes" / "a.npz", allow_pickle=False) as mesh:
        np.testing.assert_array_equal(mesh["vertices"][2:], episode().vertices[2:])
        np.testing.assert_array_equal(np.stack(table[KEYPOINTS].to_numpy())[3].reshape(-1, 3), mesh["vertices"][3, mesh["keypoint_index"]])
        np.testing.assert_array_equal(mesh["point_arm.grasp"][5], episode().vertices[5, 17])


def test_gltf(tmp_path: Path, load_ply) -> None:
    """Read by Open3D: metres, y up, the front towards the camera; the targets are the frames with a surface."""
    pygltflib = pytest.importorskip("pygltflib")
    one = episode()
    assert write_gltf(tmp_path / "a.glb", one) == 1
    mesh = load_ply(tmp_path / "a.glb")
    order = np.lexsort(np.round(mesh.vertices, 4).T), np.lexsort(np.round(one.reference * [1, -1, -1], 4).T)      # the reader has its own
    np.testing.assert_allclose(mesh.vertices[order[0]], (one.reference * [1, -1, -1])[order[1]], atol=1e-6)
    first, second, third = (mesh.vertices[mesh.triangles[:, corner]] for corner in range(3))
    assert (np.cross(second - first, third - first)[:, 2] > 0).all() and len(mesh.triangles) == len(one.triangles)
    document = pygltflib.GLTF2().load(tmp_path / "a.glb")
    blob = document.binary_blob()

    def values(accessor: int) -> np.ndarray:
        view = document.bufferViews[document.accessors[accessor].bufferView]
        return np.frombuffer(blob, np.float32, view.byteLength // 4, view.byteOffset)

    targets = [values(target["POSITION"]).reshape(-1, 3) for target in document.meshes[0].primitives[0].targets]
    assert len(targets) == FRAMES - 1
    np.testing.assert_allclose(targets[2], np.broadcast_to(motion(3) * [1, -1, -1], targets[2].shape), atol=1e-6)
    sampler = document.animations[0].samplers[0]
    np.testing.assert_allclose(values(sampler.input), np.arange(FRAMES - 1) / FPS, atol=1e-6)
    np.testing.assert_array_equal(values(sampler.output).reshape(FRAMES - 1, -1), np.eye(FRAMES - 1))
    assert write_gltf(tmp_path / "b.glb", one, most=2) == 3
    with pytest.raises(DatasetError, match="no frame with a surface"):
        write_gltf(tmp_path / "c.glb", episode(vertices=np.full_like(one.vertices, np.nan)))
