"""`register` from the command line: a small recording through the whole pipeline, and everything that can be wrong with one."""
from __future__ import annotations

import json
import os
import re
import signal
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_core import DALF
from dalf_ros import register
from dalf_ros.bags.bag_source import BagSource
from dalf_ros.bags.bag_writer import bag_topic
from dalf_ros.conversions import messages as convert
from dalf_ros.conversions import topics
from dalf_ros.conversions.point_messages import points_of
from dalf_ros.offline import registration_run


@cache
def extractor(weights: str | None, device: str, default_weights: str | None) -> DALF:
    return DALF(weights, device=device, precision="float32")


@pytest.fixture(autouse=True)
def _one_extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs in this process share their extractors: to make one takes seconds."""
    def shared(weights: str | None, device: str, top_k: int, precision: str) -> DALF:      # noqa: ARG001 (float32 on any machine)
        dalf = extractor(weights, device, os.environ.get("DALF_WEIGHTS"))
        dalf.top_k = top_k
        return dalf

    monkeypatch.setattr(registration_run, "DALF", shared)


def read_results(folder: Path) -> dict[str, list]:
    """Messages of the results bag by topic."""
    got: dict[str, list] = {}
    with BagSource(folder / "results") as source:
        assert source.damaged is None
        for raw in source.messages():
            got.setdefault(raw.topic, []).append(source.deserialize(raw))
    return got


def test_whole_run(official_weights: Path, scene: type, rgbd_bag: Path, tmp_path: Path, command, load_ply) -> None:
    out = tmp_path / "a folder" / "out"
    code, text, errors = command(register.main, rgbd_bag, "--output", out, "--top-k", 300, "--max-frames", 8, "--covariance",
                                 "--track-point", "middle,96,72", "--track-point", "nowhere,3,3")
    assert code == 0, errors
    assert "tracked 100%" in text and "8 frames" in text

    metrics = json.loads((out / "metrics.json").read_text())
    assert [frame["stamp_ns"] for frame in metrics["frames"]] == [scene.stamp(n) for n in range(8)]
    for frame in metrics["frames"]:
        assert frame["status"] == "tracked" and frame["inliers"] >= 15 and frame["matches"] >= frame["inliers"]
        assert frame["residual_m"] < 0.002 and {"extract", "match", "register"} <= set(frame["milliseconds"])
    assert metrics["summary"]["tracked_fraction"] == 1 and not metrics["summary"]["interrupted"]
    assert [frame["is_reference"] for frame in metrics["frames"]] == [True] + [False] * 7

    reference = load_ply(out / "reference.ply")
    last = load_ply(out / "surfaces" / "frame_000007.ply")
    shift = np.median(last.vertices - reference.vertices, axis=0)
    np.testing.assert_allclose(shift, [7 * scene.shift_m, 0, 0], atol=0.0025)
    assert len(list((out / "surfaces").glob("*.ply"))) == 6

    got = read_results(out)
    for name in (topics.FEATURES, topics.MATCHES, topics.STATUS, topics.MESH, topics.POINTS, topics.DEFORMATION, topics.LANDMARKS,
                 topics.DEBUG_COMPRESSED):
        messages = got[bag_topic(name)]
        assert [convert.stamp_ns(message.header) for message in messages] == [scene.stamp(n) for n in range(8)], name
        assert all(message.header.frame_id == scene.frame_id for message in messages)
    assert len(got[bag_topic(topics.REFERENCE)]) == 1 and len(got[bag_topic(topics.MARKER)]) == 4     # 5 a second of 10
    np.testing.assert_allclose(convert.mesh_of(got["/surface/mesh"][7])["vertices"], last.vertices, atol=1e-6)
    sure = got[bag_topic(topics.COVARIANCE)]
    assert [convert.stamp_ns(message.header) for message in sure] == [scene.stamp(n) for n in range(1, 8)]
    deviation = np.sqrt(np.linalg.eigvalsh(convert.covariance_of(sure[6]).astype(float)))
    assert len(deviation) == len(last.vertices) and 0 < deviation.min() and np.median(deviation) < 0.002

    named = [points_of(message) for message in got[bag_topic(topics.NAMED_POINTS)]]
    assert [[point.name for point in points] for points in named] == 8 * [["middle"]]
    np.testing.assert_allclose(named[0][0].position, scene.camera.lift(np.array([[96.0, 72.0]]), np.array([0.6]))[0], atol=2e-3)
    np.testing.assert_allclose(named[7][0].position - named[0][0].position, [7 * scene.shift_m, 0, 0], atol=0.0025)
    assert "track_points: nowhere at (3, 3) is not followed" in errors and np.trace(named[7][0].covariance) < 1e-5

    sheet = cv2.imread(str(out / "contact_sheet.png"))
    assert sheet.shape[0] > 6 * 300 and sheet.std() > 20
    film = cv2.VideoCapture(str(out / "video.mp4"))
    assert int(film.get(cv2.CAP_PROP_FRAME_COUNT)) == 8 and film.get(cv2.CAP_PROP_FPS) == pytest.approx(10, abs=0.1)
    page = (out / "report.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="run">(.*?)</script>', page)[1])
    assert data["film"]["frames"] == data["sequences"][0]["frames"] == list(range(8)) and str(out / "report.html") in text
    assert [field["name"] for field in data["sequences"][0]["fields"]] == ["strain", "uncertainty"]


def test_dalf_looks_seldom(official_weights: Path, scene: type, rgbd_bag: Path, tmp_path: Path, command, load_ply) -> None:
    """--features-every auto: DALF's features of the first frame only, matches of all, and the surface where it truly is."""
    code, _, errors = command(register.main, rgbd_bag, "--output", tmp_path / "out", "--top-k", 300, "--no-video",
                              "--features-every", "auto")
    assert code == 0, errors
    metrics, got = json.loads((tmp_path / "out" / "metrics.json").read_text()), read_results(tmp_path / "out")
    assert metrics["options"]["features_every"] == 0 and metrics["summary"]["tracked_fraction"] == 1
    assert [convert.stamp_ns(message.header) for message in got["/features"]] == [scene.stamp(0)] and len(got["/matches"]) == 12
    assert bag_topic(topics.COVARIANCE) not in got
    found = convert.matches_of(got["/matches"][11])
    assert np.abs(np.median(found.query_xy - found.reference_xy, axis=0) - (22, 0)).max() < 0.1
    assert set(got["/matches"][11].found) == {1} and np.allclose(found.age_s, 1.1)
    last, reference = (load_ply(tmp_path / "out" / name).vertices for name in ("surfaces/frame_000011.ply", "reference.ply"))
    np.testing.assert_allclose(np.median(last - reference, axis=0), [11 * scene.shift_m, 0, 0], atol=0.001)
    code, _, errors = command(register.main, rgbd_bag, "--output", tmp_path / "other", "--features-every", "0")
    assert code == 2 and "from 1, or auto" in errors


