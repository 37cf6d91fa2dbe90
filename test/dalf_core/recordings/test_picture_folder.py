"""Folders of pictures in the layouts that datasets have: which pictures belong together, when, and what they hold."""
from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from dalf_core.recordings.picture_folder import PictureFolder

SIZE = (48, 40)             # width, height


def color(number: int) -> np.ndarray:
    return np.full((SIZE[1], SIZE[0], 3), (number, 2 * number, 3 * number), np.uint8)


def depth(number: int) -> np.ndarray:
    picture = np.full((SIZE[1], SIZE[0]), 1000 + number, np.uint16)
    picture[0, 0] = 0
    return picture


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def numbers_of(recording: PictureFolder) -> list[tuple[int, int | None]]:
    """Which colour picture and which depth image each frame has."""
    return [(int(frame.image[1, 1, 0]), None if frame.depth_m is None else round(1000 * float(frame.depth_m[1, 1])) - 1000)
            for frame in recording.frames()]


@pytest.mark.parametrize(("colors", "depths"), [
    ("color/{:06d}.png", "depth/{:06d}.png"),
    ("rgb/frame_{:d}.png", "depth/d{:03d}.png"),                            # 9 before 10, and other names
    ("images/left_cam20_{:04d}.png", "depth/cam20_{:04d}_depth.png"),
    ("frame-{:06d}.color.png", "frame-{:06d}.depth.png"),                   # VolumeDeform, 7-Scenes
    ("IMG_RGB_{:d}.png", "IMG_DEPTH_{:d}.png"),
])
def test_numbers_tell_what_belongs_together(tmp_path: Path, colors: str, depths: str) -> None:
    """In the order of the numbers, which need not be without gaps, nor the same in both."""
    for number in (8, 9, 10, 12, 100):
        write(tmp_path / colors.format(number), color(number))
        if number != 10:
            write(tmp_path / depths.format(number), depth(number))
    recording = PictureFolder(tmp_path)
    assert recording.has_depth and not recording.has_mask and recording.count == 5
    assert numbers_of(recording) == [(8, 8), (9, 9), (10, None), (12, 12), (100, 100)]
    frames = list(recording.frames())
    assert frames[2].problem == "depth: no depth image has its number" and not frames[0].problem
    assert [frame.stamp_ns for frame in frames] == [round(k * 1e9 / 30) for k in range(5)]
    assert [frame.stamp_ns for frame in PictureFolder(tmp_path, fps=10).frames()] == [k * 100_000_000 for k in range(5)]
    assert np.isnan(frames[0].depth_m[0, 0]) and frames[0].depth_m.dtype == np.float32
    assert np.array_equal(frames[0].image, color(8))


def tum(folder: Path) -> list[tuple[str, str]]:
    stamps = [("1305031102.175304", "1305031102.160407"), ("1305031102.211214", "1305031102.226738"), ("1305031102.275326", "1305031102.9")]
    for number, (rgb, d) in enumerate(stamps):
        write(folder / "rgb" / f"{rgb}.png", color(number))
        write(folder / "depth" / f"{d}.png", depth(number) * 5)
    return stamps


def test_tum_with_associations(tmp_path: Path) -> None:
    """Depth is in fifths of a millimetre; either may stand first in a line."""
    stamps = tum(tmp_path)
    for swap in (False, True):
        rows = [[f"{rgb} rgb/{rgb}.png", f"{d} depth/{d}.png"] for rgb, d in stamps]
        (tmp_path / "associations.txt").write_text("# a comment\n" + "\n".join(" ".join(row[::-1] if swap else row) for row in rows))
        recording = PictureFolder(tmp_path)
        assert numbers_of(recording) == [(0, 0), (1, 1), (2, 2)] and "TUM RGB-D" in recording.description
        assert [frame.stamp_ns for frame in recording.frames()] == [1305031102175304000, 1305031102211214000, 1305031102275326000]


@pytest.mark.parametrize("with_lists", [True, False])
def test_tum_by_the_nearest_stamp(tmp_path: Path, with_lists: bool) -> None:
    stamps = tum(tmp_path)
    if with_lists:
        for name, k in (("rgb", 0), ("depth", 1)):
            (tmp_path / f"{name}.txt").write_text("# timestamp filename\n" + "\n".join(f"{s[k]} {name}/{s[k]}.png" for s in stamps))
    scale = None if with_lists else 1 / 5000
    recording = PictureFolder(tmp_path, metres_per_unit=scale)
    assert numbers_of(recording) == [(0, 0), (1, 1), (2, None)]
    frames = list(recording.frames())
    assert frames[2].gap_ns == 1305031102275326000 - 1305031102226738000 and "stamp tolerance" in frames[2].problem
    assert frames[1].stamp_ns == 1305031102211214000
    assert numbers_of(PictureFolder(tmp_path, metres_per_unit=scale, tolerance_s=0.001)) == [(0, None), (1, None), (2, None)]


