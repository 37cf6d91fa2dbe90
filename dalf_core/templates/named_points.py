"""Points of a reference surface that have names, and where they are in each frame."""
from __future__ import annotations

import re
import threading
from dataclasses import dataclass

import numpy as np

from ..registration import NonRigidRegistration
from ..surface import Surface
from ..types import LOST, Registration
from .closest_point import closest_point

NAME = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*")        # what a TF frame can be called
SNAP = 0.5                  # of the node spacing: so near a place must be to the surface to be taken for a point of it


class PointError(ValueError):
    """A point that cannot be named or found; the text says why and what to do."""


@dataclass(frozen=True)
class NamedPoint:
    """A point of the reference surface. position: (3,) float64 metres. tangent: (3,) unit length, along the surface: the direction that
    is carried with it. corner: (3,) int, vertices of the triangle that it lies in; weight: (3,) theirs, sum 1."""

    name: str
    position: np.ndarray
    tangent: np.ndarray
    corner: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class FollowedPoint:
    """A named point in one frame, camera optical frame. position: (3,) metres. normal: (3,) unit length.

    rotation: (3, 3), columns the axes of its frame: z the normal, x the carried tangent. covariance: (3, 3) square metres of the position,
    NaN where it is not known. visible: a depth reading supports the surface there; confidence: 0..1, see Registration.
    """

    name: str
    position: np.ndarray
    normal: np.ndarray
    rotation: np.ndarray
    covariance: np.ndarray
    visible: bool
    confidence: float


class NamedPoints:
    """Named points of one reference surface, in the order of their naming; it may grow meanwhile. Safe to use from several threads.

    Methods that add raise PointError: a name that is taken or that no TF frame can have, a place that is not on the surface.
    """

    def __init__(self) -> None:
        self._points: dict[str, NamedPoint] = {}        # always replaced, never changed
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._points)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._points)

    @property
    def positions(self) -> np.ndarray:
        """(N, 3) float64 metres on the reference surface, in the order of the names."""
        return np.array([point.position for point in self._points.values()]).reshape(-1, 3)

    def add(self, name: str, position: np.ndarray, surface: Surface, within_m: float) -> None:
        """Name the point of the reference surface that is nearest to a position, (3,) metres, and no farther away than within_m."""
        check_name(name)
        self._put(name, surface, *_snapped(surface.vertices, surface.triangles, position, within_m))

    def add_at_reference_pixel(self, name: str, xy: tuple[float, float], registration: NonRigidRegistration,
                               place: np.ndarray | None = None) -> None:
        """Name what a pixel of the reference image shows. place: (3,) metres, where that is, if it is known; NaN: not on the surface.

        RuntimeError where the reference is a mesh without an image, and no place is given.
        """
        check_name(name)
        if place is None:
            place, = registration.reference_points(np.array([xy], float))
        if not np.isfinite(place).all():
            raise PointError(f"the reference surface is not at {_pixel(xy)} of the reference image: no depth reading, or another thing")
        self._add_near(name, place, registration)

    def add_at_pixel(self, name: str, xy: tuple[float, float], registration: NonRigidRegistration, result: Registration) -> None:
        """Name what a pixel of the frame registered last shows. result: that frame's."""
        check_name(name)
        _require_found(result)
        pixel = np.array([xy], float)
        if not np.isfinite(pixel).all() or not np.isfinite(registration.lifted(pixel)).all():
            raise PointError(f"there is no depth reading at {_pixel(xy)}: take another pixel, or give a position")
        place, = registration.to_reference(pixel)
        if not np.isfinite(place).all():
            raise PointError(f"{_pixel(xy)} shows something else than the followed surface")
        self._add_near(name, place, registration)

    def add_at_position(self, name: str, position: np.ndarray, registration: NonRigidRegistration, result: Registration) -> None:
        """Name the point of the surface, as it is in a frame, that is nearest to a position there, (3,) metres, camera optical frame."""
        check_name(name)
        _require_found(result)
        self._add_near(name, position, registration, result.vertices)

    def remove(self, name: str) -> None:
        """Raises PointError for a name that is not there."""
        with self._lock:
            if name not in self._points:
                known = ", ".join(self._points) or "there are none"
                raise PointError(f"no point is named {name!r} (named points: {known})")
            self._points = {key: point for key, point in self._points.items() if key != name}

    def _add_near(self, name: str, position: np.ndarray, registration: NonRigidRegistration, vertices: np.ndarray | None = None) -> None:
        """vertices: of the surface where the position is meant; None: the reference."""
        surface, within_m = registration.surface, SNAP * registration.graph.spacing
        assert surface is not None      # where there is none, there is no graph either
        self._put(name, surface, *_snapped(surface.vertices if vertices is None else vertices, surface.triangles, position, within_m))

    def _put(self, name: str, surface: Surface, corner: np.ndarray, weight: np.ndarray) -> None:
        vertices, normals = surface.vertices[corner].astype(float), surface.normals[corner].astype(float)
        point = NamedPoint(name, weight @ vertices, _tangent(_unit(weight @ normals)), corner, weight)
        with self._lock:
            if name in self._points:
                raise PointError(f"a point is named {name!r} already: remove it first, or take another name")
            self._points = {**self._points, name: point}

    def follow(self, registration: Registration, covariance: np.ndarray | None = None) -> list[FollowedPoint]:
        """Where the points are in a frame; where they were last, none of them visible, in one in which the surface is lost.

        covariance: (N, 3, 3) square metres, of NonRigidRegistration.covariance(positions); None: not known.
        """
        points = list(self._points.values())
        if not points:
            return []
        if covariance is None or len(covariance) != len(points):        # a name was added since
            covariance = np.full((len(points), 3, 3), np.nan)
        return [_followed(point, registration, matrix) for point, matrix in zip(points, covariance)]