def test_mask_and_intrinsics(official_weights: Path, scene: type, tmp_path: Path, command, load_ply) -> None:
    """No camera_info: an error that names the option; with the option, and a mask, only the mask's part becomes the surface."""
    bag = scene.write_bag2(tmp_path / "bag", scene.messages(2, (scene.color, scene.depth, scene.mask)))
    code, _, errors = command(register.main, bag, "--output", tmp_path / "out")
    assert code == 2 and "--intrinsics fx,fy,cx,cy" in errors and not (tmp_path / "out").exists()
    code, _, errors = command(register.main, bag, "--output", tmp_path / "out", "--mask-topic", scene.mask, "--no-video",
                              "--intrinsics", "200,200,95.5,71.5")
    assert code == 0, errors
    pixels = scene.camera.project(load_ply(tmp_path / "out" / "reference.ply").vertices)
    assert pixels.min(axis=0) == pytest.approx([20.5, 20.5], abs=2) and pixels.max(axis=0) == pytest.approx([170.5, 122.5], abs=2)
    assert not (tmp_path / "out" / "video.mp4").exists()


def test_zstd_and_a_cloud_give_the_surface_of_plain_images(scene: type, rgbd_bag: Path, tmp_path: Path, command, load_ply) -> None:
    messages = scene.messages(3, (scene.color + "/zstd", scene.points, scene.info))
    options = "--top-k", 200, "--no-video", "--max-frames", 3
    for name, bag, depth in (("plain", rgbd_bag, scene.depth), ("packed", scene.write_bag2(tmp_path / "bag", messages), scene.points)):
        code, text, errors = command(register.main, bag, "--output", tmp_path / name, "--depth-topic", depth, *options)
        assert code == 0 and "tracked 100%" in text, errors
    for file in ("reference.ply", "surfaces/frame_000002.ply"):
        plain, packed = (load_ply(tmp_path / name / file) for name in ("plain", "packed"))
        np.testing.assert_allclose(packed.vertices, plain.vertices, atol=1e-6)
        np.testing.assert_array_equal(packed.colors, plain.colors)


