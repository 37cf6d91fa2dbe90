"""Three ray cast tables with a cloth, boxes and a ball on them, as a real sensor sees them; with the true mask of each thing."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from dalf_core.camera import PinholeCamera
from dalf_ros.simulation.ray_casting import ray_casting_scene
from dalf_ros.simulation.sensor import View, expose, measure_depth
from dalf_ros.simulation.texture import cloth_print

CAMERA = PinholeCamera(525.0, 525.0, 319.5, 239.5, 640, 480)
NAMES = ("heap", "crowded", "draped")
LIGHT = np.array([-0.4, -0.7, -0.6])
WOOD, WALL = (70, 110, 150), (190, 190, 180)        # BGR


@dataclass(frozen=True)
class TableScene:
    """color: (H, W, 3) uint8 BGR. depth_m: (H, W) float32 metres, 0 = none. masks: (H, W) bool by name, where each thing is seen."""

    color: np.ndarray
    depth_m: np.ndarray
    masks: dict[str, np.ndarray]


def table_scene(name: str, seed: int = 0) -> TableScene:
    """heap: a crumpled cloth, two boxes and a ball apart. crowded: a box stands before the cloth and hides some of it. draped: the cloth
    over a box, before a wall that is larger than all. Table coordinates: x right, y away from the camera, z up, metres.
    """
    if name == "heap":
        things = {"cloth": _cloth((0.0, 0.0), 0.17, 0.035), "box": _box((-0.27, 0.05), (0.10, 0.12, 0.09), 20),
                  "carton": _box((0.26, 0.12), (0.12, 0.08, 0.16), -15), "ball": _ball((0.22, -0.10), 0.045)}
    elif name == "crowded":
        things = {"cloth": _cloth((0.03, 0.08), 0.20, 0.05), "box": _box((-0.02, -0.13), (0.14, 0.05, 0.09), 5),
                  "carton": _box((-0.30, 0.10), (0.10, 0.10, 0.20), 30), "ball": _ball((0.20, -0.17), 0.04)}
    else:
        things = {"cloth": _cloth((-0.05, 0.05), 0.18, 0.02, over=(0.07, 0.05, 0.10)), "box": _box((0.25, 0.0), (0.10, 0.10, 0.08), 40),
                  "ball": _ball((-0.30, 0.0), 0.05)}
    return _render(things, -0.75 if name == "draped" else None, np.random.default_rng(seed))


def _cloth(centre: tuple[float, float], half: float, fold_m: float, over: tuple[float, float, float] | None = None) -> tuple:
    """A square with folds, its rim on the table; over: half sizes and height of a block below it."""
    u, v = np.meshgrid(np.linspace(-1, 1, 90), np.linspace(-1, 1, 90))
    ragged = 1 + 0.08 * np.sin(7 * u) * np.cos(5 * v)
    x, y = half * u * ragged, 0.8 * half * v * ragged
    rim = np.clip(6 * (1 - np.maximum(abs(u), abs(v))), 0, 1)
    z = 0.003 + rim * fold_m * (0.55 + 0.25 * np.sin(6 * u + 3 * v) + 0.2 * np.cos(5 * v - 2 * u))
    if over is not None:
        away = np.hypot(np.maximum(abs(x) - over[0], 0), np.maximum(abs(y) - over[1], 0))
        z += over[2] * np.clip(1 - away / 0.05, 0, 1)
    number = np.arange(90 * 90).reshape(90, 90)
    a, b, c, d = number[:-1, :-1].ravel(), number[:-1, 1:].ravel(), number[1:, :-1].ravel(), number[1:, 1:].ravel()
    points = np.stack([x + centre[0], y + centre[1], z], axis=-1).reshape(-1, 3)
    return points, np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)]), np.stack([u, v], -1).reshape(-1, 2) / 2 + 0.5


def _box(centre: tuple[float, float], size: tuple[float, float, float], degrees: float) -> tuple:
    import open3d

    mesh = open3d.geometry.TriangleMesh.create_box(*size)
    points = np.asarray(mesh.vertices) - [size[0] / 2, size[1] / 2, 0]
    turned = points @ Rotation.from_euler("z", degrees, degrees=True).as_matrix().T
    return turned + [*centre, 0], np.asarray(mesh.triangles), None


def _ball(centre: tuple[float, float], radius: float) -> tuple:
    import open3d

    mesh = open3d.geometry.TriangleMesh.create_sphere(radius, 40)
    return np.asarray(mesh.vertices) + [*centre, radius], np.asarray(mesh.triangles), None


def _render(things: dict[str, tuple], wall_z: float | None, rng: np.random.Generator) -> TableScene:
    """The camera looks down on the table from 0.75 m away, 40 degrees above it; wall_z: none, or there is a wall behind."""
    tilt = np.radians(40)
    down, away = np.array([0, np.cos(tilt), np.sin(tilt)]), np.array([0, -np.sin(tilt), np.cos(tilt)])
    to_camera, origin = np.stack([[1.0, 0, 0], away, -down], axis=1), np.array([0, 0.02, 0.78])
    far, wide = (0.42 if wall_z else 3.0), 3.0
    table = np.array([[-wide, -2, 0], [wide, -2, 0], [-wide, far, 0], [wide, far, 0]])
    flat = np.array([[0, 1, 2], [1, 3, 2]])
    meshes = {"table": (table, flat, None)}
    if wall_z:
        wall = [[-wide, far + 0.1, -1], [wide, far + 0.1, -1], [-wide, far + 0.1, 3], [wide, far + 0.1, 3]]
        meshes["wall"] = (np.array(wall), flat, None)
    meshes |= things
    caster = ray_casting_scene(threads=2)
    for points, triangles, _ in meshes.values():
        caster.add_triangles((points @ to_camera.T + origin).astype(np.float32), triangles.astype(np.uint32))
    y, x = np.mgrid[:CAMERA.height, :CAMERA.width].astype(np.float32)
    rays = np.zeros((*x.shape, 6), np.float32)
    rays[..., 3:] = np.stack([(x - CAMERA.cx) / CAMERA.fx, (y - CAMERA.cy) / CAMERA.fy, np.ones_like(x)], axis=-1)
    hit = caster.cast_rays(rays)
    depth, which, normal = hit["t_hit"].numpy(), hit["geometry_ids"].numpy().astype(int), hit["primitive_normals"].numpy()
    direction = rays[..., 3:] / np.linalg.norm(rays[..., 3:], axis=-1, keepdims=True)
    cosine = (normal * direction).sum(-1)
    normal = np.where(cosine[..., None] > 0, -normal, normal)
    color = _paint(meshes, which, hit, rng) * (0.45 + 0.55 * np.clip(normal @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1))[..., None]
    view = View(color.astype(np.float32), np.where(np.isfinite(depth), depth, 4.0).astype(np.float32), abs(cosine), which.astype(np.uint8))
    masks = {name: which == number for number, name in enumerate(meshes)}
    return TableScene(expose(view, 0.0, rng), measure_depth(view, CAMERA, rng) * np.float32(1e-3), masks)


def _paint(meshes: dict[str, tuple], which: np.ndarray, hit: dict, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float BGR before any light: wood and wall of smooth noise, the cloth's print, plain things with a print of noise."""
    noise = cv2.resize(rng.normal(0, 1, (60, 80, 3)).astype(np.float32), which.shape[::-1], interpolation=cv2.INTER_CUBIC)
    plain = {"table": WOOD, "wall": WALL, "box": (150, 120, 60), "carton": (120, 160, 200), "ball": (60, 60, 200)}
    color = np.zeros((*which.shape, 3), np.float32)
    for number, (name, (_, triangles, uv)) in enumerate(meshes.items()):
        here = which == number
        if uv is None:
            color[here] = np.array(plain[name]) + 10 * noise[here]
            continue
        corners, weights = triangles[hit["primitive_ids"].numpy()[here].astype(int)], hit["primitive_uvs"].numpy()[here]
        bary = np.stack([1 - weights.sum(1), weights[:, 0], weights[:, 1]], axis=1)
        image = cv2.GaussianBlur(cloth_print(), (0, 0), 1.0)
        at = np.einsum("nk,nkc->nc", bary, uv[corners]) * (image.shape[1] - 1, image.shape[0] - 1)
        color[here] = image[at[:, 1].round().astype(int), at[:, 0].round().astype(int)]
    return color