def check_name(name: str) -> None:
    """Raises PointError unless a TF frame can be called so."""
    if not NAME.fullmatch(name):
        raise PointError(f"a point cannot be named {name!r}: letters, digits and _ are allowed, and / between them")


def _followed(point: NamedPoint, registration: Registration, covariance: np.ndarray) -> FollowedPoint:
    # Both by the nodes of one vertex: between those the warp is affine, and the difference its exact derivative.
    nearest = registration.warp.nearest(point.position[None])
    position, ahead = registration.warp(np.stack([point.position, point.position + 1e-3 * point.tangent]), np.repeat(nearest, 2))
    normal = _unit(point.weight @ registration.normals[point.corner].astype(float))
    along = ahead - position
    x = along - (along @ normal) * normal
    if np.linalg.norm(x) < 1e-3 * np.linalg.norm(along):        # only where the surface is squeezed to nothing
        x = _tangent(normal)
    x = _unit(x)
    seen = registration.visible[point.corner].astype(float)
    return FollowedPoint(point.name, position, normal, np.stack([x, np.cross(normal, x), normal], axis=1), np.asarray(covariance, float),
                         bool(point.weight @ seen > 0.5), float(point.weight @ registration.confidence[point.corner]))


def _snapped(vertices: np.ndarray, triangles: np.ndarray, position: np.ndarray, within_m: float) -> tuple[np.ndarray, np.ndarray]:
    position = np.asarray(position, float).reshape(3)
    if not np.isfinite(position).all():
        raise PointError(f"the position ({', '.join(f'{value:g}' for value in position)}) is not finite")
    distance, corner, weight = closest_point(vertices, triangles, position)
    if distance > within_m:
        x, y, z = position
        raise PointError(f"({x:.3f}, {y:.3f}, {z:.3f}) is {1e3 * distance:.0f} mm off the surface: at most {1e3 * within_m:.0f} mm are "
                         "allowed")
    return corner, weight


def _require_found(result: Registration) -> None:
    if result.status == LOST:
        raise PointError(f"the surface is lost at present ({result.reason}): name the point when it is followed")


def _tangent(normal: np.ndarray) -> np.ndarray:
    """The direction along the surface that is nearest to the camera's x axis; to its y axis where that is the normal."""
    axis = np.eye(3)[0 if abs(normal[0]) < 0.9 else 1]
    return _unit(axis - (axis @ normal) * normal)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.maximum(np.linalg.norm(vector), 1e-12)


def _pixel(xy: tuple[float, float]) -> str:
    return f"pixel ({xy[0]:g}, {xy[1]:g})"
