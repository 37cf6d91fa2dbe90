"""The object at a pixel: what lies there above its support, connected in depth, its foot found by colour."""
from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from ..camera import PinholeCamera
from ..depth import FAR_M, NEAR_M, clean_depth, jump_slope
from ..sixteen_bit import to_eight_bit

CLICK_REACH = 4             # pixels around a click in which a reading is looked for
PLANE_WITHIN = 0.008        # of the distance: a reading so near the plane is of it
PLANE_SHARE = 0.2           # of all readings; a smaller plane supports nothing
PLANE_SIDES = 2             # of the image that it must reach; else it is a flat part of an object
BORDER = 0.05               # of the image: so near its edge a plane reaches it
PLANE_TRIES = 1000          # of RANSAC
PLANE_EVERY = 4             # pixels: of these readings each way it is made
STEP = 3.0                  # times the step of a surface seen at 80 degrees: a larger one between neighbours is another object's edge
LEAST_PIXELS = 100          # of an object
FOOT = 0.03                 # of the image's diagonal: how wide the border is in which colour decides
FOOT_ROUNDS = 3             # of GrabCut
GAP = 0.01                  # of the image's diagonal: missing readings are bridged from both sides, so far each
LIKE_PLANE = 0.5            # a gap so much more like the plane's colour than like the object's shows the plane


class SelectionError(ValueError):
    """There is no object at that pixel; the text says why and what to do."""


@dataclass(frozen=True)
class Selection:
    """mask: (H, W) bool, the object. plane: (a, b, c, d) of a x + b y + c z + d = 0, metres, unit normal towards the camera; None: there is
    no supporting plane."""

    mask: np.ndarray
    plane: tuple[float, float, float, float] | None


def select_object(depth_m: np.ndarray, camera: PinholeCamera, xy: tuple[float, float], image: np.ndarray | None = None, *,
                  near_m: float = NEAR_M, far_m: float = FAR_M, told: str = "") -> Selection:
    """The connected surface around a pixel (x, y), without the plane that it stands on.

    depth_m: (H, W) metres, NaN or 0 = no reading. image: (H, W, 3) BGR or (H, W) of the same pixels; with it the border to the plane, where
    depth does not tell them apart, is that of the colours (GrabCut). told: what errors call the pixel, where who gave it did so at another
    resolution, say. Raises SelectionError: a pixel outside the image, without depth, on
    the plane, or on a speck; ValueError: arrays that do not fit the camera.
    """
    scene = Scene.of(depth_m, camera, image, near_m=near_m, far_m=far_m)
    told = told or f"pixel ({xy[0]:g}, {xy[1]:g})"
    seed = nearest_reading(scene.depth, xy, told)
    if not scene.above[seed[1], seed[0]]:
        assert scene.height is not None
        below = float(scene.height[seed[1], seed[0]]) < -PLANE_WITHIN * float(scene.depth[seed[1], seed[0]])
        where = "behind the plane that things stand on, in the background" if below else "on the plane that things stand on"
        raise SelectionError(f"{told} is {where}: take one on the object; what lies flat on the plane needs a mask")
    return scene.object_at(seed, told)


