"""Objects on a table, as depth in closed form: the mask that a click gives is the true one."""
import numpy as np
import pytest

from dalf_core.templates.selection import SelectionError, select_object, supporting_plane

from ..table_scene import CAMERA, FOOT_POINT, NORMAL, middle, overlap, scene

pytest.importorskip("open3d")


def test_the_plane_is_the_table():
    depth, _, _ = scene()
    plane, height = supporting_plane(np.nan_to_num(depth), CAMERA)
    np.testing.assert_allclose(plane[:3], NORMAL, atol=0.01)
    assert plane[3] == pytest.approx(-NORMAL @ FOOT_POINT, abs=0.005)
    assert abs(np.median(height[200:, 10:100])) < 1e-3


@pytest.mark.parametrize("name", ["mound", "ball"])
def test_a_click_selects_what_is_there(name):
    depth, image, masks = scene()
    pixel = middle(masks[name])
    by_depth, with_color = select_object(depth, CAMERA, pixel), select_object(depth, CAMERA, pixel, image)
    assert overlap(with_color.mask, masks[name]) > 0.95
    assert overlap(with_color.mask, masks[name]) >= overlap(by_depth.mask, masks[name]) > 0.85


def test_without_a_table_all_that_is_connected():
    depth, _, masks = scene()
    depth[~(masks["mound"] | masks["ball"])] = np.nan
    found = select_object(depth, CAMERA, middle(masks["mound"]))
    assert overlap(found.mask, masks["mound"]) > 0.95


@pytest.mark.parametrize("width", [2, 8])
def test_a_stripe_without_depth_does_not_cut_an_object(width):
    depth, image, masks = scene()
    x, y = (int(place) for place in middle(masks["mound"]))
    depth[:, x + 10:x + 10 + width] = np.nan
    assert overlap(select_object(depth, CAMERA, (x, y), image).mask, masks["mound"]) > 0.97
    assert overlap(select_object(depth, CAMERA, (x, y)).mask, masks["mound"]) > 0.85


def test_two_objects_are_apart_where_the_table_is_seen_between_them():
    """Though its depth is missing there: by colour. A step in depth across a gap keeps them apart without one."""
    depth, image, masks = scene()
    x, y = (int(place) for place in middle(masks["mound"]))
    depth[:, x + 10:x + 16] = np.nan
    image[:, x + 10:x + 16] = (90, 140, 170)
    assert not (select_object(depth, CAMERA, (x, y), image).mask[:, x + 18:] & masks["mound"][:, x + 18:]).sum() > 100
    depth[:, x + 13:] += 0.15
    assert not select_object(depth, CAMERA, (x, y)).mask[:, x + 18:].any()


@pytest.mark.parametrize(("pixel", "why"), [((20, 220), "on the plane"), ((160, 30), "background"),
                                            ((400, 20), "x is 0 to 319, y 0 to 239"), ((-5, 10), r"\(-5, 10\) is not in the image"),
                                            ((np.nan, 3), "not in the image"),
                                            ((300, 20), "no depth reading")])
def test_clicks_on_nothing(pixel, why):
    depth, image, _ = scene()
    depth[:40, 280:] = np.nan
    depth[20:40, 100:220] += 0.5
    with pytest.raises(SelectionError, match=why):
        select_object(depth, CAMERA, pixel, image)


def test_a_speck_is_no_object():
    depth, _, _ = scene()
    depth[20:24, 20:24] = 0.3
    with pytest.raises(SelectionError, match="16 pixels"):
        select_object(depth, CAMERA, (21, 21))
