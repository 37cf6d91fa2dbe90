"""Depth of one camera as another camera sees it: what drivers do when they are asked for depth that is aligned to colour."""
from __future__ import annotations

import math

import numpy as np

from .camera import PinholeCamera
from .compiled import njit
from .depth import is_reading, jump_slope

NEAREST_M = 1e-4        # what is nearer to the colour camera, or behind it, is not seen
FARTHEST_PX = 1e6       # pixels beyond are outside every image


def align_depth(depth_m: np.ndarray, depth_camera: PinholeCamera, color_camera: PinholeCamera, rotation: np.ndarray,
                translation: np.ndarray) -> np.ndarray:
    """Depth as the colour camera sees it: (color_camera.height, color_camera.width) float32 metres along its axis, NaN = none.

    depth_m: (depth_camera.height, depth_camera.width) metres along the depth camera's axis, NaN or 0 = none; lens distortion undone.
    rotation (3, 3), translation (3,) metres: from the depth camera's optical frame to the colour camera's,
    p_color = rotation @ p_depth + translation.

    Neighbouring readings are joined to triangles unless a surface ends between them, so a plane stays exactly a plane at any
    magnification; a reading at the end of a surface covers its own pixel's footprint. The nearest surface hides what is behind it.
    Raises ValueError on depth of another size than its camera's, or a transform that is no rotation and finite translation.
    """
    depth = np.ascontiguousarray(depth_m, np.float32)
    if depth.shape != (depth_camera.height, depth_camera.width):
        raise ValueError(f"depth has shape {depth.shape} but its camera is {depth_camera.width}x{depth_camera.height} px; "
                         "use camera.scaled(width, height) for another resolution")
    rotation, translation = np.asarray(rotation, float), np.asarray(translation, float)
    _check_transform(rotation, translation)
    z = np.where(is_reading(depth), depth, np.float32(0))
    slope, size = jump_slope(depth_camera), (color_camera.width, color_camera.height)
    pixels = _projected(z, _intrinsics(depth_camera), _intrinsics(color_camera), rotation, translation)
    z[pixels[2] == 0] = 0
    surface, inside = _draw_triangles(z, *pixels, slope, *size)
    ends = _draw_footprints(~inside, z, *pixels, color_camera.fx / depth_camera.fx, color_camera.fy / depth_camera.fy, *size)
    inverse = np.where(ends > surface * np.float32(1 + slope), ends, surface)      # what is nearer by more than a slanted surface's step
    return np.divide(np.float32(1), inverse, out=np.full_like(inverse, np.nan), where=inverse > 0)


def aligned_camera(depth_camera: PinholeCamera, color_camera: PinholeCamera) -> PinholeCamera:
    """The colour camera at the resolution that aligned depth deserves: no finer than the depth camera's own, never finer than colour's.

    The aspect ratio stays that of the colour image up to rounding.
    """
    factor = max(depth_camera.fx / color_camera.fx, depth_camera.fy / color_camera.fy)
    if factor >= 1:
        return color_camera
    return color_camera.scaled(max(1, round(color_camera.width * factor)), max(1, round(color_camera.height * factor)))


def _check_transform(rotation: np.ndarray, translation: np.ndarray) -> None:
    if rotation.shape != (3, 3) or translation.shape != (3,) or not np.isfinite(translation).all():
        raise ValueError(f"from depth to colour a rotation (3, 3) and a translation (3,) are needed, got {rotation.shape} and "
                         f"{translation.tolist()}")
    if not (np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) and np.linalg.det(rotation) > 0):
        raise ValueError(f"the rotation from depth to colour is none: {rotation.tolist()}")


def _intrinsics(camera: PinholeCamera) -> tuple[float, float, float, float]:
    return float(camera.fx), float(camera.fy), float(camera.cx), float(camera.cy)


@njit
def _projected(z, depth_camera, color_camera, rotation, translation):
    """u, v in the colour image and inverse depth along its axis, (H, W) float64 each; inverse depth 0 where there is nothing to see."""
    fx, fy, cx, cy = depth_camera
    gx, gy, hx, hy = color_camera
    height, width = z.shape
    u, v, inverse = np.zeros((height, width)), np.zeros((height, width)), np.zeros((height, width))
    for y in range(height):
        ray_y = (y - cy) / fy
        for x in range(width):
            d = z[y, x]
            ray_x = (x - cx) / fx
            pz = (rotation[2, 0] * ray_x + rotation[2, 1] * ray_y + rotation[2, 2]) * d + translation[2]
            if d <= 0.0 or pz < NEAREST_M:
                continue
            near = 1.0 / pz
            px = (rotation[0, 0] * ray_x + rotation[0, 1] * ray_y + rotation[0, 2]) * d + translation[0]
            py = (rotation[1, 0] * ray_x + rotation[1, 1] * ray_y + rotation[1, 2]) * d + translation[1]
            inverse[y, x] = near
            u[y, x] = min(max(gx * px * near + hx, -FARTHEST_PX), FARTHEST_PX)
            v[y, x] = min(max(gy * py * near + hy, -FARTHEST_PX), FARTHEST_PX)
    return u, v, inverse