@dataclass(frozen=True)
class Scene:
    """What a depth image shows, and what in it stands above the supporting plane. depth: (H, W) float32 metres, 0 = none. image: (H, W, 3)
    or (H, W) uint8, or None. plane: as of Selection; height: (H, W) metres above it; None without one. above: (H, W) bool, may be objects.
    """

    camera: PinholeCamera
    depth: np.ndarray
    image: np.ndarray | None
    plane: tuple[float, float, float, float] | None
    height: np.ndarray | None
    above: np.ndarray

    @classmethod
    def of(cls, depth_m: np.ndarray, camera: PinholeCamera, image: np.ndarray | None = None, *, near_m: float = NEAR_M,
           far_m: float = FAR_M) -> Scene:
        """Arguments as of select_object. Raises ValueError: arrays that do not fit."""
        depth = clean_depth(depth_m, camera, near_m=near_m, far_m=far_m)
        if image is not None and image.shape[:2] != depth.shape:
            raise ValueError(f"image is {image.shape[1]}x{image.shape[0]} px, depth {camera.width}x{camera.height}; align them first")
        plane, height = supporting_plane(depth, camera)
        above = depth > 0 if height is None else (depth > 0) & (height > PLANE_WITHIN * depth)
        return cls(camera, depth, None if image is None else to_eight_bit(image), plane, height, above)

    def step_m(self, depth_m: float) -> float:
        """A step in depth between neighbouring pixels, metres, at which an object so far away ends."""
        return STEP * jump_slope(self.camera) * depth_m

    def object_at(self, seed: tuple[int, int], told: str) -> Selection:
        """What is connected with a pixel (x, y) above the plane. told: what an error calls it. Raises SelectionError: a speck."""
        mask = _connected(self, seed)
        if self.image is not None and self.height is not None:
            mask = _with_foot(mask, self.depth, self.height, self.image)
        if mask.sum() < LEAST_PIXELS:
            raise SelectionError(f"what is at {told} has {mask.sum()} pixels: too few for an object; is it too far, "
                                 "or its depth full of holes?")
        return Selection(mask, self.plane)


def nearest_reading(depth: np.ndarray, xy: tuple[float, float], told: str) -> tuple[int, int]:
    """The pixel with a reading that is nearest to a click, within CLICK_REACH, in depth (H, W) where 0 is none. Raises SelectionError, in
    which the click is called as told.
    """
    if not (np.isfinite(xy).all() and -0.5 <= xy[0] < depth.shape[1] - 0.5 and -0.5 <= xy[1] < depth.shape[0] - 0.5):
        height, width = depth.shape
        raise SelectionError(f"{told} is not in the image: x is 0 to {width - 1}, y 0 to {height - 1}")
    x, y = round(xy[0]), round(xy[1])
    left, top = max(0, x - CLICK_REACH), max(0, y - CLICK_REACH)
    rows, columns = np.nonzero(depth[top:y + CLICK_REACH + 1, left:x + CLICK_REACH + 1])
    if not len(rows):
        raise SelectionError(f"there is no depth reading at {told}: take another one on the object")
    nearest = np.hypot(columns + left - xy[0], rows + top - xy[1]).argmin()
    return int(columns[nearest] + left), int(rows[nearest] + top)


def supporting_plane(depth: np.ndarray, camera: PinholeCamera) -> tuple[tuple[float, float, float, float] | None, np.ndarray | None]:
    """The largest plane of a clean depth image, and how far each pixel's reading is above it, towards the camera, (H, W) metres.

    Both None where no plane has PLANE_SHARE of the readings and reaches PLANE_SIDES of the image. By Open3D's RANSAC, with a fixed seed.
    """
    try:
        import open3d
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("to find the plane that things stand on, Open3D is needed: pip install open3d", name="open3d") from error

    x, y = np.meshgrid(np.arange(camera.width, dtype=float), np.arange(camera.height, dtype=float))
    points = camera.lift(np.stack([x.ravel(), y.ravel()], axis=1), depth.ravel().astype(float)).reshape(*depth.shape, 3)
    read = depth[::PLANE_EVERY, ::PLANE_EVERY] > 0
    some = points[::PLANE_EVERY, ::PLANE_EVERY][read]
    if len(some) < 3:
        return None, None
    open3d.utility.random.seed(0)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(some))
    model, inliers = cloud.segment_plane(PLANE_WITHIN * float(np.median(some[:, 2])), 3, PLANE_TRIES)
    places = np.argwhere(read)[inliers] / np.maximum(np.array(read.shape) - 1, 1)       # 0 to 1
    sides = (places < BORDER).any(axis=0).sum() + (places > 1 - BORDER).any(axis=0).sum()
    if len(inliers) < PLANE_SHARE * len(some) or sides < PLANE_SIDES:
        return None, None
    model = np.asarray(model) / np.linalg.norm(model[:3])
    model = model if model[3] > 0 else -model       # the camera is above it
    a, b, c, d = model.tolist()
    return (a, b, c, d), points @ model[:3] + d


