"""Points that are to be named on every reference surface, given by pixels of its image."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..camera import PinholeCamera, rescale_pixels
from ..lens import Lens
from ..registration import NonRigidRegistration
from ..templates.named_points import NamedPoints, PointError, check_name
from .frames import SurfaceFrame
from .surface_tracker import SurfaceTracker


@dataclass(frozen=True)
class WantedPoint:
    """A name, and the pixel of the reference surface's colour image that it is to be at."""

    name: str
    xy: tuple[float, float]

    def __str__(self) -> str:
        """As wanted_point() reads it."""
        return f"{self.name},{self.xy[0]:g},{self.xy[1]:g}"


def wanted_point(text: str) -> WantedPoint:
    """"NAME,X,Y". Raises ValueError."""
    name, *numbers = text.split(",")
    try:
        x, y = map(float, numbers)
    except ValueError:
        raise ValueError(f"{text!r} is not NAME,X,Y: a name and a pixel of the reference image") from None
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"{text!r}: a pixel has two finite numbers")
    check_name(name)
    return WantedPoint(name, (x, y))


def wanted_points(text: str) -> tuple[WantedPoint, ...]:
    """Any number of them, separated by blanks. Raises ValueError, also where a name comes twice."""
    return all_different(tuple(map(wanted_point, text.split())))


def all_different(points: Sequence[WantedPoint]) -> tuple[WantedPoint, ...]:
    """The points. Raises ValueError where a name comes twice."""
    names = [point.name for point in points]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two points are named {', '.join(twice)}: give each a name of its own")
    return tuple(points)


def pinhole_pixel(lens: Lens, xy: tuple[float, float], image_size: tuple[int, int], camera: PinholeCamera) -> tuple[float, float]:
    """A pixel of the colour image in those of the pinhole camera that a surface is registered with; NaN where that does not see it.

    lens: of the colour camera, at any resolution. image_size: (width, height) of the colour image.
    """
    size = (camera.width, camera.height)
    x, y = lens.scaled(*size).undistort(rescale_pixels(np.array([xy], float), image_size, size))[0]
    return float(x), float(y)


class PointPlacer:
    """Names wanted points on each new reference surface, and tells of points that went with the old one."""

    def __init__(self, wanted: Sequence[WantedPoint], tell: Callable[[str], None]) -> None:
        """tell: takes a sentence that a user should read."""
        self._wanted, self._tell = all_different(wanted), tell
        self._known: NamedPoints | None = None
        self._placed_on: NonRigidRegistration | None = None

    def attend(self, tracker: SurfaceTracker, frame: SurfaceFrame | None = None, lens: Lens | None = None,
               image_size: tuple[int, int] | None = None) -> None:
        """To be called after each frame, and after a reset, which has none. lens, image_size: of the frame's colour image."""
        if tracker.points is not self._known:
            dropped = set(() if self._known is None else self._known.names) - {point.name for point in self._wanted}
            self._known = tracker.points
            if dropped:
                self._tell(f"the named points {', '.join(sorted(dropped))} are dropped with the reference surface that they were on")
        registration, template = tracker.registration, tracker.template
        if frame is None or lens is None or image_size is None or registration is None or registration is self._placed_on:
            return
        if not (frame.is_reference or template):
            return
        self._placed_on = registration
        for point in self._wanted:
            try:
                if template is not None:        # its picture is a pinhole camera's
                    place, = template.surface_points(np.array([point.xy], float), (template.image.shape[1], template.image.shape[0]))
                    tracker.points.add_at_reference_pixel(point.name, point.xy, registration, place)
                else:
                    pixel = pinhole_pixel(lens, point.xy, image_size, registration.camera)
                    tracker.points.add_at_reference_pixel(point.name, pixel, registration)
            except PointError as error:
                self._tell(f"track_points: {point.name} at ({point.xy[0]:g}, {point.xy[1]:g}) is not followed: {error}")
