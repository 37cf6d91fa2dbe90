"""The object that a rule finds, in depth in closed form."""
import numpy as np
import pytest

from dalf_core.templates.auto_selection import find_object
from dalf_core.templates.selection import SelectionError

from ..table_scene import CAMERA, overlap, scene

pytest.importorskip("open3d")


def test_each_rule_finds_its_own():
    """The mound is larger; the ball is tall, and nearer once it is lifted."""
    depth, image, masks = scene()
    depth[masks["ball"]] -= 0.15
    assert overlap(find_object(depth, CAMERA, "nearest", image).mask, masks["ball"]) > 0.95
    assert overlap(find_object(depth, CAMERA, "largest_above_plane", image).mask, masks["mound"]) > 0.95


def test_largest_is_meant_in_metres():
    """Four times as near, the ball covers more pixels than the mound, and less in space."""
    depth, image, masks = scene()
    x, y = np.meshgrid(np.arange(320), np.arange(240))
    near = np.hypot(x - 60, y - 190) < 48
    depth[near] = 0.3
    assert near.sum() > masks["mound"].sum()
    assert overlap(find_object(depth, CAMERA, "largest_above_plane").mask, masks["mound"]) > 0.85
    assert overlap(find_object(depth, CAMERA, "nearest").mask, near) > 0.85


def test_what_is_behind_the_table_does_not_stand_on_it():
    """The table ends at row 60; a picture hangs before the wall behind it, larger than the mound, wholly in view."""
    depth, image, masks = scene()
    things = masks["mound"] | masks["ball"]
    depth[:60][~things[:60]] = 1.7
    picture = np.s_[6:45, 90:290]
    depth[picture] = np.where(things[picture], depth[picture], 1.45)      # nearer than the table's plane is there
    image[picture] = np.where(things[picture][..., None], image[picture], (30, 200, 30))
    assert overlap(find_object(depth, CAMERA, "largest_above_plane", image).mask, masks["mound"]) > 0.95


@pytest.mark.parametrize("margin", [0, 25])
def test_an_arm_that_reaches_into_the_image_is_not_whole(margin):
    """Though it is larger than the mound, and over the table; also where the sides of the depth image are empty."""
    depth, image, masks = scene()
    arm = np.s_[180:225, 60:320]
    depth[arm] = 0.55
    image[arm] = (230, 180, 120)
    depth[:, 320 - margin:] = np.nan
    depth[100, 310] = 0.9       # a stray reading there
    assert overlap(find_object(depth, CAMERA, "largest_above_plane", image).mask, masks["mound"]) > 0.95
    assert find_object(depth, CAMERA, "nearest", image).mask[200, 200]


def test_without_a_plane_the_nearest_needs_none():
    depth, _, masks = scene()
    depth[~(masks["mound"] | masks["ball"])] = np.nan
    depth[masks["ball"]] -= 0.3
    assert overlap(find_object(depth, CAMERA, "nearest").mask, masks["ball"]) > 0.95
    with pytest.raises(SelectionError, match="no plane"):
        find_object(depth, CAMERA, "largest_above_plane")


def test_nothing_to_be_found():
    depth, _, masks = scene()
    bare = depth.copy()
    rows, columns = np.nonzero(masks["mound"] | masks["ball"])
    bare[rows, columns] = np.nan
    bare[20:24, 20:24] = 0.3        # a speck
    for rule in ("nearest", "largest_above_plane"):
        with pytest.raises(SelectionError, match="nothing large enough"):
            find_object(bare, CAMERA, rule)
    with pytest.raises(SelectionError, match="no reading"):
        find_object(np.full_like(depth, np.nan), CAMERA, "nearest")
    with pytest.raises(ValueError, match="'biggest'"):
        find_object(depth, CAMERA, "biggest")