def _connected(scene: Scene, seed: tuple[int, int]) -> np.ndarray:
    """What can be reached from a pixel without a step in depth; gaps of missing readings are bridged, and filled where they cut it."""
    depth, step_m = _bridged(scene), scene.step_m(float(scene.depth[seed[1], seed[0]]))
    reached = np.zeros((depth.shape[0] + 2, depth.shape[1] + 2), np.uint8)
    cv2.floodFill(depth, reached, seed, 1, step_m, step_m, 8 | cv2.FLOODFILL_MASK_ONLY)
    mask = np.asarray(reached[1:-1, 1:-1] * scene.above, np.uint8)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(_pixels(GAP, depth.shape)))
    mask[(scene.depth <= 0) & (depth > 0)] |= closed[(scene.depth <= 0) & (depth > 0)]
    return ndimage.binary_fill_holes(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))


def _bridged(scene: Scene) -> np.ndarray:
    """Depth of what is above the plane, (H, W) float32; missing readings take the nearest one's, within GAP, unless they look like what is
    not above. A step in depth across a gap stays one, as both sides grow into it.
    """
    depth = np.where(scene.above, scene.depth, 0.0).astype(np.float32)
    missing = scene.depth <= 0
    if not missing.any() or missing.all():
        return depth
    far, nearest = ndimage.distance_transform_edt(missing, return_indices=True)
    use = missing & (far <= _pixels(GAP, depth.shape))
    if scene.image is not None and scene.above.any():
        # an object's foot counts as plane, and has its colour: the plane's is looked for farther away
        plane = ~missing & ~scene.above & (ndimage.distance_transform_edt(~scene.above) > _pixels(FOOT, depth.shape))
        if plane.any():
            color = cv2.GaussianBlur(scene.image, (0, 0), 1.0).astype(np.float32).reshape(*depth.shape, -1)
            use[use] = _unlike(color, use, plane) >= LIKE_PLANE * _unlike(color, use, scene.above)
    depth[use] = depth[nearest[0][use], nearest[1][use]]
    return depth


def _unlike(color: np.ndarray, pixels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How far the colour of each pixel (of a mask) is from that of the nearest one of another mask."""
    rows, columns = np.asarray(ndimage.distance_transform_edt(~others, return_distances=False, return_indices=True))
    return np.linalg.norm(color[pixels] - color[rows[pixels], columns[pixels]], axis=1)


def _pixels(share: float, shape: tuple[int, ...]) -> int:
    """Of an image's diagonal, at least 1."""
    return max(1, round(share * math.hypot(*shape)))


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _with_foot(mask: np.ndarray, depth: np.ndarray, height: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The mask, and beside it what is too near the plane to be told from it in depth but is coloured as the object."""
    reach = max(2, _pixels(FOOT, mask.shape))
    near = cv2.dilate(mask.astype(np.uint8), _disc(reach)) > 0
    open_ = near & ~mask & ((depth <= 0) | (np.abs(height) <= 2 * PLANE_WITHIN * depth))
    if not open_.any() or not mask.any():
        return mask
    trimap = np.full(mask.shape, cv2.GC_BGD, np.uint8)
    trimap[open_] = cv2.GC_PR_BGD
    trimap[mask] = cv2.GC_FGD
    rows, columns = np.nonzero(near)
    part = np.s_[max(0, rows.min() - reach):rows.max() + reach + 1, max(0, columns.min() - reach):columns.max() + reach + 1]
    picture = np.ascontiguousarray(image[part] if image.ndim == 3 else cv2.cvtColor(image[part], cv2.COLOR_GRAY2BGR))
    cut = np.ascontiguousarray(trimap[part])
    if not (cut == cv2.GC_BGD).any():
        return mask
    cv2.setRNGSeed(0)
    cv2.grabCut(picture, cut, None, np.zeros((1, 65)), np.zeros((1, 65)), FOOT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    grown = mask.copy()
    grown[part] |= (cut == cv2.GC_PR_FGD) & open_[part]
    label, _ = ndimage.label(grown)
    return label == np.bincount(label[mask]).argmax()
