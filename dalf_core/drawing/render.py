"""Pictures of a deforming mesh, made without a screen: as the camera sees it, or from an oblique viewpoint that shows its relief."""
from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import cv2
import numpy as np

from ..camera import PinholeCamera
from ..surface import vertex_normals
from .palette import BACKGROUND, GRID, GRID_UNSEEN, surface_colors

VIEWS = ("camera", "orbit")
STYLES = ("surface", "grid")
MIN_CELL_PX = 12                     # of the grid over the image


class RenderingUnavailable(RuntimeError):
    """This machine cannot draw without a screen; the message says which package to install."""


class SurfaceRenderer:
    """Draws one mesh after another, keeping the graphics state between them (about 10 ms a picture).

    camera: the pinhole camera whose pixels the picture has; its projection is reproduced exactly, principal point included.
    background: BGR behind the mesh. Everything must be called from the thread that made the first picture.
    """

    def __init__(self, camera: PinholeCamera, background: tuple[int, int, int] | None = None) -> None:
        self.camera = camera
        self.background = BACKGROUND if background is None else background
        self._plotter: Any = None
        self._mesh: Any = None
        self._actor: Any = None
        self._triangles: np.ndarray | None = None
        self._rest: np.ndarray | None = None
        self._textures: dict[str, Any] = {}
        self._center = np.zeros(3)
        self._radius = 1.0

    def render(self, vertices: np.ndarray, triangles: np.ndarray, colors: np.ndarray | None = None,
               visible: np.ndarray | None = None, view: str = "camera", image: np.ndarray | None = None, *,
               style: str = "surface", opacity: float = 0.85, rest_vertices: np.ndarray | None = None) -> np.ndarray:
        """One picture, HxWx3 uint8 BGR, of the camera's size.

        vertices: (V, 3) metres, camera optical frame. triangles: (F, 3) indices. colors: (V, 3) uint8 RGB.
        visible: (V,) bool; vertices that are False are tinted. view: "camera" (exact projection) or "orbit" (from above and aside;
        the viewpoint is set by the first mesh of a topology and then stays, so that motion shows).
        image: BGR picture of the camera's size to draw over, "camera" view only; `opacity` 0..1 is the mesh's part in the mixture.
        style: "surface" (shaded), "grid" (lines every few centimetres that stick to the
        surface: over an image they show whether the mesh lies on what it follows). rest_vertices: the shape on which the grid is
        straight; default the first one seen with these triangles.
        """
        if view not in VIEWS or style not in STYLES:
            raise ValueError(f"view must be one of {VIEWS} and style one of {STYLES}, not {view!r}, {style!r}")
        vertices = np.ascontiguousarray(vertices, dtype=np.float32)
        backdrop = self._backdrop(image if view == "camera" else None)
        if len(vertices) == 0 or len(triangles) == 0 or not np.isfinite(vertices).all():
            return backdrop.copy()
        self._update(vertices, triangles, rest_vertices)
        self._aim(view)
        over_image = image is not None and view == "camera"
        if style == "grid" and over_image:
            return _mix_lines(backdrop, self._shoot(self._seen_code(visible), lit=False, style="grid"), opacity)
        picture = self._shoot(surface_colors(colors, visible, len(vertices)), lit=True, style=style)
        return _mix(backdrop, cv2.cvtColor(picture, cv2.COLOR_RGBA2BGR), _unit(picture[..., 3]) * np.float32(opacity if over_image else 1))

    def _backdrop(self, image: np.ndarray | None) -> np.ndarray:
        """The image, or the background: HxWx3."""
        size = (self.camera.height, self.camera.width)
        if image is None:
            return np.full((*size, 3), self.background, np.uint8)
        if image.shape[:2] != size:
            raise ValueError(f"the image is {image.shape[1]}x{image.shape[0]}, the camera {size[1]}x{size[0]}")
        return image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)

    def close(self) -> None:
        """Free the graphics context; a later render makes a new one."""
        if self._plotter is not None:
            self._plotter.close()
        self._plotter = self._mesh = self._actor = self._triangles = None
        self._textures.clear()

    def _update(self, vertices: np.ndarray, triangles: np.ndarray, rest_vertices: np.ndarray | None) -> None:
        """Move the mesh in the scene, or build it where the topology is new."""
        triangles = np.asarray(triangles)
        known = self._triangles
        if known is None or known.shape != triangles.shape or self._mesh.n_points != len(vertices) or not np.array_equal(known, triangles):
            self._build(vertices, triangles)
            self._set_rest(vertices if rest_vertices is None else rest_vertices)
        elif rest_vertices is not None and (self._rest is None or not np.array_equal(rest_vertices, self._rest)):
            self._set_rest(rest_vertices)
        self._mesh.points = vertices
        self._mesh.point_data.active_normals = vertex_normals(vertices, triangles)

    def _build(self, vertices: np.ndarray, triangles: np.ndarray) -> None:
        pyvista = _pyvista()
        if self._plotter is None:
            # no anti-aliasing: in Mesa's software it takes more than the rest, and lines are smooth by their texture
            self._plotter = pyvista.Plotter(off_screen=True, window_size=(self.camera.width, self.camera.height), lighting="none")
            self._plotter.disable_anti_aliasing()
            self._plotter.add_light(pyvista.Light(position=(-0.6, -1.0, -1.2), focal_point=(0, 0, 0), light_type="scene light",
                                                  intensity=0.65))
            self._plotter.add_light(pyvista.Light(light_type="headlight", intensity=0.45))
        else:
            self._plotter.remove_actor(self._actor, render=False)
        self._mesh = pyvista.PolyData.from_regular_faces(vertices, triangles)
        self._mesh.point_data["color"] = np.full((len(vertices), 3), 255, np.uint8)
        self._mesh.active_texture_coordinates = np.zeros((len(vertices), 2), np.float32)
        self._actor = self._plotter.add_mesh(self._mesh, scalars="color", rgb=True, smooth_shading=False, ambient=0.12, diffuse=0.95,
                                             specular=0.0)
        self._actor.prop.interpolation = "Phong"
        self._triangles = triangles.copy()

    def _set_rest(self, rest: np.ndarray) -> None:
        """Lay the grid out on the rest shape, even in its image, and place the orbit viewpoint by it."""
        self._rest = np.array(rest, np.float32)
        self._center = np.median(rest, axis=0)
        distance = np.linalg.norm(rest - self._center, axis=1)
        # a far wall behind the scene does not count
        self._radius = max(min(float(np.percentile(distance, 98)), 3 * float(np.median(distance))), 1e-3)
        slope = self._rest[:, :2] / np.maximum(self._rest[:, 2:], 1e-3)
        finest = MIN_CELL_PX / min(self.camera.fx, self.camera.fy)      # closer lines would melt into a tint
        spacing = _round_spacing(max(float(np.ptp(slope, axis=0).max()) / 14, finest))
        self._mesh.active_texture_coordinates = (slope / spacing).astype(np.float32)

    def _aim(self, view: str) -> None:
        """Put the scene's camera where the view asks."""
        eye = self._plotter.camera
        if view == "camera":
            eye.position, eye.focal_point, eye.up = (0, 0, 0), (0, 0, 1), (0, -1, 0)
            depth = self._mesh.points[:, 2]
            near, far = max(float(depth.min()) * 0.5, 1e-3), max(float(depth.max()) * 2, 1e-2)
            eye.clipping_range = (near, far)
            eye.SetExplicitProjectionTransformMatrix(_projection(self.camera, near, far))
            eye.UseExplicitProjectionTransformMatrixOn()
            return
        eye.UseExplicitProjectionTransformMatrixOff()
        direction = np.array([0.75, -0.75, -1.0]) / np.linalg.norm([0.75, -0.75, -1.0])
        eye.view_angle = 30.0
        eye.position = tuple(self._center + direction * (1.12 * self._radius / np.tan(np.deg2rad(15))))
        eye.focal_point, eye.up = tuple(self._center), (0, -1, 0)
        self._plotter.renderer.ResetCameraClippingRange()

    def _shoot(self, colors: np.ndarray, *, lit: bool, style: str) -> np.ndarray:
        """Draw the scene as it stands: HxWx4 uint8 RGBA, alpha the mesh's coverage. colors: (V, 3) uint8 RGB."""
        self._mesh.point_data["color"][:] = colors
        self._mesh.GetPointData().GetArray("color").Modified()
        self._actor.prop.lighting = lit
        paint = "blank" if style != "grid" else "grid" if lit else "code"
        if paint not in self._textures:
            self._textures[paint] = _texture(paint)
        self._actor.texture = self._textures[paint]  # always one: VTK does not notice when a texture appears or goes
        self._plotter.render()
        return self._plotter.screenshot(transparent_background=True, return_img=True)

    def _seen_code(self, visible: np.ndarray | None) -> np.ndarray:
        """What _mix_lines reads back: red is later multiplied by the grid lines, green is 255 where unseen."""
        code = np.full((self._mesh.n_points, 3), (255, 0, 255), np.uint8)
        if visible is not None:
            code[~np.asarray(visible, bool), 1] = 255
        return code


