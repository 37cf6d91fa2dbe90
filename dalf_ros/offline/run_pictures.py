"""The pictures of a registration run: a film, and a contact sheet of a few frames."""
from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from dalf_core.camera import PinholeCamera
from dalf_core.drawing.draw import draw_keypoints, draw_pairs
from dalf_core.drawing.draw_motion import draw_kept
from dalf_core.drawing.in_turn import InTurn
from dalf_core.drawing.neat_mesh import NeatMesh
from dalf_core.drawing.palette import BAD, DROPPED, GOOD, GRID, UNSEEN
from dalf_core.drawing.panels import MOTION, compose
from dalf_core.drawing.render import RenderingUnavailable
from dalf_core.drawing.render_process import RenderProcess
from dalf_core.drawing.zoom import Zoom
from dalf_core.image_registration.video import VideoWriter
from dalf_core.templates.template import Template
from dalf_core.tracking import FeatureFrame, FrameMatches, SurfaceFrame
from dalf_core.types import LOST, Features

from ..conversions.pictures import contact_sheet

PANEL_WIDTH = 640           # pixels of a film's panel
SHEET_ROWS = 6
FILM_PICTURES = 600         # a longer recording is thinned to about so many
MAX_FPS = 30.0
OF_MESH = [(GRID, "grid that sticks to the surface"), (UNSEEN, "pink: not seen by the camera")]
OF_FILM = [(GOOD, "kept match, from its place in the reference"), (BAD, "dropped match")]
OF_SHEET = [(MOTION, "hue of a match: direction of its motion, against the median"), (DROPPED, "dropped match")]
MESH_TITLES = ("followed surface", "followed surface, from aside")


@dataclass(frozen=True)
class Shot:
    """What there is to see of one frame. camera: of pinhole_image, the image without lens distortion; None without depth.

    template: that is the reference; None: a frame is.
    """

    number: int
    stamp_ns: int
    image: np.ndarray
    features: FeatureFrame | None
    surface: SurfaceFrame | None
    triangles: np.ndarray | None
    colors: np.ndarray | None
    rest_vertices: np.ndarray | None
    camera: PinholeCamera | None
    pinhole_image: np.ndarray
    text: str
    template: Template | None = None


