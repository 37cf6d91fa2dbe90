"""Recordings in which an image is of another resolution: the first one, one of depth, or all from the middle on."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_ros import register
from dalf_ros.conversions.messages import header
from dalf_ros.images.image_conversion import from_color, from_depth

FRAMES = 5


@pytest.fixture
def frames(official_weights: Path, scene: type, tmp_path: Path, command) -> Callable[..., list[dict]]:
    """`frames(messages, options...)`: the frames of metrics.json after a run over these messages."""
    def run(messages: list, *options: object) -> list[dict]:
        bag = scene.write_bag2(tmp_path / "bag", messages)
        code, _, errors = command(register.main, bag, "--output", tmp_path / "out", "--top-k", 200, *options)
        assert code == 0, errors
        return json.loads((tmp_path / "out" / "metrics.json").read_text())["frames"]

    return run


def color(scene: type, number: int, width: int, height: int) -> dict:
    image = cv2.resize(scene.image(number), (width, height), interpolation=cv2.INTER_AREA)
    return from_color(image, header(scene.stamp(number), scene.frame_id))


def depth(scene: type, number: int, width: int, height: int) -> dict:
    return from_depth(np.full((height, width), scene.distance_m, np.float32), header(scene.stamp(number), scene.frame_id), "16UC1")


@pytest.mark.parametrize("size", [(96, 72), (160, 144)], ids=["of the same shape", "of another shape"])
@pytest.mark.parametrize("camera", ["camera_info", "--intrinsics", "no depth"])
def test_a_first_image_of_another_resolution_is_one_bad_item(frames: Callable, scene: type, camera: str, size: tuple[int, int]) -> None:
    topics = {"camera_info": (scene.color, scene.depth, scene.info), "--intrinsics": (scene.color, scene.depth), "no depth": (scene.color,)}
    messages = scene.messages(FRAMES, topics[camera])
    messages[0] = (scene.color, scene.stamp(0), color(scene, 0, *size))
    found = frames(messages, "--no-video", *(["--intrinsics", "200,200,95.5,71.5"] if camera == "--intrinsics" else []))
    good = "matched" if camera == "no depth" else "tracked"
    assert [frame["status"] for frame in found] == ["unusable"] + [good] * (FRAMES - 1)
    assert f"an image of {size[0]}x{size[1]}, not 192x144 is skipped" in found[0]["reason"] and found[0]["matches"] == 0
    assert [frame["is_reference"] for frame in found] == [False, True] + [False] * (FRAMES - 2)
    assert all(frame["inliers"] > 30 and (frame["residual_m"] or 0) < 0.002 for frame in found[1:])


def test_a_first_depth_image_of_another_shape_is_one_bad_item(frames: Callable, scene: type) -> None:
    messages = scene.messages(FRAMES, (scene.color, scene.depth, scene.info))
    messages[1] = (scene.depth, scene.stamp(0), depth(scene, 0, 160, 144))
    found = frames(messages, "--no-video")
    assert [frame["status"] for frame in found] == ["unusable"] + ["tracked"] * (FRAMES - 1)
    assert "depth is 160x144 but camera_info describes 192x144" in found[0]["reason"]


def test_another_resolution_from_the_middle_on_begins_anew(frames: Callable, scene: type, tmp_path: Path) -> None:
    """With the film and the sheet, whose mesh is drawn for a camera of a size."""
    messages = scene.messages(2 * FRAMES, (scene.color, scene.depth, scene.info))
    for number in range(FRAMES, 2 * FRAMES):
        messages[3 * number] = (scene.color, scene.stamp(number), color(scene, number, 384, 288))
        messages[3 * number + 1] = (scene.depth, scene.stamp(number), depth(scene, number, 384, 288))
    found = frames(messages)
    assert [frame["status"] for frame in found] == ["tracked"] * FRAMES + ["unusable"] + ["tracked"] * (FRAMES - 1)
    assert [number for number, frame in enumerate(found) if frame["is_reference"]] == [0, FRAMES + 1]
    film = cv2.VideoCapture(str(tmp_path / "out" / "video.mp4"))
    assert int(film.get(cv2.CAP_PROP_FRAME_COUNT)) == 2 * FRAMES - 1


def test_a_recording_that_does_not_fit_its_camera_is_refused(official_weights: Path, scene: type, tmp_path: Path, command) -> None:
    messages = scene.messages(FRAMES, (scene.color, scene.depth, scene.info))
    for number in range(FRAMES):
        messages[3 * number + 1] = (scene.depth, scene.stamp(number), depth(scene, number, 160, 144))
    bag = scene.write_bag2(tmp_path / "bag", messages)
    code, _, errors = command(register.main, bag, "--output", tmp_path / "out", "--top-k", 200)
    assert code == 2 and "depth is 160x144 but camera_info describes 192x144" in errors
