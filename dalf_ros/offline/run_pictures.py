"""The pictures of a registration run: a film, and a contact sheet of a few frames."""
from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from dalf_core.camera import PinholeCamera
from dalf_core.drawing.draw import as_bgr, draw_keypoints, draw_pairs, write_text
from dalf_core.drawing.render import RenderingUnavailable, SurfaceRenderer
from dalf_core.image_registration.video import VideoWriter
from dalf_core.tracking import FeatureFrame, SurfaceFrame
from dalf_core.types import Features

from ..conversions.pictures import contact_sheet, draw_motion

SHEET_ROWS = 6
FILM_PICTURES = 600         # a longer recording is thinned to about so many
MAX_FPS = 30.0


@dataclass(frozen=True)
class Shot:
    """What there is to see of one frame. camera: of pinhole_image, the image without lens distortion; None without depth."""

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


class RunPictures:
    """Makes the film as frames come, keeps a few for the sheet; use it in a `with` block, which finishes both.

    total: frames to come, or None when the recording does not say. film: False leaves the film out.
    """

    def __init__(self, sheet: Path, film: Path | None, total: int | None) -> None:
        self._sheet, self._film_path = sheet, film
        self._stride = max(1, -(-(total or 0) // FILM_PICTURES))
        self._rows: list[list[np.ndarray]] = []
        self._chosen = set(np.linspace(0, max(0, (total or SHEET_ROWS * 30) - 1), SHEET_ROWS).astype(int).tolist())
        self._film: VideoWriter | None = None
        self._waiting: Shot | None = None
        self._last: Shot | None = None
        self._reference: tuple[np.ndarray, Features] | None = None
        self._renderer: SurfaceRenderer | None = None
        self._can_render = True

    def __enter__(self) -> RunPictures:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._finish()
        finally:
            if self._film is not None:
                self._film.close()
            self._close_renderer()

    def _close_renderer(self) -> None:
        if self._renderer is not None:
            self._renderer.close()

    @property
    def chosen(self) -> set[int]:
        """Numbers of the frames that the sheet shows."""
        return self._chosen

    def add(self, shot: Shot) -> None:
        """Take the next frame."""
        matches = shot.features.matches if shot.features else None
        if matches is not None and matches.stamp_ns == matches.reference_stamp_ns:
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
        motion = draw_motion(shot.image, shot.features.matches if shot.features else None)
        panels = [motion, *self._meshes(shot)]
        return write_text(np.hstack(panels), shot.text)

    def _row(self, shot: Shot) -> list[np.ndarray]:
        """image | matches to the reference | mesh over the image | mesh from aside."""
        image = as_bgr(shot.image)
        row = [write_text(image, shot.text)]
        if self._reference is not None and shot.features is not None and shot.features.matches is not None:
            reference_image, reference = self._reference
            if shot.features.features is reference:
                row.append(np.hstack([draw_keypoints(shot.image, reference)] * 2))
            else:
                pairs = shot.features.matches
                row.append(draw_pairs(reference_image, shot.image, pairs.reference_xy, pairs.query_xy, pairs.matches.inlier))
        else:
            row.append(np.zeros((image.shape[0], 2 * image.shape[1], 3), np.uint8))
        return row + [_around_surface(mesh, shot) if number == 0 else mesh for number, mesh in enumerate(self._meshes(shot))]

    def _meshes(self, shot: Shot) -> list[np.ndarray]:
        """The mesh as a grid over the image, and shaded from aside; nothing where there is no depth in the whole recording."""
        if shot.camera is None or not self._can_render:
            return []
        plain = as_bgr(shot.pinhole_image)
        if shot.surface is None or shot.surface.registration is None:
            return [plain.copy(), np.zeros_like(plain)]
        result = shot.surface.registration
        try:
            if self._renderer is None or self._renderer.camera != shot.camera:
                self._close_renderer()
                self._renderer = SurfaceRenderer(shot.camera)
            common = {"colors": shot.colors, "visible": result.visible, "rest_vertices": shot.rest_vertices}
            return [self._renderer.render(result.vertices, shot.triangles, view="camera", image=plain, style="grid", **common),
                    self._renderer.render(result.vertices, shot.triangles, view="orbit", **common)]
        except RenderingUnavailable as error:
            self._can_render = False
            print(f"warning: {error}; the pictures have no mesh", file=sys.stderr)
            return []

    def _finish(self) -> None:
        """Write the sheet; a run that ended early shows the last frame too."""
        if self._last is not None and self._last.number not in self._chosen:
            self._rows.append(self._row(self._last))
        if self._waiting is not None and self._film is None and self._film_path is not None:
            self._film = VideoWriter(self._film_path, fps=1.0)
            self._film.write(self._film_picture(self._waiting))
        if self._rows:
            cv2.imwrite(str(self._sheet), contact_sheet(self._rows))


def _around_surface(picture: np.ndarray, shot: Shot) -> np.ndarray:
    """The part of a picture around the followed surface, of the picture's proportions, enlarged: a small object would be lost."""
    if shot.surface is None or shot.surface.registration is None or shot.camera is None:
        return picture
    height, width = picture.shape[:2]
    xy = shot.camera.project(shot.surface.registration.vertices)
    xy = xy[np.isfinite(xy).all(axis=1)].clip(0, (width - 1, height - 1))
    if not len(xy):
        return picture
    centre, extent = (xy.min(axis=0) + xy.max(axis=0)) / 2, np.ptp(xy, axis=0)
    share = float(np.clip(1.5 * max(extent[0] / width, extent[1] / height), 0.15, 1.0))
    w, h = round(width * share), round(height * share)
    left, top = (int(np.clip(round(c - s / 2), 0, full - s)) for c, s, full in zip(centre, (w, h), (width, height), strict=True))
    return cv2.resize(picture[top:top + h, left:left + w], (width, height), interpolation=cv2.INTER_CUBIC)