def check_rendering() -> None:
    """Raise RenderingUnavailable, saying what to install, where pictures cannot be drawn."""
    _pyvista()


def _projection(camera: PinholeCamera, near: float, far: float) -> Any:
    """Eye space (x right, y up, z backward) to OpenGL clip space, so that pixel centres at integers come out where they belong."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    rows = np.zeros((4, 4))
    rows[0, 0], rows[0, 2] = 2 * camera.fx / camera.width, 1 - 2 * (camera.cx + 0.5) / camera.width
    rows[1, 1], rows[1, 2] = 2 * camera.fy / camera.height, 2 * (camera.cy + 0.5) / camera.height - 1
    rows[2, 2], rows[2, 3] = -(far + near) / (far - near), -2 * far * near / (far - near)
    rows[3, 2] = -1
    matrix = vtkMatrix4x4()
    matrix.DeepCopy(rows.ravel().tolist())
    return matrix


def _mix_lines(image: np.ndarray, code: np.ndarray, opacity: float) -> np.ndarray:
    """Draw coded grid lines (see _seen_code) over a BGR image."""
    line, unseen, _, inside = (_unit(channel) for channel in cv2.split(code))
    alpha = inside * np.maximum(line * np.float32(opacity), np.float32(0.10) + np.float32(0.12) * unseen)
    shades = GRID + np.subtract(GRID_UNSEEN, GRID) * np.linspace(0, 1, 256)[:, None]
    return _mix(image, np.rint(shades).astype(np.uint8)[code[..., 1]], alpha)


def _mix(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """above over below (H, W, 3), by alpha (H, W) float32."""
    return cv2.blendLinear(above, np.ascontiguousarray(below), alpha, 1 - alpha)


def _unit(channel: np.ndarray) -> np.ndarray:
    """(H, W) uint8 to float32, 0..1."""
    return channel * np.float32(1 / 255)


def _texture(paint: str) -> Any:
    """One cell of the pattern repeated over the surface: blank, dark lines (grid), or a red channel that is 255 on lines only (code)."""
    cell = np.full((128, 128, 3), (0, 255, 255) if paint == "code" else 255, np.uint8)
    if paint != "blank":
        for band in (slice(0, 6), slice(122, 128)):
            cell[band] = cell[:, band] = 255 if paint == "code" else (50, 60, 80)
    texture = _pyvista().Texture(cell)
    texture.repeat, texture.interpolate, texture.mipmap = True, True, True
    texture.SetMaximumAnisotropicFiltering(1)     # more makes Mesa's software renderer stall for seconds on oblique meshes
    return texture


def _round_spacing(length: float) -> float:
    """The nearest 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(min((power * step for step in (1, 2, 5, 10)), key=lambda value: abs(np.log(value / length))))


def _pyvista() -> Any:
    """pyvista, told to draw without a screen; one clear error where that cannot work."""
    os.environ.setdefault("PYVISTA_OFF_SCREEN", "true")
    if sys.platform.startswith("linux"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        try:
            ctypes.CDLL("libEGL.so.1")
        except OSError as error:
            raise RenderingUnavailable(
                "cannot draw pictures: libEGL.so.1 is missing. Install it: apt-get install libegl1 libgl1-mesa-dri") from error
    try:
        import pyvista
    except ImportError as error:
        raise RenderingUnavailable(f"cannot draw pictures: {error}. Install it: pip install pyvista") from error
    return pyvista
