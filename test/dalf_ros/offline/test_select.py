"""`register --select`: an object on a table becomes the reference by one pixel."""
import cv2
import numpy as np
import pytest

from dalf_ros.register import main

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


def test_the_surface_is_the_object_alone(folder, tmp_path, command, load_ply):
    _, _, masks = scene()
    x, y = middle(masks["mound"])
    code, out, err = command(main, folder, "--select", f"{x},{y}", "--output", tmp_path / "run", *QUICK)
    assert code == 0 and "tracked 100%" in out, out + err
    pixels = np.rint(CAMERA.project(load_ply(tmp_path / "run/reference.ply").vertices)).astype(int)
    grown = cv2.dilate(masks["mound"].astype(np.uint8), np.ones((3, 3), np.uint8))
    assert grown[pixels[:, 1], pixels[:, 0]].all() and len(pixels) > 0.7 * masks["mound"].sum()
    shown = cv2.imread(str(tmp_path / "run/selection.png"))
    assert shown[230, 300].sum() < 0.5 * cv2.imread(str(folder / "color/0.png"))[230, 300].sum(), "dark beside the object"


@pytest.mark.parametrize(("words", "why"), [(("--select", "300,230"), "on the plane"), (("--select", "5"), "a pixel x,y"),
                                            (("--select", "9,9", "--template", "a.dalf"), "exclude one another")])
def test_what_cannot_be_selected(folder, tmp_path, command, words, why):
    code, _, err = command(main, folder, *words, "--output", tmp_path / "run", *QUICK)
    assert code == 2 and why in err