@pytest.mark.parametrize(("changes", "words"), [
    ({"height": 1, "width": 192 * 144, "row_step": 16 * 192 * 144}, "the point cloud is not organised: 27648x1 points"),
    ({"header": convert.header(0, "lidar")}, "the transform from lidar to .* is not known: record /tf_static too, or .*--depth-to-color")])
def test_a_cloud_that_is_no_depth_image_is_told(scene: type, tmp_path: Path, command, changes: dict, words: str) -> None:
    messages = scene.messages(2, (scene.color, scene.points, scene.info))
    for topic, time_ns, fields in messages:
        if topic == scene.points:
            fields |= changes | ({"header": convert.header(time_ns, "lidar")} if "header" in changes else {})
    bag = scene.write_bag2(tmp_path / "bag", messages)
    code, _, errors = command(register.main, bag, "--output", tmp_path / "out", "--depth-topic", scene.points, "--no-video", "--top-k", 200)
    assert code in (1, 2) and re.search(words, errors), errors


def test_colour_only(official_weights: Path, scene: type, tmp_path: Path, command) -> None:
    bag = scene.write_bag2(tmp_path / "bag", scene.messages(3, (scene.color + "/compressed",)))
    code, text, errors = command(register.main, bag, "--output", tmp_path / "out", "--top-k", 200)
    assert code == 0, errors
    assert "has no depth" in text and "tracked" not in text.split("frames in")[1].split("\n")[0]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [frame["status"] for frame in metrics["frames"]] == ["matched"] * 3
    assert set(read_results(tmp_path / "out")) == {"/features", "/matches", "/feature_node/debug_image/compressed"}
    assert (tmp_path / "out" / "contact_sheet.png").is_file() and (tmp_path / "out" / "video.mp4").is_file()
    assert not (tmp_path / "out" / "reference.ply").exists()


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_a_thermal_camera_that_is_named(official_weights: Path, scene: type, tmp_path: Path, command, encoding: str) -> None:
    """16 bits, of which 400 values are used and one pixel is far away: matched as the colour images are."""
    messages = scene.messages(3, (scene.color,))
    for number, (_, _, fields) in enumerate(messages):
        values = np.rint(29_000 + 400 / 255 * scene.image(number).mean(axis=2)).astype("<u2")
        values[70, 100] = 60_000
        fields.update(encoding=encoding, step=2 * scene.camera.width, data=values.reshape(-1).view(np.uint8))
    bag = scene.write_bag2(tmp_path / "bag", messages)
    code, _, errors = command(register.main, bag, "--output", tmp_path / "out", "--top-k", 200, "--color-topic", scene.color, "--no-video")
    assert code == 0, errors
    frames = json.loads((tmp_path / "out" / "metrics.json").read_text())["frames"]
    assert [frame["status"] for frame in frames] == ["matched"] * 3 and all(frame["verified"] > 100 for frame in frames)


def test_frames_without_use(official_weights: Path, scene: type, tmp_path: Path, command) -> None:
    """A black image, a missing depth image and an empty one are entries like others; the surface is found again after them."""
    messages = scene.messages(6, (scene.color, scene.depth, scene.info))
    black, empty = messages[3][2], messages[7][2]           # colour of frame 1, depth of frame 2
    black["data"] = np.zeros_like(black["data"])
    empty["data"] = np.zeros_like(empty["data"])
    del messages[10]                                        # depth of frame 3
    bag = scene.write_bag2(tmp_path / "bag", messages)
    code, _, errors = command(register.main, bag, "--output", tmp_path / "out", "--top-k", 200, "--no-video")
    assert code == 0, errors
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [frame["status"] for frame in metrics["frames"]] == ["tracked", "no_image", "lost", "no_depth", "tracked", "tracked"]
    assert metrics["frames"][1]["residual_m"] is None and "constant" in metrics["frames"][1]["reason"]


def test_cut_off_recording(official_weights: Path, bag_copy: Path, tmp_path: Path, command) -> None:
    file = next(bag_copy.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * 0.7)])
    code, text, errors = command(register.main, bag_copy, "--output", tmp_path / "out", "--max-frames", 3, "--no-video", "--no-report",
                                 "--top-k", 100)
    assert not (tmp_path / "out" / "report.html").exists()
    assert code == 0 and "cut off" in errors and "3 frames" in text


