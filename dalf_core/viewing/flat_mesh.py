"""What colour alone tells, as a mesh: the template image as a flat sheet, bent and moved as the 2D registration has it."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..image_registration.image_warp import ImageWarp
from ..sixteen_bit import to_eight_bit

CELLS = 128         # along the template's longer side


@dataclass(frozen=True)
class FlatMesh:
    """A grid over the template. xy: (V, 2) int, template pixels; triangles: (F, 3), counter-clockwise as seen; colors: (V, 3) uint8 RGB."""

    xy: np.ndarray
    triangles: np.ndarray
    colors: np.ndarray

    @classmethod
    def of(cls, template: np.ndarray) -> FlatMesh:
        """Of a template image, HxW or HxWx3 BGR."""
        height, width = template.shape[:2]
        spacing = max(width, height) / CELLS
        columns, rows = (max(2, round(size / spacing) + 1) for size in (width, height))
        x, y = np.meshgrid(np.linspace(0, width - 1, columns), np.linspace(0, height - 1, rows))
        xy = np.rint(np.stack([x, y], axis=-1).reshape(-1, 2)).astype(int)
        index = np.arange(rows * columns).reshape(rows, columns)
        a, b, c, d = (part.reshape(-1) for part in (index[:-1, :-1], index[1:, :-1], index[:-1, 1:], index[1:, 1:]))
        triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([c, b, d], axis=1)])
        plain = to_eight_bit(template)
        bgr = plain if plain.ndim == 3 else cv2.cvtColor(plain, cv2.COLOR_GRAY2BGR)
        small = cv2.resize(bgr, (columns, rows), interpolation=cv2.INTER_AREA)
        return cls(xy, triangles.astype(np.uint32), np.ascontiguousarray(small.reshape(-1, 3)[:, ::-1]))

    def moved(self, warp: ImageWarp) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (V, 3), in widths of the image, z 0; and which of them are seen (V,) bool."""
        x, y = self.xy.T
        image = warp.image_map[y, x] / warp.image_size[0]
        return np.column_stack([image, np.zeros(len(image))]).astype(np.float32), warp.support[y, x]
