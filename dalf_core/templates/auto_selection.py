"""The object that a rule finds, where nobody is there to point at it: the nearest one, or the largest that stands on the plane."""
from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import ConvexHull, QhullError

from ..camera import PinholeCamera
from ..depth import FAR_M, NEAR_M
from ..options import LARGEST_ABOVE_PLANE, NEAREST, NO_RULE
from .selection import LEAST_PIXELS, PLANE_WITHIN, Scene, Selection, SelectionError

LEAST_SHARE = 0.005         # of the image's pixels; a smaller piece has too few keypoints to be followed
FRONT = 10                  # percent of a piece's readings that tell how near it is
OUTSIDE_M = 1e9             # beyond every reading
EDGE = 4                    # pixels; what comes so near the last readings goes on beyond them
FEW_READ = 0.2              # of the share of readings in the image: a row or column with less is at its empty sides
ON_PLANE = 0.5              # share of a piece that must be over the seen part of the plane; a wall behind a table is not


def find_object(depth_m: np.ndarray, camera: PinholeCamera, rule: str, image: np.ndarray | None = None, *, near_m: float = NEAR_M,
                far_m: float = FAR_M) -> Selection:
    """The object that a rule chooses; its mask is that of a click on it (selection.select_object). Arguments as there.

    rule: "nearest": of the pieces that are connected in depth, above the supporting plane where there is one, the one that comes nearest to
    the camera. "largest_above_plane": of those over the seen part of the supporting plane and wholly in view (an arm is not) the one of the
    largest seen area, in square metres. Raises SelectionError where there is none, ValueError: another rule, arrays that do not fit.
    """
    if rule not in (NEAREST, LARGEST_ABOVE_PLANE):
        raise ValueError(f"a rule to select by is {NEAREST} or {LARGEST_ABOVE_PLANE}, not {rule!r} ({NO_RULE}: there is none)")
    scene = Scene.of(depth_m, camera, image, near_m=near_m, far_m=far_m)
    if not (scene.depth > 0).any():
        raise SelectionError("the depth image has no reading")
    if rule == LARGEST_ABOVE_PLANE and scene.plane is None:
        raise SelectionError("no plane that things stand on is seen: it must reach two sides of the image; rule nearest needs none")
    pieces = _pieces(scene)
    if rule == NEAREST:
        pieces.sort(key=lambda piece: float(np.percentile(scene.depth[piece], FRONT)))
    else:       # a pixel covers z²/(fx fy)
        pieces = [piece for piece in pieces if _is_whole(scene, piece) and _is_over_plane(scene, piece)]
        pieces.sort(key=lambda piece: -float((scene.depth[piece].astype(float) ** 2).sum()))
    for piece in pieces:
        inside = cv2.distanceTransform(np.pad(piece, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = np.unravel_index(int(inside.argmax()), inside.shape)
        found = scene.object_at((int(x), int(y)), f"pixel ({x}, {y})")
        if rule == NEAREST or _is_whole(scene, found.mask):     # it may be connected with an arm after all
            return found
    where = "" if scene.plane is None else " above the plane that things stand on"
    raise SelectionError(f"nothing large enough is seen{where}{'' if rule == NEAREST else ', wholly in view'}")


def _pieces(scene: Scene) -> list[np.ndarray]:
    """Masks (H, W) bool of what is above the plane, apart where depth has a step; without the pixels beside one."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # what is missing or not above the plane takes no part: beside it there is no step
    high = cv2.dilate(np.where(scene.above, scene.depth, -OUTSIDE_M).astype(np.float32), cross)
    low = cv2.erode(np.where(scene.above, scene.depth, OUTSIDE_M).astype(np.float32), cross)
    smooth = scene.above & (high - low <= scene.step_m(1.0) * scene.depth)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(smooth.astype(np.uint8), connectivity=8)
    least = max(LEAST_PIXELS, LEAST_SHARE * scene.depth.size)
    return [labels == number for number in range(1, len(stats)) if stats[number, cv2.CC_STAT_AREA] >= least]


def _is_whole(scene: Scene, piece: np.ndarray) -> bool:
    """Whether a piece ends before the readings do; a depth image often has none along its sides."""
    read, reached = (cv2.boundingRect(mask.astype(np.uint8)) for mask in (_mostly_read(scene.depth), piece))
    least = [inner - outer for inner, outer in zip(reached[:2], read[:2])]
    most = [outer + wide - inner - broad for outer, wide, inner, broad in zip(read[:2], read[2:], reached[:2], reached[2:])]
    return min(*least, *most) >= EDGE


def _mostly_read(depth: np.ndarray) -> np.ndarray:
    """(H, W) bool: the readings of rows and columns that have more than a few."""
    read = depth > 0
    rows, columns = (read.mean(axis=axis) > FEW_READ * read.mean() for axis in (1, 0))
    return read & rows[:, None] & columns


def _is_over_plane(scene: Scene, piece: np.ndarray) -> bool:
    """Whether a piece is above the part of the plane that is seen, and what that surrounds."""
    assert scene.plane is not None and scene.height is not None
    on_plane = (scene.depth > 0) & (np.abs(scene.height) <= PLANE_WITHIN * scene.depth)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(on_plane.astype(np.uint8), connectivity=8)
    if len(stats) < 2:
        return False
    largest = labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())      # what is in the plane by chance does not count
    try:
        hull = ConvexHull(_on_plane(scene, largest))
    except QhullError:
        return False
    over = (_on_plane(scene, piece) @ hull.equations[:, :2].T + hull.equations[:, 2] <= 1e-6).all(axis=1)
    return bool(over.mean() >= ON_PLANE)


def _on_plane(scene: Scene, pixels: np.ndarray) -> np.ndarray:
    """(N, 2) metres along the plane, of the points of pixels (H, W) bool."""
    assert scene.plane is not None
    rows, columns = np.nonzero(pixels)
    points = scene.camera.lift(np.stack([columns, rows], axis=1).astype(float), scene.depth[pixels].astype(float))
    normal = np.array(scene.plane[:3])
    along = np.linalg.svd(normal[None])[2][1:]      # two directions across the normal
    return points @ along.T