def test_output_folder_is_not_overwritten_unasked(official_weights: Path, rgbd_bag: Path, tmp_path: Path, command) -> None:
    words = (rgbd_bag, "--output", tmp_path / "out", "--max-frames", 1, "--no-video", "--top-k", 100)
    assert command(register.main, *words)[0] == 0
    code, _, errors = command(register.main, *words)
    assert code == 2 and "--overwrite" in errors
    assert command(register.main, *words, "--overwrite")[0] == 0


@pytest.mark.parametrize(("arguments", "words"), [
    (["--color-topic", "/nowhere"], "--color-topic /nowhere"),
    (["--depth-topic", "/camera/color/camera_info"], "expected sensor_msgs/msg/Image"),
    (["--weights", "/nowhere/model.pth"], "no such file"),
    (["--device", "cuda:9"], "cuda:9"),
    (["--image-scale", "99"], "--image-scale"),
    (["--max-frames", "0"], "--max-frames"),
    (["--track-point", "a,1"], "NAME,X,Y"),
    (["--track-point", "two words,1,2"], "cannot be named"),
    (["--track-point", "a,1,2", "--track-point", "a,3,4"], "two points are named a"),
    (["--intrinsics", "0,0,1,1"], "positive"),
    (["--intrinsics", "1,2"], "four numbers"),
])
def test_errors_are_one_clear_line(official_weights: Path, rgbd_bag: Path, tmp_path: Path, command, arguments: list, words: str) -> None:
    code, _, errors = command(register.main, rgbd_bag, "--output", tmp_path / "out", *arguments)
    assert code == 2 and words in errors and "Traceback" not in errors
    assert not (tmp_path / "out" / "results").exists()


def test_missing_bag_and_output_that_cannot_be(official_weights: Path, rgbd_bag: Path, tmp_path: Path, command) -> None:
    code, _, errors = command(register.main, tmp_path / "nothing.mcap", "--output", tmp_path / "out")
    assert code == 2 and errors.count("\n") == 1 and "does not exist" in errors
    (tmp_path / "file").touch()
    code, _, errors = command(register.main, rgbd_bag, "--output", tmp_path / "file" / "out")
    assert code == 2 and errors.count("\n") == 1 and "cannot be written" in errors


def test_checkpoint_with_code_in_it_is_refused(rgbd_bag: Path, tmp_path: Path, command) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple:
            return (open, (str(tmp_path / "it_ran"), "w"))

    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"weights": Trap()}, protocol=2))
    code, _, errors = command(register.main, rgbd_bag, "--output", tmp_path / "out", "--weights", tmp_path / "trap.pth")
    assert code == 2 and "Traceback" not in errors and not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_was_done(official_weights: Path, scene: type, tmp_path: Path, ros_process, number: int,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_MININTERVAL", "0")         # a line for every frame
    bag = scene.write_bag2(tmp_path / "bag", scene.messages(150, (scene.color, scene.depth, scene.info)))
    run = ros_process("dalf_ros.register", bag, "--output", tmp_path / "out", "--top-k", "100")
    run.wait_for_output(" 2/150", 120)      # the first frame takes long: the network is compiled for its size
    assert run.stop(number) == 128 + number, run.output
    assert "interrupted: what was done until then is kept" in run.output and "Traceback" not in run.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    done = len(metrics["frames"])
    assert 0 < done < 150 and metrics["summary"]["interrupted"]
    assert len(read_results(tmp_path / "out")["/status"]) == done
    assert (tmp_path / "out" / "contact_sheet.png").is_file()
    film = cv2.VideoCapture(str(tmp_path / "out" / "video.mp4"))
    assert int(film.get(cv2.CAP_PROP_FRAME_COUNT)) == done


def test_a_run_that_failed_at_once_leaves_nothing(official_weights: Path, scene: type, tmp_path: Path, command) -> None:
    out = tmp_path / "out"
    messages = scene.messages(2, (scene.color, scene.depth))
    for number in (1, 3):
        messages[number][2].update(encoding="32FC1", width=scene.camera.width // 2)
    bag = scene.write_bag2(tmp_path / "bag", messages)
    code, _, errors = command(register.main, bag, "--output", out, "--color-topic", scene.depth, "--no-depth")
    assert code == 2 and "error:" in errors
    assert not out.exists()


def test_a_folder_that_was_there_stays(official_weights: Path, rgbd_bag: Path, tmp_path: Path, command) -> None:
    (tmp_path / "mine").mkdir()
    for out in (tmp_path / "mine", tmp_path / "new" / "out"):
        assert command(register.main, rgbd_bag, "--output", out, "--device", "cuda:9")[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