class RunPictures:
    """Makes the film as frames come, in a thread beside the caller's; keeps a few for the sheet. A `with` block finishes both.

    Both show the part around the object, chosen once from the reference: the whole picture until there is one.
    total: frames to come, or None when the recording does not say. film: None leaves it out. has_depth: of the recording; without, no
    surface is drawn.
    """

    def __init__(self, sheet: Path, film: Path | None, total: int | None, has_depth: bool = True) -> None:
        self._sheet, self._film_path = sheet, film
        self._stride = max(1, -(-(total or 0) // FILM_PICTURES))
        self._beside = InTurn(self._finish)
        self._rows: list[list[tuple[str, np.ndarray]]] = []
        self._chosen = set(np.linspace(0, max(0, (total or SHEET_ROWS * 30) - 1), SHEET_ROWS).astype(int).tolist())
        self._film: VideoWriter | None = None
        self._waiting: Shot | None = None
        self._last: Shot | None = None
        self._reference: tuple[np.ndarray, Features] | None = None
        self._zoom: Zoom | None = None
        self._mesh: tuple[np.ndarray, NeatMesh] | None = None       # and the triangles that it is of
        self._renderer = RenderProcess()
        self._can_render = has_depth

    def __enter__(self) -> RunPictures:
        self._beside.__enter__()
        if self._can_render:
            self._beside.call(self._renderer.begin)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._beside.__exit__(kind, value, trace)

    @property
    def chosen(self) -> set[int]:
        """Numbers of the frames that the sheet shows."""
        return self._chosen

    def add(self, shot: Shot) -> None:
        """Take the next frame. Raises what went wrong with an earlier one."""
        self._beside.call(self._add, shot)

    def _add(self, shot: Shot) -> None:
        matches = shot.features.matches if shot.features else None
        if shot.template is not None and shot.template.features is not None:
            self._reference = (shot.template.image, shot.template.features)
        elif matches is not None and matches.stamp_ns == matches.reference_stamp_ns:
            self._reference = (shot.image, shot.features.features)  # type: ignore[union-attr]
        if shot.number in self._chosen:
            self._rows.append(self._row(shot))
        self._last = shot
        if self._film_path is not None and shot.number % self._stride == 0:
            self._to_film(shot)

    def _to_film(self, shot: Shot) -> None:
        """The first picture waits for the second, whose stamp tells the film's speed."""
        if self._film is None and self._waiting is None:
            self._waiting = shot
            return
        if self._film is None and self._waiting is not None and self._film_path is not None:
            seconds = (shot.stamp_ns - self._waiting.stamp_ns) / 1e9
            self._film = VideoWriter(self._film_path, fps=float(np.clip(1 / seconds if seconds > 0 else 10.0, 1.0, MAX_FPS)))
            self._film.write(self._film_picture(self._waiting))
        if self._film is not None:
            self._film.write(self._film_picture(shot))

    def _film_picture(self, shot: Shot) -> np.ndarray:
        zoom = self._zoom_on(shot)
        meshes = self._meshes(shot, zoom)
        panels = [_draw_motion(shot, zoom), *(picture for _, picture in meshes)]
        titles = ["matches to the reference", *(title for title, _ in meshes)]
        return compose(panels, titles, shot.text, [*OF_FILM, *(OF_MESH if meshes else [])])

    def _zoom_on(self, shot: Shot) -> Zoom:
        """The part of the frame that is shown. It is chosen by the first reference, and does not move with the object."""
        size = (shot.image.shape[1], shot.image.shape[0])
        if self._zoom is not None and self._zoom.size == size:
            return self._zoom
        if shot.template is not None:       # whose object is elsewhere in this camera's image: it is shown from where it is found first
            found = None if shot.surface is None else shot.surface.registration
            if shot.camera is None or found is None or found.status == LOST:
                return Zoom.around(np.empty((0, 2)), size, PANEL_WIDTH)
            self._zoom = Zoom.around(shot.camera.project(found.vertices), size, PANEL_WIDTH)
            return self._zoom
        if shot.camera is not None and shot.rest_vertices is not None:
            self._zoom = Zoom.around(shot.camera.project(shot.rest_vertices), size, PANEL_WIDTH)
            return self._zoom
        if shot.camera is None and self._reference is not None:
            self._zoom = Zoom.around(self._reference[1].keypoints, size, PANEL_WIDTH)
            return self._zoom
        return Zoom.around(np.empty((0, 2)), size, PANEL_WIDTH)

    def _row(self, shot: Shot) -> list[tuple[str, np.ndarray]]:
        """Titles and pictures: the whole image | matches to the reference | mesh over the image | mesh from aside."""
        zoom = self._zoom_on(shot)
        whole = Zoom.around(np.empty((0, 2)), zoom.size, PANEL_WIDTH).picture(shot.image)
        matches = ("no matches to a reference", np.zeros((whole.shape[0], 2 * whole.shape[1], 3), np.uint8))
        if self._reference is not None and shot.features is not None and shot.features.matches is not None:
            matches = self._matches(shot, shot.features.matches, zoom)
        return [(shot.text, whole), matches, *self._meshes(shot, zoom)]

    def _matches(self, shot: Shot, pairs: FrameMatches, zoom: Zoom) -> tuple[str, np.ndarray]:
        assert self._reference is not None and shot.features is not None
        reference_image, reference = self._reference
        if shot.features.features is reference:
            shown = draw_keypoints(zoom.picture(shot.image), replace(reference, keypoints=zoom.positions(reference.keypoints)))
            return f"reference: {len(reference)} keypoints, brighter: stronger", np.hstack([shown, shown])
        size = (reference_image.shape[1], reference_image.shape[0])
        of_reference = Zoom.around(reference.keypoints, size, PANEL_WIDTH) if shot.template is not None else replace(zoom, size=size)
        drawn = draw_pairs(of_reference.picture(reference_image), zoom.picture(shot.image), of_reference.positions(pairs.reference_xy),
                           zoom.positions(pairs.query_xy), pairs.matches.inlier)
        return f"reference and frame: {pairs.matches.inlier.sum()} of {len(pairs.matches)} matches kept", drawn

    def _neat(self, triangles: np.ndarray, count: int) -> NeatMesh:
        if self._mesh is None or self._mesh[0] is not triangles:
            self._mesh = triangles, NeatMesh.of(triangles, count)
        return self._mesh[1]

    def _meshes(self, shot: Shot, zoom: Zoom) -> list[tuple[str, np.ndarray]]:
        """The mesh as a grid over the image, and shaded from aside; nothing where there is no depth in the whole recording."""
        if shot.camera is None or not self._can_render:
            return []
        plain = zoom.picture(shot.pinhole_image)
        if shot.surface is None or shot.surface.registration is None or shot.triangles is None:
            return [(MESH_TITLES[0], plain), (MESH_TITLES[1], np.zeros_like(plain))]
        result, neat = shot.surface.registration, self._neat(shot.triangles, len(shot.surface.registration.vertices))
        rest = None if shot.rest_vertices is None else neat.vertices(shot.rest_vertices)
        camera = zoom.camera(shot.camera)
        try:
            common = {"colors": shot.colors, "visible": result.visible, "rest_vertices": rest}
            pictures = [self._renderer.render(camera, neat.vertices(result.vertices), neat.triangles, **view, **common)
                        for view in ({"view": "camera", "image": plain, "style": "grid"}, {"view": "orbit"})]
            return list(zip(MESH_TITLES, pictures))
        except RenderingUnavailable as error:
            self._can_render = False
            print(f"warning: {error}; the pictures have no mesh", file=sys.stderr)
            return []

    def _finish(self) -> None:
        """Write the sheet, and close the film."""
        try:
            self._complete()
        finally:
            if self._film is not None:
                self._film.close()
            self._renderer.close()

    def _complete(self) -> None:
        """The sheet, with the last frame of a run that ended early; a film of a single frame."""
        if self._last is not None and self._last.number not in self._chosen:
            self._rows.append(self._row(self._last))
        if self._waiting is not None and self._film is None and self._film_path is not None:
            self._film = VideoWriter(self._film_path, fps=1.0)
            self._film.write(self._film_picture(self._waiting))
        if self._rows:
            has_mesh = any(len(row) > 2 for row in self._rows)
            cv2.imwrite(str(self._sheet), contact_sheet(self._rows, [*OF_SHEET, *(OF_MESH if has_mesh else [])]))


def _draw_motion(shot: Shot, zoom: Zoom) -> np.ndarray:
    """The frame with its matches, from their places in the reference; without matches where there are none."""
    picture = zoom.picture(shot.image)
    pairs = shot.features.matches if shot.features else None
    if pairs is None:
        return picture
    scale = np.array(pairs.image_size, float) / np.maximum(pairs.reference_image_size, 1)
    return draw_kept(picture, zoom.positions(pairs.reference_xy * scale), zoom.positions(pairs.query_xy), pairs.matches.inlier)
