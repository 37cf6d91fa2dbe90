"""The camera: ray cast colour and depth of one moment, then the faults of a real RGB-D sensor. Camera optical frame, metres."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dalf_core.camera import PinholeCamera
from dalf_core.surface import vertex_normals

from .occluder import Hand
from .ray_casting import ray_casting_scene
from .texture import board, cloth_back, cloth_print

BOARD_M = 1.02                                     # the board behind, along the optical axis
LIGHT = np.array([-0.42, -0.62, -0.66])            # towards the light
BASELINE_M = 0.05                                  # between the depth camera's two eyes: beside near things depth is missing
NOTHING, CLOTH, HAND = 0, 1, 2


@dataclass(frozen=True)
class View:
    """One ideal exposure. color: (H, W, 3) float32 BGR 0..255. depth: (H, W) float32 metres along z. cosine: (H, W) float32, between the
    surface's normal and the ray. what: (H, W) uint8, NOTHING (the board), CLOTH or HAND."""

    color: np.ndarray
    depth: np.ndarray
    cosine: np.ndarray
    what: np.ndarray


class Scene:
    """Ray casts the cloth and the hand before the board, with antialiasing where it is needed."""

    def __init__(self, camera: PinholeCamera, uv: np.ndarray, triangles: np.ndarray, hand: Hand, rng: np.random.Generator) -> None:
        self.camera = camera
        self._uv, self._triangles, self._hand = uv, triangles, hand
        front = cloth_print()
        texels_per_pixel = front.shape[1] / (0.45 / 0.70 * camera.fx)
        if texels_per_pixel > 1:  # a mip level: what the eye cannot resolve must not flicker
            front = cv2.GaussianBlur(front, (0, 0), 0.45 * texels_per_pixel)
        self._front, self._back = front, cloth_back(front)
        ys, xs = np.mgrid[:camera.height, :camera.width]
        self._pixels = np.stack([xs.ravel(), ys.ravel()], axis=1).astype(np.float32)
        self._board = cv2.GaussianBlur(board(camera.height, camera.width, rng), (0, 0), 0.6).astype(np.float32)
        self._base = self._rays(self._pixels)
        self._board_normal = np.array([0.06, -0.16, -1.0]) / np.linalg.norm([0.06, -0.16, -1.0])

    def view(self, vertices: np.ndarray, hand_place: np.ndarray | None) -> View:
        """The exposure with the cloth's (V, 3) vertices, and the hand where it is."""
        caster = ray_casting_scene(threads=2)
        caster.add_triangles(vertices, self._triangles.astype(np.uint32))
        if hand_place is not None:
            caster.add_triangles(self._hand.vertices + hand_place.astype(np.float32), self._hand.triangles.astype(np.uint32))
        normals = vertex_normals(vertices, self._triangles)
        shape = (self.camera.height, self.camera.width)
        color, depth, cosine, what = self._cast(caster, normals, self._pixels, *self._base)
        color, depth, what = color.reshape(*shape, 3), depth.reshape(shape), what.reshape(shape)
        rough = self._rough(what, depth)
        where = self._pixels.reshape(*shape, 2)[rough]
        if len(where):
            offsets = (np.array([(x, y) for y in range(3) for x in range(3)], np.float32) - 1) / 3
            pixels = (where[:, None] + offsets).reshape(-1, 2)
            fine = self._cast(caster, normals, pixels, *self._rays(pixels))[0]
            color[rough] = fine.reshape(len(where), len(offsets), 3).mean(axis=1)
        return View(color, depth, cosine.reshape(shape), what)

    @staticmethod
    def _rough(what: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """(H, W) bool: pixels where one ray does not tell the colour: silhouettes, folds, steep cloth."""
        kernel = np.ones((3, 3), np.uint8)
        low, high = cv2.erode(what, kernel), cv2.dilate(what, kernel)
        steep = cv2.dilate(depth, kernel) - cv2.erode(depth, kernel) > 0.006
        return (low != high) | (steep & (high > NOTHING))

    def board_depth(self) -> np.ndarray:
        """(H, W) metres along z of the empty scene."""
        return self._board_depth(self._base[0][:, 3:]).reshape(self.camera.height, self.camera.width)

    def _rays(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 6) origin and direction with z = 1, so that a hit's distance is its depth along z; (N, 3) unit directions."""
        rays = np.zeros((len(pixels), 6), np.float32)
        rays[:, 3] = (pixels[:, 0] - self.camera.cx) / self.camera.fx
        rays[:, 4] = (pixels[:, 1] - self.camera.cy) / self.camera.fy
        rays[:, 5] = 1.0
        return rays, rays[:, 3:] / np.linalg.norm(rays[:, 3:], axis=1, keepdims=True)

    def _cast(self, caster: Any, normals: np.ndarray, pixels: np.ndarray, rays: np.ndarray,
              direction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Colour, depth, cosine and kind for (N, 2) pixel positions and their rays."""
        hit = caster.cast_rays(rays)
        depth = hit["t_hit"].numpy().copy()
        geometry = hit["geometry_ids"].numpy()
        what = np.where(np.isfinite(depth), np.where(geometry == 0, CLOTH, HAND), NOTHING).astype(np.uint8)
        color, cosine = self._see_board(pixels, direction)
        nothing = what == NOTHING
        depth[nothing] = self._board_depth(rays[nothing, 3:])
        primitive, weights = hit["primitive_ids"].numpy(), hit["primitive_uvs"].numpy()
        cloth, hand = np.flatnonzero(what == CLOTH), np.flatnonzero(what == HAND)
        color[cloth], cosine[cloth] = self._see_cloth(normals, primitive[cloth], weights[cloth], direction[cloth])
        normal = hit["primitive_normals"].numpy()[hand]
        color[hand], cosine[hand] = _lit(self._hand.colors[primitive[hand]].astype(np.float32), normal, direction[hand])
        return color, depth, cosine, what

    def _board_depth(self, rays: np.ndarray) -> np.ndarray:
        return BOARD_M * self._board_normal[2] / (rays @ self._board_normal)

    def _see_board(self, pixels: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        color = _sample(self._board, pixels)
        return color, np.abs(direction @ self._board_normal).astype(np.float32)

    def _see_cloth(self, normals: np.ndarray, primitive: np.ndarray, weights: np.ndarray,
                   direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Texture and light where rays meet the cloth; the side that faces away from the first view is the paler reverse."""
        if len(primitive) == 0:
            return np.zeros((0, 3), np.float32), np.zeros(0, np.float32)
        corner = self._triangles[primitive]
        bary = np.stack([1 - weights.sum(axis=1), weights[:, 0], weights[:, 1]], axis=1)
        uv = np.einsum("nk,nkc->nc", bary, self._uv[corner])
        normal = np.einsum("nk,nkc->nc", bary, normals[corner])
        height, width = self._front.shape[:2]
        texel = (uv * (width, height) - 0.5).astype(np.float32)
        sides = [_sample(image, texel) for image in (self._front, self._back)]
        front = (normal * direction).sum(axis=1) < 0
        return _lit(np.where(front[:, None], *sides).astype(np.float32), normal, direction)


def _sample(image: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """(N, C) values of an image at (N, 2) pixel positions, bilinear, edges repeated."""
    row = 1024                                     # OpenCV maps at most 32767 positions in a row
    padded = np.zeros((-(-len(xy) // row) * row, 2), np.float32)
    padded[:len(xy)] = xy
    value = cv2.remap(image, padded.reshape(-1, row, 2), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return value.reshape(-1, image.shape[2])[:len(xy)]


def _lit(color: np.ndarray, normal: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shade (N, 3) BGR by one soft lamp and the room's light; also the cosine to the ray."""
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    cosine = (normal * direction).sum(axis=1)
    normal = np.where(cosine[:, None] > 0, -normal, normal)
    lamp = normal @ (LIGHT / np.linalg.norm(LIGHT))
    sky = 0.5 - 0.5 * normal[:, 1]
    shade = 0.22 + 0.18 * sky + 0.78 * np.clip(0.25 + 0.75 * lamp, 0, None)
    return color * shade[:, None].astype(np.float32), np.abs(cosine).astype(np.float32)


def expose(view: View, time: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 BGR as the sensor delivers it: a slow drift of exposure, a lens that is not quite sharp, shot noise."""
    gain = 1.0 + 0.06 * np.sin(2 * np.pi * time / 3.7) - 0.03 * np.sin(2 * np.pi * time / 1.3)
    light = cv2.GaussianBlur(view.color, (0, 0), 0.5) * np.float32(gain)
    noise = rng.standard_normal(light.shape, dtype=np.float32) * (0.9 + 0.13 * np.sqrt(np.maximum(light, 0)))
    return np.clip(np.rint(light + noise), 0, 255).astype(np.uint8)


def measure_depth(view: View, camera: PinholeCamera, rng: np.random.Generator) -> np.ndarray:
    """(H, W) uint16 millimetres, 0 = no reading: axial noise that grows with the square of depth and with slant, no reading at
    jumps and grazing angles, the stereo shadow to the left of near things, and a few random holes."""
    depth, cosine = view.depth, np.clip(view.cosine, 0.05, 1)
    white = rng.standard_normal(depth.shape, dtype=np.float32)
    smooth = cv2.GaussianBlur(rng.standard_normal(depth.shape, dtype=np.float32), (0, 0), 1.5) * 5.3
    sigma = (0.0004 + 0.0016 * depth**2) * (1 + 0.15 * (1 / cosine - 1))
    noisy = depth + sigma * (0.75 * white + 0.66 * smooth)
    kernel = np.ones((3, 3), np.uint8)
    jump = cv2.dilate(depth, kernel) - cv2.erode(depth, kernel) > 0.025
    chance = rng.random(depth.shape, dtype=np.float32)
    lost = (jump & (chance < 0.75)) | (chance < np.clip((0.30 - cosine) / 0.20, 0, 1)) | (chance > 0.998)
    column = np.arange(camera.width, dtype=np.float32) - camera.fx * BASELINE_M / depth
    nearest = np.minimum.accumulate(column[:, ::-1], axis=1)[:, ::-1]
    lost |= column > nearest + 0.5
    return np.where(lost, 0, np.rint(noisy * 1000)).astype(np.uint16)
