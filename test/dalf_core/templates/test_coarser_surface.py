"""A template's surface on a coarser grid: a tilted plane, whose depth is known in closed form."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dalf_core import PinholeCamera, Template
from dalf_core.surface import Surface
from dalf_core.templates.coarser_surface import coarser_surface, vertices_of_one

CAMERA = PinholeCamera(200.0, 210.0, 79.5, 59.5, 160, 120)
LEFT = 90           # the surface is left of this column, though there is depth right of it


@pytest.fixture
def template() -> Template:
    """The plane z = 0.02 + 0.1 x, nearer than a camera usually sees, under a mask."""
    u = (np.arange(160) - CAMERA.cx) / CAMERA.fx
    depth = np.tile((0.02 / (1 - 0.1 * u)).astype(np.float32), (120, 1))
    image, mask = np.zeros((240, 320, 3), np.uint8), np.zeros((120, 160), np.uint8)
    image[..., 2] = 200
    mask[10:110, 20:LEFT] = 255
    return Template.of_frame("plane", image, depth, CAMERA, mask, near_m=0.005, max_vertices=9000)


@pytest.mark.parametrize("most", [2000, 900, 200])
def test_fewer_vertices_of_the_same_surface(template: Template, most: int) -> None:
    surface = coarser_surface(template, most)
    assert 0.4 * most < len(surface.vertices) <= most < len(template.surface.vertices)
    np.testing.assert_allclose(surface.vertices[:, 2], 0.02 + 0.1 * surface.vertices[:, 0], atol=1e-6)
    before, now = (CAMERA.project(one.vertices) for one in (template.surface, surface))
    spacing = np.sqrt(7000 / most) + 1
    assert (now.min(axis=0) >= before.min(axis=0) - 0.01).all() and (now.max(axis=0) <= before.max(axis=0) + 0.01).all()
    assert (now.min(axis=0) <= before.min(axis=0) + spacing).all() and (now.max(axis=0) >= before.max(axis=0) - spacing).all()
    assert (surface.colors == (200, 0, 0)).all() and (surface.normals[:, 2] < 0).all()
    assert surface.triangles.max() == len(surface.vertices) - 1


def test_its_own_where_it_has_no_more(template: Template) -> None:
    assert coarser_surface(template, len(template.surface.vertices)) is template.surface


def test_its_own_where_hardly_anything_would_remain(template: Template) -> None:
    assert coarser_surface(template, 12) is template.surface


def test_vertices_behind_the_camera_are_nowhere(template: Template) -> None:
    """As a file of somebody else's may have them."""
    whole = template.surface
    odd = Surface(whole.vertices.copy(), whole.normals, whole.triangles, whole.colors)
    odd.vertices[:5, 2] = -1.0
    odd.vertices[5:9] *= np.float32([1e6, 1e6, 1])
    with np.errstate(all="raise"):
        assert 500 < len(coarser_surface(replace(template, surface=odd), 2000).vertices) <= 2000


def test_a_picture_alone_has_none(template: Template) -> None:
    with pytest.raises(ValueError, match="template poster has no depth"):
        coarser_surface(Template.of_frame("poster", template.image), 100)


def test_objects_share_the_bound() -> None:
    assert [vertices_of_one(6000, objects) for objects in (1, 2, 3, 20)] == [6000, 3000, 2000, 1000]
    assert vertices_of_one(300, 3) == 300, "never more than asked for"