@njit
def _draw_triangles(z, u, v, inverse, slope, width, height):
    """Inverse depth (height, width) of the triangles between readings, 0 = none, and which readings (H, W) are inside a surface.

    Each four neighbours are two triangles, cut along the diagonal that spans less depth.
    """
    nearest = np.zeros((height, width), np.float32)
    rows, columns = z.shape
    whole = np.zeros((rows, columns), np.uint8)         # quads around each reading of which both triangles are a surface
    for y in range(rows - 1):
        for x in range(columns - 1):
            a, b, c, d = z[y, x], z[y, x + 1], z[y + 1, x + 1], z[y + 1, x]
            if (a > 0.0) + (b > 0.0) + (c > 0.0) + (d > 0.0) < 3:
                continue
            down = abs(a - c) <= abs(b - d) if min(a, b, c, d) > 0.0 else min(a, c) > 0.0
            first = _one_surface(a, b, c if down else d, slope)
            second = _one_surface(c, d, a if down else b, slope)
            if first and second:
                whole[y, x] += 1
                whole[y, x + 1] += 1
                whole[y + 1, x + 1] += 1
                whole[y + 1, x] += 1
            elif not (first or second):
                continue
            au, bu, cu, du = u[y, x], u[y, x + 1], u[y + 1, x + 1], u[y + 1, x]
            av, bv, cv, dv = v[y, x], v[y, x + 1], v[y + 1, x + 1], v[y + 1, x]
            aw, bw, cw, dw = inverse[y, x], inverse[y, x + 1], inverse[y + 1, x + 1], inverse[y + 1, x]
            top, bottom = _drawn_range(av, bv, cv, dv, down, first, second, height)
            left, right = _drawn_range(au, bu, cu, du, down, first, second, width)
            for q in range(top, bottom + 1):
                for p in range(left, right + 1):
                    found = 0.0
                    if first:
                        found = _inside(p, q, au, av, aw, bu, bv, bw, cu if down else du, cv if down else dv, cw if down else dw)
                    if second and found == 0.0:
                        found = _inside(p, q, cu, cv, cw, du, dv, dw, au if down else bu, av if down else bv, aw if down else bw)
                    if found > nearest[q, p]:
                        nearest[q, p] = found
    return nearest, whole == 4


@njit
def _drawn_range(a, b, c, d, down, first, second, size):
    """First and last pixel along one axis of the triangles that are drawn of a quad: a corner that is in neither may be no reading."""
    if not second:
        c, d = (c, c) if down else (d, d)
    elif not first:
        a, b = (a, a) if down else (b, b)
    return max(0, math.ceil(min(a, b, c, d))), min(size - 1, math.floor(max(a, b, c, d)))


@njit
def _one_surface(a, b, c, slope):
    """Whether three readings are of one surface."""
    near = min(a, b, c)
    return near > 0.0 and max(a, b, c) - near <= slope * near


@njit
def _inside(p, q, u0, v0, w0, u1, v1, w1, u2, v2, w2):
    """Inverse depth of a triangle, clockwise as seen in the image, at pixel (p, q); 0 beside it and where it is seen from behind."""
    u1, v1, u2, v2, du, dv = u1 - u0, v1 - v0, u2 - u0, v2 - v0, p - u0, q - v0
    area = u1 * v2 - u2 * v1
    second, third = du * v2 - u2 * dv, u1 * dv - du * v1
    slack = 1e-9 * area
    if area <= 1e-12 or second < -slack or third < -slack or second + third > area + slack:
        return 0.0
    return w0 + (second * (w1 - w0) + third * (w2 - w0)) / area


@njit
def _draw_footprints(selected, z, u, v, inverse, magnify_x, magnify_y, width, height):
    """Inverse depth (height, width), 0 = none, of selected readings (H, W), each over the pixels whose centres its own pixel covers."""
    nearest = np.zeros((height, width), np.float32)
    rows, columns = z.shape
    for y in range(rows):
        for x in range(columns):
            if not selected[y, x] or inverse[y, x] <= 0.0:
                continue
            nearer = 0.5 * z[y, x] * inverse[y, x]      # half a pixel, and larger where the colour camera is nearer
            half_width, half_height = max(0.5, nearer * magnify_x), max(0.5, nearer * magnify_y)
            for q in range(max(0, math.ceil(v[y, x] - half_height)), min(height, math.ceil(v[y, x] + half_height))):
                for p in range(max(0, math.ceil(u[y, x] - half_width)), min(width, math.ceil(u[y, x] + half_width))):
                    if inverse[y, x] > nearest[q, p]:
                        nearest[q, p] = inverse[y, x]
    return nearest
