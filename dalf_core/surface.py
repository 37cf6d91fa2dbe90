"""The reference surface: a depth image as a triangle mesh."""
from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .camera import PinholeCamera
from .depth import FAR_M, NEAR_M, clean_depth, is_reading, jump_slope, smooth_depth
from .files.whole_file import write_whole
from .sixteen_bit import to_eight_bit

MAX_VERTICES = 20_000
MIN_VERTICES = 30


class SurfaceError(ValueError):
    """No usable surface in the depth image; the text says why and what to do."""


@dataclass(frozen=True)
class Surface:
    """A triangle mesh in the camera optical frame.

    vertices: (V, 3) float32 metres. normals: (V, 3) float32, unit length, facing the camera.
    triangles: (F, 3) int32, counter-clockwise as the camera sees them. colors: (V, 3) uint8 RGB or None.
    """

    vertices: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray
    colors: np.ndarray | None = None


def surface_from_depth(depth_m: np.ndarray, camera: PinholeCamera, image: np.ndarray | None = None, mask: np.ndarray | None = None,
                       *, max_vertices: int = MAX_VERTICES, pieces: str = "all", near_m: float = NEAR_M,
                       far_m: float = FAR_M) -> Surface:
    """Triangulate a depth image, cutting at depth jumps.

    depth_m: (H, W) metres. image: HxWx3 BGR or HxW, uint8 or uint16, same pixels, for colours. mask: (H, W), nonzero = keep.
    max_vertices: the pixel grid is thinned until no more remain. pieces: "all" drops only specks, "largest" keeps one piece.
    near_m, far_m: readings outside this range are ignored, metres.
    Raises SurfaceError when nothing usable remains, ValueError on arrays that do not fit the camera.
    """
    depth = clean_depth(depth_m, camera, near_m=near_m, far_m=far_m)
    if mask is not None:
        mask = np.asarray(mask)
        if mask.shape[:2] != depth.shape:
            raise ValueError(f"mask is {mask.shape[1]}x{mask.shape[0]} px, depth {camera.width}x{camera.height}")
        if not mask.any():
            raise SurfaceError("the mask is empty: nothing to take as reference surface")
        # the outermost pixels of a mask are where depth and colour disagree most
        depth = np.where(ndimage.binary_erosion(mask.astype(bool) if mask.ndim == 2 else mask.any(axis=2), border_value=1), depth, 0)
        depth = np.ascontiguousarray(depth, dtype=np.float32)
    readings = int((depth > 0).sum())
    if readings < MIN_VERTICES:
        where = " inside the mask" if mask is not None else ""
        raise SurfaceError(f"only {readings} depth readings{where}: too few for a surface{_why_few(np.asarray(depth_m), near_m, far_m)}")
    surface = grid_surface(depth, camera, image, max(1, int(np.ceil(np.sqrt(readings / max_vertices)))), pieces)
    if len(surface.vertices) < MIN_VERTICES:
        raise SurfaceError(f"the largest connected piece of surface has {len(surface.vertices)} points: too few; "
                           "is the object too far, too small, or its depth full of holes?")
    return surface


def _why_few(depth_m: np.ndarray, near_m: float, far_m: float) -> str:
    """A hint for the error, if readings are left out."""
    read = depth_m[is_reading(depth_m)]
    if np.nanmax(depth_m, initial=0) > 100:
        return "; is it in millimetres? metres are expected"
    outside = int(((read < near_m) | (read > far_m)).sum())
    return f"; {outside} readings outside near_m={near_m:g} to far_m={far_m:g} are left out" if outside else ""


def grid_surface(depth: np.ndarray, camera: PinholeCamera, image: np.ndarray | None, stride: int, pieces: str = "all") -> Surface:
    """Every stride-th pixel of a clean depth image as a mesh, cut at depth jumps; maybe of no vertices."""
    depth = smooth_depth(depth, camera)
    pixels, triangles = _keep_pieces(*_triangulate(depth, stride, jump_slope(camera)), pieces)
    z = depth[pixels[:, 1], pixels[:, 0]]
    vertices = camera.lift(pixels.astype(np.float64), z.astype(np.float64)).astype(np.float32)
    colors = None if image is None else _sample_colors(image, pixels, depth.shape)
    return Surface(vertices, vertex_normals(vertices, triangles), triangles, colors)


