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


def test_a_wall_behind_the_table_does_not_stand_on_it():
    depth, image, masks = scene()
    depth[:70] = np.where(masks["mound"][:70] | masks["ball"][:70], depth[:70], 1.2)     # nearer than the table's plane there
    assert overlap(find_object(depth, CAMERA, "largest_above_plane", image).mask, masks["mound"]) > 0.95


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
