"""`register --select` and --auto-select: an object on a table becomes the reference by one pixel, or by a rule."""
import json

import cv2
import numpy as np
import pytest

from dalf_ros.register import joined_negatives, main

from ...dalf_core.table_scene import CAMERA, middle, scene

pytest.importorskip("open3d")
QUICK = ("--weights", "light", "--top-k", "300", "--no-video")


@pytest.fixture
def folder(tmp_path):
    """Three pictures of the table, the mound textured."""
    depth, image, masks = scene()
    texture = cv2.resize(np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
    image = np.where(masks["mound"][..., None], texture // 2 + image // 2, image)
    for number in range(3):
        for name, picture in (("color", image), ("depth", np.rint(1000 * np.nan_to_num(depth)).astype(np.uint16))):
            (tmp_path / "pictures" / name).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(tmp_path / "pictures" / name / f"{number}.png"), picture)
    (tmp_path / "pictures/intrinsics.txt").write_text(f"{CAMERA.fx} {CAMERA.fy} {CAMERA.cx} {CAMERA.cy}")
    return tmp_path / "pictures"


@pytest.mark.parametrize("how", ["--select", "--auto-select"])
def test_the_surface_is_the_object_alone(folder, tmp_path, command, load_ply, how):
    _, _, masks = scene()
    x, y = middle(masks["mound"])
    words = (how, f"{x},{y}" if how == "--select" else "largest_above_plane")
    code, out, err = command(main, folder, *words, "--output", tmp_path / "run", *QUICK)
    assert code == 0 and "tracked 100%" in out, out + err
    pixels = np.rint(CAMERA.project(load_ply(tmp_path / "run/reference.ply").vertices)).astype(int)
    grown = cv2.dilate(masks["mound"].astype(np.uint8), np.ones((3, 3), np.uint8))
    assert grown[pixels[:, 1], pixels[:, 0]].all() and len(pixels) > 0.7 * masks["mound"].sum()
    shown = cv2.imread(str(tmp_path / "run/selection.png"))
    assert shown[230, 300].sum() < 0.5 * cv2.imread(str(folder / "color/0.png"))[230, 300].sum(), "dark beside the object"


def test_a_rule_waits_for_the_first_frame_that_shows_something(folder, tmp_path, command):
    depth = cv2.imread(str(folder / "depth/0.png"), cv2.IMREAD_UNCHANGED)
    _, _, masks = scene()
    depth[masks["mound"] | masks["ball"]] = 0
    assert cv2.imwrite(str(folder / "depth/0.png"), depth)
    code, out, err = command(main, folder, "--auto-select", "largest_above_plane", "--output", tmp_path / "run", *QUICK)
    assert code == 0, out + err
    frames = json.loads((tmp_path / "run/metrics.json").read_text())["frames"]
    assert [frame["status"] for frame in frames] == ["no_mask", "tracked", "tracked"] and frames[1]["is_reference"]
    assert "nothing large enough" in frames[0]["reason"]


@pytest.mark.parametrize(("words", "why"), [(("--select", "300,230"), "on the plane"), (("--select", "5"), "a pixel x,y"),
                                            (("--select", "-5,10"), "'-5,10' is not in the image: x is 0 to"),
                                            (("--select=-5,10",), "'-5,10' is not in the image: x is 0 to"),
                                            (("--select", "500,10"), "x is 0 to 319, y 0 to 239"),
                                            (("--auto-select", "largest"), "none, nearest, largest_above_plane"),
                                            (("--auto-select", "nearest", "--no-depth"), "exclude one another"),
                                            (("--select", "9,9", "--auto-select", "nearest"), "exclude one another"),
                                            (("--select", "9,9", "--template", "a.dalf"), "exclude one another")])
def test_what_cannot_be_selected(folder, tmp_path, command, words, why):
    code, _, err = command(main, folder, *words, "--output", tmp_path / "run", *QUICK)
    assert code == 2 and why in err


def test_numbers_that_begin_with_a_minus_belong_to_their_option():
    words = ["a.bag", "--depth-to-color", "-.01,0,0,0,0,0,1", "--select", "-5,10", "--no-video", "-5,10", "--x=1", "-1e-2,3"]
    assert joined_negatives(words) == [
        "a.bag", "--depth-to-color=-.01,0,0,0,0,0,1", "--select=-5,10", "--no-video=-5,10", "--x=1", "-1e-2,3"]
