"""One frame's results as messages, the same for both doors: nodes publish them, `register` writes them to a bag."""
from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from dalf_core.camera import PinholeCamera, rescale_pixels
from dalf_core.drawing.draw_warp import draw_registered
from dalf_core.image_registration.image_warp import ImageWarpError, fit_image_warp
from dalf_core.tracking import FeatureFrame, FrameMatches, SurfaceFrame, SurfaceTracker
from dalf_core.types import DEGRADED, TRACKED

from ..images.image_conversion import from_color, from_color_compressed
from . import messages, point_messages, topics, visual_messages
from .based_results import Placement, moved_deformation, moved_named_points, moved_points, turned_covariances, turned_vectors
from .messages import NANOSECONDS
from .pictures import draw_motion

DESCRIPTOR_TYPES = {"float32": messages.FLOAT32, "float16": messages.FLOAT16, "none": None}


def feature_results(frame: FeatureFrame, image: np.ndarray, stamp_ns: int, frame_id: str, wanted: Collection[str],
                    descriptor_type: str = "float32", region: tuple[int, int, int, int] | None = None) -> Iterator[tuple[str, dict]]:
    """(topic, fields) of the image half, for the wanted topics. The matches come first: others wait for them.

    There are no matches while no image had enough keypoints to become the reference. region: drawn in the debug image.
    """
    message_header = messages.header(stamp_ns, frame_id)
    if topics.MATCHES in wanted and frame.matches is not None:
        yield topics.MATCHES, messages.match_array(frame.matches, frame_id)
    if topics.MATCHES_PREVIOUS in wanted and frame.previous is not None:
        yield topics.MATCHES_PREVIOUS, messages.match_array(frame.previous, frame_id)
    if topics.FEATURES in wanted and frame.features is not None:
        yield topics.FEATURES, messages.feature_array(frame.features, message_header, DESCRIPTOR_TYPES[descriptor_type])
    if topics.WARP in wanted or topics.REGISTERED_IMAGE in wanted:
        yield from _warp_results(frame, image, frame_id, wanted)
    if topics.DEBUG_IMAGE in wanted or topics.DEBUG_COMPRESSED in wanted:
        keypoints = np.zeros((0, 2), np.float32) if frame.features is None else frame.features.keypoints
        picture = draw_motion(image, frame.matches or frame.previous, keypoints, region)
        if topics.DEBUG_IMAGE in wanted:
            yield topics.DEBUG_IMAGE, from_color(picture, message_header)
        if topics.DEBUG_COMPRESSED in wanted:
            yield topics.DEBUG_COMPRESSED, from_color_compressed(picture, message_header)


def _warp_results(frame: FeatureFrame, image: np.ndarray, frame_id: str, wanted: Collection[str]) -> Iterator[tuple[str, dict]]:
    """The 2D map from the reference image, and the image as the reference sees it; nothing where the matches do not determine one."""
    if frame.matches is None:
        return
    pairs, good = frame.matches, frame.matches.matches.inlier
    try:
        warp = fit_image_warp(pairs.reference_xy[good], pairs.query_xy[good], pairs.reference_image_size, pairs.image_size)
    except ImageWarpError:
        return
    now, reference = messages.header(pairs.stamp_ns, frame_id), messages.header(pairs.reference_stamp_ns, frame_id)
    if topics.WARP in wanted:
        yield topics.WARP, messages.image_warp(warp, now, reference)
    if topics.REGISTERED_IMAGE in wanted:
        yield topics.REGISTERED_IMAGE, from_color(draw_registered(image, warp), now)


