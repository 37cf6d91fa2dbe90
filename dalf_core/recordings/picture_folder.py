"""A recording that is a folder of pictures."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ..depth_units import to_metres
from ..files.picture_file import decode_picture, read_picture
from ..lens import Lens
from .camera_files import FORMS, NAMES, find_camera_file, read_camera_file
from .folder_layout import Entry, find_layout
from .rgbd_frame import RgbdFrame

FRAME_ID = "camera_color_optical_frame"     # depth of such folders lies on colour's pixels
FPS = 30.0                                  # of pictures that are numbered and have no time


class PictureFolder:
    """The frames of a folder. See folder_layout for which there are.

    description: what the folder was taken for. has_depth, has_mask: whether it holds such pictures. count: frames.
    metres_per_unit: of the depth's numbers; None: as the layout or their type says. camera_file: of the intrinsics; found by its name when
    not given. ValueError, OSError: no such folder, of no layout that is known.
    """

    def __init__(self, folder: Path, *, metres_per_unit: float | None = None, camera_file: Path | None = None, fps: float = FPS,
                 tolerance_s: float = 0.02) -> None:
        layout = find_layout(folder, fps, tolerance_s)
        self.folder, self._entries = folder, layout.entries
        self.description = f"{layout.name}, {len(layout.entries)} frames"
        self.has_depth, self.has_mask, self.count = layout.has_depth, layout.has_mask, len(layout.entries)
        self._metres_per_unit = layout.metres_per_unit if metres_per_unit is None else metres_per_unit
        self._camera_file = camera_file or find_camera_file(folder)

    def camera(self) -> Lens:
        """The colour camera, for the size of the first picture that can be read. ValueError: no file tells it."""
        if self._camera_file is None:
            raise ValueError(f"{self.folder} does not tell the camera's intrinsics: give --intrinsics fx,fy,cx,cy (pixels of the colour "
                             f"image) or --intrinsics FILE, or put one of {', '.join(NAMES)} there: {FORMS}")
        for entry in self._entries:
            try:
                height, width = read_picture(entry.color).shape[:2]
            except OSError:
                continue
            return read_camera_file(self._camera_file, (width, height))
        raise ValueError(f"{self.folder}: no colour picture can be read")

    def frames(self) -> Iterator[RgbdFrame]:
        """Every frame in order; what cannot be read is None, and the problem told."""
        for entry in self._entries:
            yield self._read(entry)

    def _read(self, entry: Entry) -> RgbdFrame:
        problems = []
        image = depth_m = mask = None
        try:
            image = read_picture(entry.color)
        except OSError as error:
            problems.append(f"colour image: {error}")
        if self.has_depth:
            try:
                depth_m = self._depth(entry)
            except (ValueError, OSError) as error:
                problems.append(f"depth: {error}")
        if self.has_mask:
            try:
                mask = _mask(entry)
            except (ValueError, OSError) as error:
                problems.append(f"mask: {error}")
        return RgbdFrame(entry.stamp_ns, FRAME_ID, image, depth_m, mask, "; ".join(problems), FRAME_ID, entry.gap_ns)

    def _depth(self, entry: Entry) -> np.ndarray:
        if entry.depth is None:
            raise ValueError("no depth image " + ("has its number" if entry.gap_ns is None else "within the stamp tolerance"))
        if entry.depth.suffix.lower() == ".npy":
            numbers = np.load(entry.depth, allow_pickle=False)
        else:
            numbers = _decoded(entry.depth)
        if numbers.ndim != 2 or numbers.dtype == np.uint8 or numbers.dtype.kind not in "uif":
            raise ValueError(f"{entry.depth} holds {numbers.dtype} of shape {numbers.shape}: depth is one channel of 16-bit numbers or "
                             "floating point; a coloured depth picture cannot be read back")
        return to_metres(numbers, self._metres_per_unit)


def _mask(entry: Entry) -> np.ndarray:
    if entry.mask is None:
        raise ValueError("no mask has its number")
    picture = _decoded(entry.mask)
    nonzero = picture != 0 if picture.ndim == 2 else (picture[:, :, :3] != 0).any(axis=2)
    return nonzero.astype(np.uint8) * 255


def _decoded(path: Path) -> np.ndarray:
    try:
        return decode_picture(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error
