"""Registration tasks with exact ground truth: a relief sheet that is bent, waved, stretched and moved, seen by a depth camera.

The sheet is 0.40 x 0.32 m, 0.7 m in front of the camera, with 10 mm of relief. It is rolled about an axis oblique to its sides, which keeps
lengths; waves along its normal and stretching along the roll do not. Lengths are metres, in the camera optical frame (x right, y down,
z forward); pixel centres are at integers. The same arguments give the same task.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dalf_core import PinholeCamera
from dalf_core.compiled import njit
from dalf_core.surface import Surface, vertex_normals

WIDTH, HEIGHT, DISTANCE = 0.40, 0.32, 0.70
RELIEF = 0.010
CAMERA = PinholeCamera(262.0, 262.0, 160.0, 120.0, 320, 240)
FINE_VERTICES = 80_000      # of the mesh that the camera sees: its facets are smaller than a pixel
JITTER = 0.25               # of the mesh's inner vertices, in cells: on a regular mesh not every number of graph nodes can be had
LANDMARK_NOISE = 1.5        # of a landmark's target, in units of the depth noise
PATCH_SHIFT = (0.10, 0.16)  # metres along the sheet by which a coherent patch of landmarks is misplaced
BLOB_RADIUS = (5, 11)       # pixels of a hole in the depth image 320 pixels wide
SEEN_WITHIN = 0.008         # metres behind the depth reading of its pixel at which a vertex still counts as seen


@dataclass(frozen=True)
class Amount:
    """How far the sheet is deformed: bent over its width (degrees), waved (m), stretched (share), turned (degrees), shifted (m)."""

    bend_deg: float
    wave_m: float
    stretch: float
    turn_deg: float
    shift_m: float

    def towards(self, other: Amount, share: float) -> Amount:
        """The deformation between this (share 0) and another (share 1)."""
        return Amount(*((1 - share) * getattr(self, f.name) + share * getattr(other, f.name) for f in fields(self)))


LEVELS = {
    "small": Amount(25.0, 0.005, 0.01, 3.0, 0.010),
    "medium": Amount(70.0, 0.012, 0.02, 10.0, 0.030),
    "large": Amount(130.0, 0.020, 0.03, 25.0, 0.060),
}


@dataclass(frozen=True)
class Directions:
    """In which directions a seed's sheet deforms. roll: direction of rolling on the sheet, radians from x. phase: of the waves, radians.
    axis, shift: (3,) unit vectors about which it turns and along which it moves."""

    roll: float
    phase: tuple[float, float]
    axis: np.ndarray
    shift: np.ndarray

    @staticmethod
    def draw(seed: int) -> Directions:
        rng = np.random.default_rng([seed, 1])
        axis, shift = rng.normal(size=(2, 3))
        axis[2] *= 0.5           # rather out of the image plane than in it
        roll = np.deg2rad(rng.uniform(20, 50))
        return Directions(roll, tuple(rng.uniform(0, 2 * np.pi, 2)), axis / np.linalg.norm(axis), shift / np.linalg.norm(shift))


@dataclass(frozen=True)
class View:
    """What is seen of the sheet. vertices: of the reference mesh, about. noise_m: standard deviation of depth. missing: share of the depth
    readings, half of it single pixels, half blobs. landmarks: how many; outliers: share of them in a wrong place; coherent: share of the
    outliers that are one patch, moved as a whole to another part of the sheet (the others fall anywhere on the measured surface)."""

    vertices: int = 5120
    camera: PinholeCamera = field(default=CAMERA)
    noise_m: float = 0.001
    missing: float = 0.2
    landmarks: int = 200
    outliers: float = 0.34
    coherent: float = 0.0


@dataclass(frozen=True)
class Task:
    """reference: the sheet at rest. truth: (V, 3) where its vertices are now. visible: (V,) bool, not behind other parts.
    depth: (H, W) float32, 0 = missing. landmark_vertex: (M,) vertices, landmark_target: (M, 3) where each was matched; wrong: (M,) bool."""

    reference: Surface
    truth: np.ndarray
    visible: np.ndarray
    depth: np.ndarray
    camera: PinholeCamera
    landmark_vertex: np.ndarray
    landmark_target: np.ndarray
    wrong: np.ndarray

    @property
    def landmark_source(self) -> np.ndarray:
        """(M, 3) landmarks on the reference."""
        return self.reference.vertices[self.landmark_vertex].astype(np.float64)

    def measured(self) -> np.ndarray:
        """(N, 3) points of the depth image."""
        y, x = np.nonzero(self.depth)
        return self.camera.lift(np.stack([x, y], axis=1), self.depth[y, x].astype(np.float64))

    def errors_m(self, vertices: np.ndarray) -> np.ndarray:
        """(V,) distances of vertices to the truth."""
        return np.linalg.norm(vertices - self.truth, axis=1)


def make_task(level: str, seed: int, view: View | None = None) -> Task:
    """level: "small", "medium" or "large"."""
    view = View() if view is None else view
    return _task(_sheet(view.vertices), LEVELS[level], Directions.draw(seed), view, np.random.default_rng([seed, 2]))


def make_sequence(seed: int, view: View | None = None, frames: int = 120) -> Iterator[Task]:
    """The sheet bending from small to large and back: 120 frames are 4 s at 30 Hz."""
    view = View() if view is None else view
    sheet, directions, rng = _sheet(view.vertices), Directions.draw(seed), np.random.default_rng([seed, 3])
    for index in range(frames):
        share = 0.5 - 0.5 * np.cos(2 * np.pi * index / frames)
        yield _task(sheet, LEVELS["small"].towards(LEVELS["large"], share), directions, view, rng)


def _task(reference: Surface, amount: Amount, directions: Directions, view: View, rng: np.random.Generator) -> Task:
    truth = deformed(reference.vertices.astype(np.float64), amount, directions)
    fine = _sheet(max(FINE_VERTICES, view.vertices))
    exact = rendered_depth(deformed(fine.vertices.astype(np.float64), amount, directions), fine.triangles, view.camera)
    visible = _seen(truth, exact, view.camera)
    depth = _measured_depth(exact, view, rng)
    y, x = np.nonzero(depth)
    cloud = view.camera.lift(np.stack([x, y], axis=1), depth[y, x].astype(np.float64))
    vertex, target, wrong = _landmarks(reference.vertices, truth, visible, cloud, view, rng)
    return Task(reference, truth, visible, depth, view.camera, vertex, target, wrong)


_SHEETS: dict[int, Surface] = {}


def _sheet(vertices: int) -> Surface:
    """The sheet at rest as a mesh of about so many vertices; made once."""
    if vertices not in _SHEETS:
        rows = round(np.sqrt(vertices * HEIGHT / WIDTH))
        columns = round(vertices / rows)
        u, v = np.meshgrid(np.linspace(-WIDTH / 2, WIDTH / 2, columns), np.linspace(-HEIGHT / 2, HEIGHT / 2, rows))
        cell = np.array([WIDTH / (columns - 1), HEIGHT / (rows - 1)])
        u[1:-1, 1:-1], v[1:-1, 1:-1] = np.stack([u, v])[:, 1:-1, 1:-1] + JITTER * cell[:, None, None] * np.random.default_rng(0).uniform(
            -1, 1, (2, rows - 2, columns - 2))
        z = DISTANCE + RELIEF * np.sin(2 * np.pi * u / 0.30) * np.cos(2 * np.pi * v / 0.25)
        points = np.stack([u, v, z], axis=-1).reshape(-1, 3).astype(np.float32)
        index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
        a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
        triangles = np.concatenate([np.stack([a, c, b], axis=1), np.stack([b, c, d], axis=1)])
        _SHEETS[vertices] = Surface(points, vertex_normals(points, triangles), triangles)
    return _SHEETS[vertices]


def deformed(points: np.ndarray, amount: Amount, directions: Directions) -> np.ndarray:
    """(N, 3) points of the sheet at rest to where they are when deformed, metres."""
    cos, sin = np.cos(directions.roll), np.sin(directions.roll)
    along = (cos * points[:, 0] + sin * points[:, 1]) * (1 + amount.stretch)
    across = cos * points[:, 1] - sin * points[:, 0]
    height = points[:, 2] - DISTANCE
    height = height + amount.wave_m * (np.sin(2 * np.pi * along / 0.18 + directions.phase[0])
                                       * np.cos(2 * np.pi * across / 0.26 + directions.phase[1]))
    radius = WIDTH / np.deg2rad(amount.bend_deg)         # the roll's axis is behind the sheet: its sides go away from the camera
    angle = along / radius
    rolled, depth = (radius - height) * np.sin(angle), radius - (radius - height) * np.cos(angle)
    shape = np.stack([cos * rolled - sin * across, sin * rolled + cos * across, depth], axis=1)
    turn = Rotation.from_rotvec(np.deg2rad(amount.turn_deg) * directions.axis)
    return turn.apply(shape) + amount.shift_m * directions.shift + [0.0, 0.0, DISTANCE]


def rendered_depth(vertices: np.ndarray, triangles: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """Depth image of a mesh, (H, W) metres: the nearest triangle at each pixel centre, 0 where there is none."""
    pixels = camera.project(vertices)
    image = np.full((camera.height, camera.width), np.inf)
    _rasterise(image, np.column_stack([pixels, 1.0 / vertices[:, 2]]), triangles)
    image[np.isinf(image)] = 0.0
    return image


@njit
def _rasterise(image, corners, triangles):
    """corners: (V, 3) x, y in pixels and 1 / z, which is linear in the image."""
    height, width = image.shape
    for n in range(len(triangles)):
        a, b, c = corners[triangles[n, 0]], corners[triangles[n, 1]], corners[triangles[n, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if not abs(area) > 1e-12:
            continue
        for y in range(max(0, int(np.ceil(min(a[1], b[1], c[1])))), min(height - 1, int(np.floor(max(a[1], b[1], c[1])))) + 1):
            for x in range(max(0, int(np.ceil(min(a[0], b[0], c[0])))), min(width - 1, int(np.floor(max(a[0], b[0], c[0])))) + 1):
                wb = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
                wc = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
                if wb >= 0.0 and wc >= 0.0 and wb + wc <= 1.0:
                    z = 1.0 / ((1.0 - wb - wc) * a[2] + wb * b[2] + wc * c[2])
                    if z < image[y, x]:
                        image[y, x] = z


def _seen(points: np.ndarray, exact: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """(N,) bool: in the image, with nothing in front."""
    x, y = np.rint(camera.project(points)).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height)
    seen = np.zeros(len(points), bool)
    seen[inside] = points[inside, 2] < exact[y[inside], x[inside]] + SEEN_WITHIN
    return seen


def _measured_depth(exact: np.ndarray, view: View, rng: np.random.Generator) -> np.ndarray:
    """The exact depth with noise and missing readings, (H, W) float32 metres, 0 = missing."""
    surface = exact > 0
    there = surface & (rng.random(exact.shape) > view.missing / 2)
    rows, columns = np.nonzero(surface)
    y, x = np.indices(exact.shape)
    scale = view.camera.width / CAMERA.width
    while (surface & ~there).sum() < view.missing * len(rows):
        centre, radius = rng.integers(len(rows)), rng.integers(*BLOB_RADIUS) * scale
        there &= (y - rows[centre]) ** 2 + (x - columns[centre]) ** 2 > radius**2
    return np.where(there, exact + view.noise_m * rng.normal(size=exact.shape), 0.0).astype(np.float32)


def _landmarks(rest: np.ndarray, truth: np.ndarray, visible: np.ndarray, cloud: np.ndarray, view: View,
               rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (M,), targets (M, 3) metres, wrong (M,) bool."""
    seen = np.nonzero(visible)[0]
    vertex = rng.choice(seen, min(view.landmarks, len(seen)), replace=False)
    count = len(vertex)
    patch, misplaced = _patch(rest[:, :2].astype(np.float64), vertex, seen, round(view.outliers * view.coherent * count), rng)
    goal = truth[vertex]
    goal[patch] = truth[misplaced]
    target = goal + LANDMARK_NOISE * view.noise_m * rng.normal(size=(count, 3))
    wrong = np.zeros(count, bool)
    wrong[patch] = True
    anywhere = rng.choice(np.nonzero(~wrong)[0], round(view.outliers * count) - len(patch), replace=False)
    target[anywhere] = cloud[rng.integers(len(cloud), size=len(anywhere))]
    wrong[anywhere] = True
    return vertex, target, wrong


def _patch(rest: np.ndarray, vertex: np.ndarray, seen: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`size` neighbouring landmarks and the visible vertices they are taken for: the patch shifted along the sheet. Of a hundred random
    shifts the first that keeps four fifths of the patch on its visible part, else the best."""
    tree, best = cKDTree(rest[seen]), (-1.0, np.zeros(0, int), np.zeros(0, int))
    for _ in range(100 if size else 0):
        patch = cKDTree(rest[vertex]).query(rest[rng.choice(vertex)], size)[1].reshape(-1)
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(*PATCH_SHIFT)
        distance, index = tree.query(rest[vertex[patch]] + length * np.array([np.cos(angle), np.sin(angle)]))
        kept = float((distance < 0.01).mean())
        if kept > best[0]:
            best = kept, patch, seen[index]
        if kept > 0.8:
            break
    return best[1], best[2]
