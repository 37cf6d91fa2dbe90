"""Recordings that misbehave, as users of comparable packages have reported them: what is read, and what a run says of it."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dalf_core.camera import PinholeCamera
from dalf_ros.bags.bag_reader import RgbdFrame, read_camera, read_frames
from dalf_ros.bags.bag_source import BagError, BagSource
from dalf_ros.bags.bag_topics import choose_topics
from dalf_ros.errors import SetupError
from dalf_ros.offline.depth_streams import DepthStreams
from dalf_ros.register import main

FRAMES = 8
COLOR = "/camera/color/image_raw"


@pytest.fixture(scope="module")
def recordings(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = data_folder / "odd_recordings" / "make.py"
    if not script.is_file():
        pytest.skip(f"{script} is not there")
    folder = tmp_path_factory.mktemp("odd")
    subprocess.run([sys.executable, script, folder], check=True, env={**os.environ, "DALF_TEST_DATA": str(data_folder)})
    return folder


def read(bag: Path, by_recording_time: bool = False, **chosen: str) -> list[RgbdFrame]:
    with BagSource(bag) as source:
        return list(read_frames(source, choose_topics(source.topics, **chosen), by_recording_time=by_recording_time))


def register(bag: Path, output: Path, *more: str) -> tuple[int, dict]:
    status = main([str(bag), "--output", str(output), "--top-k", "256", "--no-video", *more])
    metrics = output / "metrics.json"
    return status, json.loads(metrics.read_text()) if metrics.is_file() else {}


def same_depth(frames: list[RgbdFrame], wanted: list[RgbdFrame]) -> bool:
    return [np.array_equal(a.depth_m, b.depth_m, equal_nan=True) for a, b in zip(frames, wanted, strict=True)] == [True] * len(wanted)


@pytest.fixture(scope="module")
def plain(recordings: Path) -> list[RgbdFrame]:
    """What the recordings were made from: eight frames, each with its own depth."""
    frames = read(recordings / "duplicates" / "bag")
    assert len({frame.depth_m.tobytes() for frame in frames}) == FRAMES
    return frames


def test_without_stamps_recording_times_serve(recordings: Path, plain: list[RgbdFrame], caplog: pytest.LogCaptureFixture) -> None:
    frames = read(recordings / "zero_stamp" / "bag")
    assert same_depth(frames, plain)
    assert (np.diff([frame.stamp_ns for frame in frames]) > 3e8).all()
    assert len(re.findall("have no stamp", caplog.text)) == 1


def test_repeats_are_left_out(recordings: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(read(recordings / "duplicates" / "bag")) == FRAMES
    assert "8 messages repeat the stamp" in caplog.text


def test_what_is_recorded_late_is_joined_by_its_stamp(recordings: Path, plain: list[RgbdFrame]) -> None:
    assert same_depth(read(recordings / "late" / "depth_1500ms"), plain)


@pytest.mark.parametrize(("name", "gap", "mend"), [("depth_80ms", "0.080 s later", "--tolerance 0.12"),
                                                   ("depth_other_clock", "s earlier", "--recording-time")])
def test_nothing_followed_is_an_error_with_its_mend(recordings: Path, tmp_path: Path, capsys, name: str, gap: str, mend: str) -> None:
    status, metrics = register(recordings / "offset" / name, tmp_path / "out")
    told = capsys.readouterr().err
    assert status == 1 and metrics["summary"]["status"]["no_depth"] >= FRAMES - 1      # the other clock begins with a zero
    assert "8 frames are no_depth (no depth within the stamp tolerance)" in told and gap in told and mend in told


def test_the_mends_mend(recordings: Path, plain: list[RgbdFrame]) -> None:
    assert same_depth(read(recordings / "offset" / "depth_other_clock", by_recording_time=True), plain)
    with BagSource(recordings / "offset" / "depth_80ms") as source:
        assert same_depth(list(read_frames(source, choose_topics(source.topics), 0.12)), plain)


def test_depth_of_its_own_camera_is_refused_without_a_transform(recordings: Path, tmp_path: Path, capsys) -> None:
    bag = recordings / "unaligned_depth" / "bag"
    status, _ = register(bag, tmp_path / "out")
    told = capsys.readouterr().err
    assert status == 2 and "depth is in frame camera_depth_optical_frame" in told and "the transform" in told
    assert "--depth-to-color" in told and "--no-check-frames" in told and "check_frames to false" not in told
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_depth_of_its_own_camera_is_aligned(recordings: Path) -> None:
    """The depth camera of that recording sees the same rays at .8 of the size, 12 px to the right."""
    from dalf_core.depth_alignment import align_depth
    from dalf_ros.conversions.transforms import IDENTITY

    with BagSource(recordings / "unaligned_depth" / "bag") as source:
        chosen = choose_topics(source.topics)
        assert (chosen.color, chosen.depth) == (COLOR, "/camera/depth/image_rect_raw")
        color, frame = read_camera(source, chosen), next(read_frames(source, chosen))
        with pytest.raises(SetupError, match="camera_depth_optical_frame"):
            DepthStreams(source, chosen).camera(color, frame.frame_id, frame.depth_frame_id)
        own = DepthStreams(source, chosen, IDENTITY).camera(color, frame.frame_id, frame.depth_frame_id)
        assert DepthStreams(source, chosen, check_frames=False).camera(color, frame.frame_id, frame.depth_frame_id) is None
    truth = next(iter(read(recordings / "duplicates" / "bag"))).depth_m
    assert own.to_color is IDENTITY
    depth_camera = PinholeCamera(220, 220, 172, 120, 320, 240)        # K of its camera_info, whose P was left as colour's
    aligned = align_depth(frame.depth_m, depth_camera, color.camera, own.to_color.rotation, own.to_color.translation)
    both = np.isfinite(aligned) & np.isfinite(truth)
    assert both.sum() > 0.85 * np.isfinite(truth).sum()
    # within a pixel and the resampling of the recording: the median is exact to a millimetre, and there is no shift
    assert np.median(np.abs(aligned - truth)[both]) < 1.5e-3
    shifted = np.abs(aligned[:, 4:] - truth[:, :-4])[both[:, 4:] & both[:, :-4]]
    assert np.median(np.abs(aligned - truth)[both]) < 0.5 * np.median(shifted)


def test_two_cameras_are_not_mixed(recordings: Path) -> None:
    with BagSource(recordings / "two_cameras" / "bag") as source:
        chosen = choose_topics(source.topics, color="/cam1/color/image_raw")
    assert (chosen.depth, chosen.camera_info) == ("/cam1/depth/image_rect_raw", "/cam1/color/camera_info")
    with BagSource(recordings / "two_cameras" / "front_rgb_wrist_rgbd") as source:
        try:
            chosen = choose_topics(source.topics)
        except BagError as error:
            assert "/front_rgb/image_raw" in str(error) and "/wrist/image_raw" in str(error)
        else:
            assert (chosen.color, chosen.depth, chosen.camera_info) == ("/wrist/image_raw", "/wrist/depth/image_raw", "/wrist/camera_info")


@pytest.mark.parametrize(("name", "bad"), [("empty_mid", 4), ("half_mid", 4), ("empty_first", 0), ("raw_short", 4)])
def test_one_bad_image_ends_nothing(recordings: Path, plain: list[RgbdFrame], name: str, bad: int) -> None:
    frames = read(recordings / "corrupt_jpeg" / name)
    assert same_depth(frames, plain)
    unreadable = [number for number, frame in enumerate(frames) if frame.image is None]
    assert unreadable == [bad] and frames[bad].problem.startswith("colour image: ")


def test_a_run_goes_on_after_a_bad_image(recordings: Path, tmp_path: Path) -> None:
    status, metrics = register(recordings / "corrupt_jpeg" / "empty_first", tmp_path / "out")
    statuses = [frame["status"] for frame in metrics["frames"]]
    assert status == 0 and statuses[0] == "unreadable" and "tracked" in statuses[1:] and len(statuses) == FRAMES
    assert len(metrics["options"]["weights_sha256"]) == 64 and metrics["options"]["max_keyframes"] == 8
    assert metrics["options"]["top_k"] == 256 and metrics["options"]["recording"].endswith("empty_first")


@pytest.mark.parametrize("name", ["first_bad", "k_zero_p_good", "rect_p_zero"])
def test_the_first_usable_camera_info_serves(recordings: Path, name: str) -> None:
    with BagSource(recordings / "camera_info" / name) as source:
        camera = read_camera(source, choose_topics(source.topics)).camera
    assert (camera.fx, camera.fy) == (275, 275) and (camera.cx, camera.cy) == pytest.approx((159.75, 119.75), abs=0.25)


@pytest.mark.parametrize("name", ["k_nan", "size_zero"])
def test_camera_info_that_is_never_usable_is_told_with_its_mend(recordings: Path, name: str) -> None:
    with BagSource(recordings / "camera_info" / name) as source, pytest.raises(BagError, match="--intrinsics fx,fy,cx,cy"):
        read_camera(source, choose_topics(source.topics))


@pytest.mark.parametrize("name", ["bag", "png"])
def test_a_compressed_mosaic_is_demosaiced(recordings: Path, plain: list[RgbdFrame], name: str) -> None:
    for frame, wanted in zip(read(recordings / "bayer_compressed" / name), plain, strict=True):
        assert frame.image.shape == wanted.image.shape
        assert np.abs(frame.image[2:-2, 2:-2].astype(int) - wanted.image[2:-2, 2:-2]).mean() < 6


def rewritten(source: Path, target: Path, changed) -> Path:
    """A copy of a recording in which `changed(topic, number, message)` gives each message anew; None leaves it out."""
    from collections import Counter

    from rosbags.rosbag2 import StoragePlugin, Writer

    from dalf_ros.conversions.message_factory import bag_typestore

    store, count = bag_typestore(), Counter()
    with BagSource(source) as bag, Writer(target, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        links = {}
        for raw in bag.messages():
            message = changed(raw.topic, count[raw.topic], bag.deserialize(raw))
            count[raw.topic] += 1
            if message is not None:
                links.setdefault(raw.topic, writer.add_connection(raw.topic, raw.type, typestore=store) if raw.topic not in links else None)
                writer.write(links[raw.topic], raw.time_ns, store.serialize_cdr(message, raw.type))
    return target


@pytest.fixture(scope="module")
def masked(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of the foam recording with a mask for every second image."""
    seen = {"/camera/object_mask": set(range(0, 8, 2))}
    source = data_folder / "bags" / "foam_and_plush"
    if not source.exists():
        pytest.skip(f"{source} is not there")
    return rewritten(source, tmp_path_factory.mktemp("masked") / "bag",
                     lambda topic, number, message: message if number in seen.get(topic, set(range(8))) else None)