class SurfaceResults:
    """Messages of the depth half. Keeps what is made once a reference: the decimated triangles, and which reference was announced.

    place: the frame in which positions are given, and how it is reached from the camera's optical frame (see optical()).
    """

    def __init__(self, tracker: SurfaceTracker) -> None:
        self.tracker = tracker
        self.marker_triangles = 1000
        self.marker_rate = 5.0
        self.covariance_rate = 1.0
        self._announced: int | None = None
        self._decimated: tuple[int, int, np.ndarray] | None = None
        self._last_ns: dict[str, int] = {}      # of the topics that have a rate

    def forget(self) -> None:
        """The reference is gone: the next one is announced anew."""
        self._announced = self._decimated = None
        self._last_ns.clear()

    def status(self, frame: SurfaceFrame, frame_id: str, milliseconds: float, dropped: int) -> tuple[str, dict]:
        """(topic, fields) of the status message; it is sent for every frame, also without a surface."""
        vertices = self.tracker.reference_vertices
        nodes = 0 if frame.registration is None else len(frame.registration.node_translation)
        count = 0 if vertices is None else len(vertices)
        return topics.STATUS, messages.registration_status(frame, frame_id, milliseconds, count, nodes, dropped)

    def surface(self, frame: SurfaceFrame, place: Placement, wanted: Collection[str]) -> Iterator[tuple[str, dict]]:
        """(topic, fields) of the wanted surface topics; nothing while there is no surface."""
        result = frame.registration
        if result is None:
            return
        now, reference = messages.header(frame.stamp_ns, place.frame_id), messages.header(frame.reference_stamp_ns, place.frame_id)
        colors = self.tracker.colors
        if topics.REFERENCE in wanted and self._announced != frame.topology_id:
            self._announced = frame.topology_id
            surface = self.tracker.registration.surface
            yield topics.REFERENCE, messages.surface_mesh(
                reference, reference, frame.topology_id, moved_points(place.reference, surface.vertices),
                turned_vectors(place.reference, surface.normals), None, surface.triangles, surface.colors)
        if topics.DEFORMATION in wanted:
            graph = self.tracker.registration.graph
            nodes = moved_deformation(place, graph.position, result.node_rotation, result.node_translation)
            yield topics.DEFORMATION, messages.deformation_field(now, reference, *nodes, graph.radius)
        vertices = moved_points(place.surface, result.vertices)
        if topics.MESH in wanted:
            normals = turned_vectors(place.surface, result.normals)
            yield topics.MESH, messages.surface_mesh(now, reference, frame.topology_id, vertices, normals, result.visible)
        if topics.POINTS in wanted:
            yield topics.POINTS, visual_messages.point_cloud(vertices, colors, now)
        if topics.MARKER in wanted and self._is_due(topics.MARKER, self.marker_rate, frame.stamp_ns):
            yield topics.MARKER, visual_messages.mesh_marker(vertices, self._triangles(frame.topology_id), colors, now)

    def landmarks(self, frame: SurfaceFrame, matches: FrameMatches, depth_m: np.ndarray, camera: PinholeCamera,
                  place: Placement, wanted: Collection[str]) -> Iterator[tuple[str, dict]]:
        """Lines from where the followed surface has each verified match to where the depth image has it.

        camera: of the depth image. Nothing where the surface is of another frame than the matches' reference image.
        """
        result = frame.registration
        if topics.LANDMARKS not in wanted or result is None or frame.reference_stamp_ns != matches.reference_stamp_ns:
            return
        inlier, size, reference = matches.matches.inlier, (camera.width, camera.height), self.tracker.reference_camera
        assert reference is not None
        reference_xy = rescale_pixels(matches.reference_xy[inlier], matches.reference_image_size, (reference.width, reference.height))
        start, end = landmark_lines(reference.project(self.tracker.reference_vertices), result.vertices, reference_xy,
                                    rescale_pixels(matches.query_xy[inlier], matches.image_size, size), depth_m, camera)
        start, end = moved_points(place.surface, start), moved_points(place.camera, end)
        yield topics.LANDMARKS, visual_messages.landmark_marker(start, end, np.linalg.norm(end - start, axis=1),
                                                                messages.header(frame.stamp_ns, place.frame_id))

    def covariance(self, frame: SurfaceFrame, place: Placement, wanted: Collection[str]) -> Iterator[tuple[str, dict]]:
        """How sure the vertices are; nothing of the reference, which is where it is said to be, nor where the surface is lost.

        It takes longer than following the surface, so it comes last, and at most covariance_rate times a second.
        """
        if topics.COVARIANCE not in wanted or frame.is_reference or frame.status not in (TRACKED, DEGRADED):
            return
        if self._is_due(topics.COVARIANCE, self.covariance_rate, frame.stamp_ns):
            now, reference = messages.header(frame.stamp_ns, place.frame_id), messages.header(frame.reference_stamp_ns, place.frame_id)
            covariance = turned_covariances(place.surface, self.tracker.registration.covariance())
            yield topics.COVARIANCE, messages.surface_covariance(now, reference, frame.topology_id, covariance)

    def points(self, frame: SurfaceFrame, place: Placement, wanted: Collection[str]) -> Iterator[tuple[str, dict]]:
        """(topic, fields) of the wanted topics of named points, of which there may be none; nothing while there is no surface.

        Their covariance is not that of the reference, which is where it is said to be, nor of a lost surface.
        """
        if frame.registration is None or not any(topic in wanted for topic in topics.POINT_TOPICS):
            return
        now, named = messages.header(frame.stamp_ns, place.frame_id), self.tracker.points
        covariance = None
        if topics.NAMED_POINTS in wanted and len(named) and not frame.is_reference and frame.status in (TRACKED, DEGRADED):
            covariance = self.tracker.registration.covariance(named.positions)
        points = moved_named_points(place.surface, named.follow(frame.registration, covariance))
        if topics.NAMED_POINTS in wanted:
            reference = messages.header(frame.reference_stamp_ns, place.frame_id)
            yield topics.NAMED_POINTS, point_messages.surface_points(points, now, reference, frame.topology_id)
        if topics.POINT_POSES in wanted:
            yield topics.POINT_POSES, point_messages.pose_array(points, now)
        if topics.POINT_MARKERS in wanted:
            yield topics.POINT_MARKERS, point_messages.point_markers(points, now)

    def _is_due(self, topic: str, rate: float, stamp_ns: int) -> bool:
        last = self._last_ns.get(topic)
        if last is not None and 0 <= stamp_ns - last < NANOSECONDS / rate:
            return False
        self._last_ns[topic] = stamp_ns
        return True

    def _triangles(self, topology_id: int) -> np.ndarray:
        key = (topology_id, self.marker_triangles)
        if self._decimated is None or self._decimated[:2] != key:
            surface = self.tracker.surface
            self._decimated = (*key, visual_messages.decimate(surface.vertices, surface.triangles, self.marker_triangles))
        return self._decimated[2]


def landmark_lines(reference_pixels: np.ndarray, vertices: np.ndarray, reference_xy: np.ndarray, current_xy: np.ndarray,
                   depth_m: np.ndarray, camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    """(M', 3) surface positions and (M', 3) measured positions, metres, of the landmarks whose pixel has a depth reading."""
    pixels = np.rint(current_xy).astype(int)
    inside = (pixels >= 0).all(axis=1) & (pixels[:, 0] < depth_m.shape[1]) & (pixels[:, 1] < depth_m.shape[0])
    z = np.full(len(pixels), np.nan)
    z[inside] = depth_m[pixels[inside, 1], pixels[inside, 0]]
    _, vertex = cKDTree(reference_pixels).query(reference_xy)
    measured = camera.lift(current_xy, z)
    usable = np.isfinite(z) & (z > 0)
    return vertices[vertex[usable]], measured[usable]


def frame_id_of(message: Any) -> str:
    """The optical frame that a message names."""
    return str(message.header.frame_id)
