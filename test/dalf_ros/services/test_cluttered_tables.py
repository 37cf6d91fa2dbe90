"""What a click and the rules select on three simulated tables, with a real sensor's noise, holes and shadows: overlap with the truth."""
import cv2
import numpy as np
import pytest

from dalf_core.templates.auto_selection import find_object
from dalf_core.templates.selection import select_object

from .cluttered_tables import CAMERA, NAMES, table_scene

pytest.importorskip("open3d")


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("name", NAMES)
def test_the_masks_are_the_true_ones(name):
    scene = table_scene(name)
    things = {thing: mask for thing, mask in scene.masks.items() if thing not in ("table", "wall")}
    for thing, mask in things.items():
        inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
        y, x = np.unravel_index(inside.argmax(), mask.shape)
        found = select_object(scene.depth_m, CAMERA, (float(x), float(y)), scene.color)
        assert overlap(found.mask, mask) > 0.95, thing
        assert overlap(select_object(scene.depth_m, CAMERA, (float(x), float(y))).mask, mask) > 0.85, f"{thing} without colour"
    nearest = min(things, key=lambda thing: np.percentile(scene.depth_m[things[thing] & (scene.depth_m > 0)], 2))
    assert overlap(find_object(scene.depth_m, CAMERA, "nearest", scene.color).mask, things[nearest]) > 0.95
    assert overlap(find_object(scene.depth_m, CAMERA, "largest_above_plane", scene.color).mask, things["cloth"]) > 0.95
