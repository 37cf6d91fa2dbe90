"""A template's surface with fewer vertices: its depth once more, on a coarser grid."""
from __future__ import annotations

import cv2
import numpy as np

from ..surface import Surface, SurfaceError, surface_from_depth
from .template import Template

LEAST_OF_ONE = 1000         # vertices of one object among many, which then has some 100 nodes


def vertices_of_one(max_vertices: int, objects: int) -> int:
    """The bound on each surface where several objects share what one alone may have. Their nodes follow from it, see build_graph()."""
    return max(min(LEAST_OF_ONE, max_vertices), max_vertices // objects)


def coarser_surface(template: Template, max_vertices: int) -> Surface:
    """The surface of a template with depth, of at most so many vertices.

    Its own where it has no more, or where fewer would leave nothing of it. Raises ValueError for a template without depth.
    """
    surface, camera, depth = template.surface, template.camera, template.depth_m
    if surface is None or camera is None or depth is None:
        raise ValueError(f"template {template.name} has no depth, and so no surface")
    if len(surface.vertices) <= max_vertices:
        return surface
    size = (camera.width, camera.height)
    picture = template.image if template.image.shape[1::-1] == size else cv2.resize(template.image, size, interpolation=cv2.INTER_AREA)
    there = np.where(_covered(surface, template) > 0, depth, np.float32(0))
    try:        # its readings are within limits already
        return surface_from_depth(there, camera, picture, max_vertices=max_vertices, near_m=0.0, far_m=np.inf)
    except SurfaceError:
        return surface


def _covered(surface: Surface, template: Template) -> np.ndarray:
    """(H, W) uint8, 255 on the pixels of the template's depth that its triangles cover."""
    assert template.camera is not None
    covered = np.zeros((template.camera.height, template.camera.width), np.uint8)
    corners = template.camera.project(surface.vertices)[surface.triangles]
    with np.errstate(invalid="ignore"):
        inside = ((corners > -1) & (corners < (template.camera.width, template.camera.height))).all(axis=(1, 2))
    for corner in np.rint(corners[inside]).astype(np.int32):
        cv2.fillConvexPoly(covered, corner, 255)
    return covered