def _triangulate(depth: np.ndarray, stride: int, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """Two triangles a grid cell, where no side spans a depth jump. Returns (V, 2) pixels and (F, 3) int32."""
    grid = depth[::stride, ::stride]
    height, width = grid.shape
    index = np.arange(height * width).reshape(height, width)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    corners = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    z = grid.ravel()[corners]
    near = z.min(axis=1)
    triangles = corners[(near > 0) & (z.max(axis=1) - near <= slope * stride * near)]
    used, inverse = np.unique(triangles, return_inverse=True)
    pixels = np.stack([used % width, used // width], axis=1) * stride
    return pixels, inverse.reshape(-1, 3).astype(np.int32)


def _keep_pieces(pixels: np.ndarray, triangles: np.ndarray, pieces: str) -> tuple[np.ndarray, np.ndarray]:
    if pieces not in ("all", "largest"):
        raise ValueError(f"pieces must be 'all' or 'largest', got {pieces!r}")
    if not len(triangles):
        return pixels[:0], triangles
    count = len(pixels)
    a, b = triangles[:, [0, 1, 2]].ravel(), triangles[:, [1, 2, 0]].ravel()
    _, label = connected_components(coo_matrix((np.ones(len(a), bool), (a, b)), shape=(count, count)), directed=False)
    size = np.bincount(label)
    keep = (label == size.argmax()) if pieces == "largest" else size[label] >= max(MIN_VERTICES, 0.01 * size.max())
    renumber = np.cumsum(keep) - 1
    triangles = renumber[triangles[keep[triangles[:, 0]]]].astype(np.int32)
    return pixels[keep], triangles


def _sample_colors(image: np.ndarray, pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    image = to_eight_bit(np.asarray(image))
    if image.shape[:2] != shape:
        raise ValueError(f"image is {image.shape[1]}x{image.shape[0]} px, depth {shape[1]}x{shape[0]}; align them first")
    values = image[pixels[:, 1], pixels[:, 0]]
    return np.ascontiguousarray(np.repeat(values[:, None], 3, axis=1) if image.ndim == 2 else values[:, 2::-1])


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted vertex normals, (V, 3) float32, unit length; facing the camera for triangles as made here."""
    corner = vertices[triangles].astype(np.float64)
    face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normals = np.zeros((len(vertices), 3))
    for axis in range(3):
        for k in range(3):
            normals[:, axis] += np.bincount(triangles[:, k], face[:, axis], minlength=len(vertices))
    # a reference vertex without a proper triangle faces the camera
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    toward_camera = -vertices / np.maximum(np.linalg.norm(vertices, axis=1, keepdims=True), 1e-9)
    return np.where(length > 1e-15, normals / np.maximum(length, 1e-15), toward_camera).astype(np.float32)


def save_ply(path: str | os.PathLike, vertices: np.ndarray, triangles: np.ndarray, colors: np.ndarray | None = None,
             normals: np.ndarray | None = None) -> None:
    """Write a binary PLY, metres. The file appears whole or not at all. Raises OSError."""
    vertex, face = _ply_types(normals is not None, colors is not None)
    table = np.zeros(len(vertices), dtype=vertex)
    for names, values in ((("x", "y", "z"), vertices), (("nx", "ny", "nz"), normals), (("red", "green", "blue"), colors)):
        if values is not None:
            for k, name in enumerate(names):
                table[name] = values[:, k]
    faces = np.zeros(len(triangles), dtype=face)
    faces["n"], faces["v"] = 3, triangles
    write_whole(path, _ply_header(vertex, len(vertices), len(triangles)) + table.tobytes() + faces.tobytes())


def load_ply(path: str | os.PathLike) -> Surface:
    """Read what save_ply wrote, number by number. Normals that were not saved are made from the triangles.

    Raises ValueError on any other file, PLY of other programs included, and on one that was cut off; OSError.
    """
    data = Path(path).read_bytes()
    count = re.search(rb"\nelement vertex (\d+)\n.*\nelement face (\d+)\n", data[:1000], re.DOTALL)
    start = data.find(b"end_header\n", 0, 1000) + len(b"end_header\n")
    if count is None:
        raise ValueError(f"{path} is no mesh that save_ply wrote: it has no header of a PLY")
    vertices, triangles = int(count[1]), int(count[2])
    has_normals, has_colors = b" nx\n" in data[:start], b" red\n" in data[:start]
    vertex, face = _ply_types(has_normals, has_colors)
    if data[:start] != _ply_header(vertex, vertices, triangles):
        raise ValueError(f"{path} is a PLY of another layout than save_ply writes; Open3D, trimesh and MeshLab read it")
    if len(data) != start + vertices * vertex.itemsize + triangles * face.itemsize:
        raise ValueError(f"{path} is cut off, or longer than its header says: {len(data)} bytes")
    table = np.frombuffer(data, vertex, vertices, start)
    faces = np.frombuffer(data, face, triangles, start + table.nbytes)
    if (faces["n"] != 3).any() or (faces["v"] < 0).any() or (faces["v"] >= vertices).any():
        raise ValueError(f"{path} is broken: a face is no triangle of its {vertices} vertices")
    xyz, corners = _columns(table, "x", "y", "z"), np.ascontiguousarray(faces["v"], np.int32)
    normals = _columns(table, "nx", "ny", "nz") if has_normals else vertex_normals(xyz, corners)
    return Surface(xyz, normals, corners, _columns(table, "red", "green", "blue") if has_colors else None)


def _columns(table: np.ndarray, *names: str) -> np.ndarray:
    return np.stack([table[name] for name in names], axis=1)


def _ply_types(has_normals: bool, has_colors: bool) -> tuple[np.dtype, np.dtype]:
    """Of a vertex and of a face in the file."""
    floats = ["x", "y", "z", *(["nx", "ny", "nz"] if has_normals else [])]
    vertex = [(name, "<f4") for name in floats] + [(name, "u1") for name in ("red", "green", "blue") if has_colors]
    return np.dtype(vertex), np.dtype([("n", "u1"), ("v", "<i4", 3)])


def _ply_header(vertex: np.dtype, vertices: int, triangles: int) -> bytes:
    kinds = {"f": "float", "u": "uchar"}
    lines = ["ply", "format binary_little_endian 1.0", "comment metres, camera optical frame (x right, y down, z forward)",
             f"element vertex {vertices}", *(f"property {kinds[vertex[name].kind]} {name}" for name in vertex.names or ()),
             f"element face {triangles}", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(lines).encode()
