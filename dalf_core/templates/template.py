"""A template: a reference that outlives the session; its surface is found again whatever shape it is in, under another camera."""
from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ..camera import PinholeCamera, rescale_pixels
from ..depth import FAR_M, NEAR_M, clean_depth
from ..features.image_input import check_mask, extract_scaled
from ..registration.landmarks import lift_pixels
from ..surface import Surface, surface_from_depth
from ..types import Features

if TYPE_CHECKING:
    from ..features.extractor import DALF

MIN_KEYPOINTS = 20          # fewer cannot be verified
MAX_VERTICES = 6000
NEAR_SURFACE = 3.0          # times the distance of its vertices: a keypoint farther off is not on it
LONGEST_NAME = 100


class TemplateError(ValueError):
    """What cannot be a template, or a file that is none. The message names the cause and the mend."""


@dataclass(frozen=True)
class Template:
    """One view of an object: what it looks like, and (with depth) its surface.

    name: how it is called in messages. image: (H, W, 3) uint8 BGR of a pinhole camera. mask: (H, W) bool, the object; None: all of it.
    depth_m: (h, w) float32 metres, 0 = no reading, of the same view; camera: of depth_m; None without depth, then it is only recognised
    and followed in the image. surface: in the camera's optical frame, metres.
    features: of image within mask; None: whoever uses it extracts them. extractor: DALF.fingerprint of what made them, image_scale: by what
    factor the image was resized before. points: (3,) metres on the surface by name. metadata: free text by name.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray | None = None
    depth_m: np.ndarray | None = None
    camera: PinholeCamera | None = None
    surface: Surface | None = None
    features: Features | None = None
    extractor: str = ""
    image_scale: float = 1.0
    points: dict[str, np.ndarray] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_frame(cls, name: str, image: np.ndarray, depth_m: np.ndarray | None = None, camera: PinholeCamera | None = None,
                 mask: np.ndarray | None = None, *, max_vertices: int = MAX_VERTICES, pieces: str = "all", near_m: float = NEAR_M,
                 far_m: float = FAR_M, metadata: dict[str, str] | None = None) -> Template:
        """A template of one frame, without features yet.

        image: HxWx3 uint8 BGR or HxW uint8. depth_m: HxW metres, NaN or 0 = no reading, aligned with it, of any resolution; camera: of the
        colour image or of the depth image. mask: of any resolution, nonzero = object.
        Raises TemplateError; SurfaceError where depth has no usable surface; ValueError on arrays that do not fit.
        """
        check_name(name)
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise TemplateError(f"a template's picture must be HxW or HxWx3 uint8, not {image.dtype} of shape {image.shape}")
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
        mask = None if mask is None else check_mask(mask, image.shape[:2]) != 0
        bare = cls(name, image, mask, metadata=dict(metadata or {}))
        if depth_m is None:
            return bare
        if camera is None:
            raise TemplateError("depth without the camera's intrinsics is no surface: give the camera too")
        height, width = depth_m.shape
        camera = camera.scaled(width, height)
        picture = image if image.shape[:2] == depth_m.shape else cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        surface = surface_from_depth(depth_m, camera, picture, None if mask is None else check_mask(mask, depth_m.shape),
                                     max_vertices=max_vertices, pieces=pieces, near_m=near_m, far_m=far_m)
        return replace(bare, depth_m=clean_depth(depth_m, camera, near_m=near_m, far_m=far_m), camera=camera, surface=surface)

    def with_features(self, dalf: DALF, image_scale: float = 1.0) -> Template:
        """The same template with features of this extractor; itself where it has them. TemplateError: it finds too few."""
        if self.features is not None and self.extractor == dalf.fingerprint and math.isclose(self.image_scale, image_scale):
            return self
        features = extract_scaled(dalf.extract, self.image, self.mask, image_scale)
        if len(features) < MIN_KEYPOINTS:
            raise TemplateError(f"template {self.name}: only {len(features)} keypoints, at least {MIN_KEYPOINTS} are needed: take a "
                                "picture with more of it, or nearer, or a larger image_scale")
        return replace(self, features=features, extractor=dalf.fingerprint, image_scale=image_scale)

    def surface_points(self, xy: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """(N, 2) pixels of the picture, at resolution image_size (width, height), to (N, 3) metres on the surface; NaN where it is not."""
        if self.surface is None or self.depth_m is None or self.camera is None:
            return np.full((len(xy), 3), np.nan)
        points, lifted = lift_pixels(self.depth_m, rescale_pixels(xy, image_size, (self.camera.width, self.camera.height)), self.camera)
        if lifted.any():
            tree, between = self._vertices
            lifted[lifted] = tree.query(points[lifted])[0] < NEAR_SURFACE * between
        points[~lifted] = np.nan
        return points

    @cached_property
    def _vertices(self) -> tuple[cKDTree, float]:
        """The surface's vertices, to search among, and how far apart they usually are, metres."""
        assert self.surface is not None
        tree = cKDTree(self.surface.vertices)
        return tree, float(np.median(tree.query(self.surface.vertices, 2)[0][:, 1]))


def check_name(name: str) -> None:
    """Raises TemplateError on a name that cannot stand in messages and file names."""
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or "/" in name or name.strip() != name:
        raise TemplateError(f"{name[:LONGEST_NAME]!r} cannot be a template's name: it takes 1 to {LONGEST_NAME} printable characters "
                            "without /, and no space around them")