def test_no_frame_is_extracted_without_the_mask_that_was_named(masked: Path, tmp_path: Path) -> None:
    _, metrics = register(masked, tmp_path / "out", "--mask-topic", "/camera/object_mask", "--image-scale", "2")
    frames = metrics["frames"]
    assert [frame["status"] == "no_mask" for frame in frames] == [False, True] * 4
    assert all(frame["matches"] == 0 and "no mask" in frame["reason"] for frame in frames[1::2])
    assert all(0 < frame["matches"] < 200 for frame in frames[::2])          # of the foam alone: the whole scene has more


def test_depth_in_another_unit_is_asked_about(recordings: Path, tmp_path: Path, capsys) -> None:
    """Floats in millimetres."""
    from dataclasses import replace

    def in_float_millimetres(topic, _, message):
        if "depth" not in topic:
            return message
        values = np.frombuffer(bytes(message.data), "<u2").astype("<f4")
        return replace(message, encoding="32FC1", step=message.width * 4, data=np.frombuffer(values.tobytes(), np.uint8))

    bag = rewritten(recordings / "duplicates" / "bag", tmp_path / "bag", in_float_millimetres)
    status, _ = register(bag, tmp_path / "out")
    assert status == 2 and "--depth-scale" in capsys.readouterr().err
    status, metrics = register(bag, tmp_path / "scaled", "--depth-scale", "0.001", "--max-frames", "3")
    assert status == 0 and metrics["summary"]["tracked_fraction"] > 0.5


def test_the_recording_that_is_read_is_never_replaced(recordings: Path, tmp_path: Path, capsys) -> None:
    import shutil

    bag = tmp_path / "run" / "results"
    shutil.copytree(recordings / "duplicates" / "bag", bag)
    before = sorted(path.name for path in bag.iterdir())
    status, _ = register(bag, tmp_path / "run", "--overwrite")
    assert status == 2 and "is to be read" in capsys.readouterr().err and sorted(path.name for path in bag.iterdir()) == before