def test_masks_and_every_kind_of_depth(tmp_path: Path) -> None:
    write(tmp_path / "color" / "000.jpg", color(90))
    write(tmp_path / "color" / "001.png", color(1))
    write(tmp_path / "color" / "002.png", color(2))
    write(tmp_path / "color" / "003.png", color(3))
    metres = np.full((SIZE[1], SIZE[0]), 1.25, np.float32)
    metres[2, 3] = np.nan
    (tmp_path / "depth").mkdir()
    np.save(tmp_path / "depth" / "000.npy", metres)
    write(tmp_path / "depth" / "001.tiff", metres)
    write(tmp_path / "depth" / "002.png", cv2.applyColorMap(np.zeros((SIZE[1], SIZE[0]), np.uint8), cv2.COLORMAP_JET))
    (tmp_path / "depth" / "003.png").write_bytes(b"no picture")
    object_mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    object_mask[10:20, 5:9] = 7
    write(tmp_path / "mask" / "000_shirt.png", object_mask)                      # DeepDeform
    recording = PictureFolder(tmp_path)
    frames = list(recording.frames())
    assert recording.has_mask and np.array_equal(frames[0].mask, 255 * (object_mask > 0))
    for frame in frames[:2]:
        assert np.array_equal(frame.depth_m, metres, equal_nan=True)
    assert frames[1].mask is None and "no mask has its number" in frames[1].problem
    assert frames[2].depth_m is None and "002.png holds uint8" in frames[2].problem
    assert frames[3].depth_m is None and "is no picture that can be read" in frames[3].problem and frames[3].image is not None
    half = next(PictureFolder(tmp_path, metres_per_unit=0.5).frames())
    assert half.depth_m[0, 0] == 0.625


def test_the_camera_is_read_and_never_guessed(tmp_path: Path) -> None:
    write(tmp_path / "color" / "1.png", color(1))
    write(tmp_path / "depth" / "1.png", depth(1))
    with pytest.raises(ValueError, match="--intrinsics fx,fy,cx,cy.*intrinsics.txt"):
        PictureFolder(tmp_path).camera()
    (tmp_path / "elsewhere.txt").write_text("40 41 20 21")
    camera = PictureFolder(tmp_path, camera_file=tmp_path / "elsewhere.txt").camera().camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height) == (40, 41, 20, 21, *SIZE)
    (tmp_path / "elsewhere.txt").rename(tmp_path / "intrinsics.txt")
    assert PictureFolder(tmp_path).camera().camera == camera


def test_what_is_no_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures in a layout that is known.*TUM RGB-D"):
        PictureFolder(tmp_path)
    (tmp_path / "color").mkdir()
    with pytest.raises(ValueError, match="no colour picture"):
        PictureFolder(tmp_path)
    write(tmp_path / "color" / "1.png", color(1))
    assert not PictureFolder(tmp_path).has_depth
    write(tmp_path / "depth" / "7.png", depth(7))
    with pytest.raises(ValueError, match="numbers never agree"):
        PictureFolder(tmp_path)
    write(tmp_path / "depth" / "1_a.png", depth(1))
    write(tmp_path / "depth" / "1_b.png", depth(1))
    with pytest.raises(ValueError, match="1_a.png and 1_b.png have the same number"):
        PictureFolder(tmp_path)
    shutil.rmtree(tmp_path / "depth")
    write(tmp_path / "depth" / "1.png", depth(1))
    (tmp_path / "associations.txt").write_text("a line of other words")
    with pytest.raises(ValueError, match="associations.txt: a line is not of 2 stamps"):
        PictureFolder(tmp_path)
    (tmp_path / "associations.txt").write_text("# only a comment\n")
    with pytest.raises(ValueError, match="lists nothing"):
        PictureFolder(tmp_path)


def test_a_listed_picture_that_is_not_there(tmp_path: Path) -> None:
    """is that frame's problem alone."""
    write(tmp_path / "rgb" / "1.5.png", color(1))
    write(tmp_path / "depth" / "1.5.png", depth(1) * 5)
    (tmp_path / "associations.txt").write_text("1.5 rgb/1.5.png 1.5 depth/1.5.png\n2.5 rgb/2.5.png 2.5 depth/2.5.png\n")
    first, second = PictureFolder(tmp_path).frames()
    assert not first.problem and first.stamp_ns == 1_500_000_000
    assert second.image is None and second.depth_m is None and "no such file" in second.problem
