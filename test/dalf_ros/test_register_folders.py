"""`register` on folders of pictures: the same frames as a bag and as a folder give the same surface."""
from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_ros import register
from dalf_ros.bags.bag_reader import read_frames
from dalf_ros.bags.bag_source import BagSource
from dalf_ros.bags.bag_topics import choose_topics

FRAMES = 4
BRIEF = ("--top-k", 300, "--device", "cpu", "--precision", "float32")


@pytest.fixture
def folder(rgbd_bag: Path, scene: type, tmp_path: Path) -> Path:
    """The recording's first frames as color/, depth/ and mask/, depth in millimetres, and intrinsics.txt."""
    place = tmp_path / "pictures"
    with BagSource(rgbd_bag) as source:
        for number, frame in zip(range(FRAMES), read_frames(source, choose_topics(source.topics, mask=scene.mask))):
            millimetres = np.rint(1000 * np.nan_to_num(frame.depth_m)).astype(np.uint16)
            for name, picture in (("color", frame.image), ("depth", millimetres), ("mask", frame.mask)):
                (place / name).mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(place / name / f"{number}.png"), picture)
    camera = scene.camera
    (place / "intrinsics.txt").write_text(f"{camera.fx} {camera.fy} {camera.cx} {camera.cy}")
    return place


def vertices(out: Path, load_ply) -> np.ndarray:
    return load_ply(out / "surfaces" / f"frame_{FRAMES - 1:06d}.ply").vertices


def test_a_folder_gives_the_surface_of_the_bag(official_weights, rgbd_bag, scene, folder, tmp_path, command, load_ply) -> None:
    code, text, errors = command(register.main, folder, "--output", tmp_path / "a", *BRIEF)
    assert code == 0, errors
    assert "taken for folders of pictures (colour color/, depth depth/, mask mask/), 4 frames" in text and "tracked 100%" in text
    code, text, errors = command(register.main, rgbd_bag, *BRIEF, "--output", tmp_path / "b", "--max-frames", FRAMES,
                              "--mask-topic", scene.mask)
    assert code == 0, errors
    assert "hint" not in text
    code, text, _ = command(register.main, rgbd_bag, *BRIEF, "--output", tmp_path / "c", "--max-frames", 1, "--no-video")
    assert code == 0 and f"hint: there are masks; --mask-topic {scene.mask} keeps to the object" in text
    assert np.array_equal(vertices(tmp_path / "a", load_ply), vertices(tmp_path / "b", load_ply))
    summary = json.loads((tmp_path / "a" / "metrics.json").read_text())["summary"]
    assert summary["recording"] == str(folder) and summary["status"] == {"tracked": FRAMES}


def test_what_is_missing_or_of_bags_is_asked_for(folder: Path, tmp_path: Path, command) -> None:
    out = tmp_path / "out"
    for change, words in (
            (("--depth-topic", "/depth"), "is a folder of pictures; --depth-topic is for bags"),
            (("--intrinsics", "nowhere.txt"), "neither fx,fy,cx,cy nor a file"),
            (("--fps", "0"), "--fps must be greater than 0")):
        code, _, errors = command(register.main, folder, "--output", out, *change)
        assert code == 2 and words in errors and "Traceback" not in errors
    (folder / "intrinsics.txt").unlink()
    code, _, errors = command(register.main, folder, "--output", out)
    assert code == 2 and "--intrinsics fx,fy,cx,cy" in errors and not out.exists()
    code, _, errors = command(register.main, folder / "color" / "0.png", "--output", out)
    assert code == 2 and "is not a recording with depth" in errors
    code, _, errors = command(register.main, tmp_path, "--output", out)
    assert code == 2 and "no pictures in a layout that is known" in errors
