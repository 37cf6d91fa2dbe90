"""The depth half: the reference surface, registered to each frame's depth by the matches."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..camera import PinholeCamera, rescale_pixels
from ..features.image_input import check_mask
from ..matching.keyframes import REFERENCE_VIEW, LandmarkMap
from ..matching.prediction import Prediction
from ..registration import NonRigidRegistration
from ..stopwatch import Stopwatch
from ..surface import Surface, SurfaceError
from ..templates.coarser_surface import coarser_surface
from ..templates.named_points import SNAP, NamedPoints
from ..types import LOST, TRACKED, WAITING, Registration
from .frames import FrameMatches, SurfaceFrame

if TYPE_CHECKING:
    from ..templates.template import Template

JOINS_AGAIN = 10            # frames after which keypoints that were not found on the surface are looked for again
MIN_JOINING = 8             # landmarks that must agree in a frame for keypoints to be joined to the surface there


class SurfaceTracker:
    """The depth half: keeps the reference surface, registers it to each frame's depth by the matches.

    The first frame that it gets with usable depth becomes its reference surface, whichever image the matches refer to. Where a
    keypoint of the reference image or of a keyframe is on that surface is found in the first frame that shows both: in the surface's
    own, or in one that was tracked by other landmarks, through the inverse warp. So it may miss frames, start late, be restarted or be
    given a new reference while the feature half goes on. Matches that refer to another image than before start it anew.

    points: named points of the reference surface, which go with it.
    registration_options: those of NonRigidRegistration (node_spacing, max_vertices, pieces, grow_to, near_m, far_m, depth_noise_m).
    """

    def __init__(self, *, device: str = "auto", **registration_options: Any) -> None:
        self._device = device
        self._options = registration_options
        self.topology_id = 0
        self._template: tuple[Template, int] | None = None
        self.reset()

    def adopt(self, template: Template | None, stamp_ns: int = 0) -> None:
        """Follow a template's surface wherever matches refer to it; None: no more. What is known is forgotten.

        stamp_ns: names it, as FrameMatches.reference_stamp_ns. Raises ValueError for a template without depth.
        """
        if template is not None and template.surface is None:
            raise ValueError(f"template {template.name} has no depth: there is no surface to follow, only its picture")
        self._template = None if template is None else (template, stamp_ns)
        self.reset()

    def reset(self) -> None:
        """Forget the reference surface; the next frame with usable depth becomes it, unless its matches refer to a template."""
        self.registration: NonRigidRegistration | None = None
        self.points = NamedPoints()                      # of the reference surface
        self._reference_stamp_ns = 0                     # of the frame that the surface was made of
        self._matched_stamp_ns: int | None = None        # of the image that the matches refer to
        self._places = LandmarkMap()
        self._beside: set[tuple[int, int]] = set()       # keypoints, view and index, that were looked for on the surface lately
        self._frames = 0                                 # in which that was done
        self._seen: Registration | None = None           # the last one that was not lost
        self._stamp_ns, self._image_size = 0, (0, 0)     # of the image before
        self._nearest: tuple[Any, Any, np.ndarray] = (None, None, np.zeros(0, np.int64))

    def warm_up(self) -> None:
        """Compile the registration's kernels (cached on disk), so that the first real frame is not the slow one."""
        camera = PinholeCamera(60.0, 60.0, 31.5, 23.5, 64, 48)
        depth = np.full((48, 64), 0.7, np.float32)
        xy = np.stack(np.meshgrid(np.arange(4.0, 60, 6), np.arange(4.0, 44, 6)), axis=-1).reshape(-1, 2)
        registration = NonRigidRegistration(camera, self._device)
        registration.set_reference(depth)
        for _ in range(2):      # found from landmarks, then tracked
            registration.register(depth, xy, xy)
        registration.covariance()       # whoever asks for it later is not to wait for its kernels

    @property
    def surface(self) -> Surface | None:
        """The reference surface: vertices, normals, triangles, colours."""
        return self.registration.surface if self.registration else None

    @property
    def template(self) -> Template | None:
        """The one that is followed; None: the reference is a frame, or there is none yet."""
        if self.registration is None or self._template is None or self._template[1] != self._reference_stamp_ns:
            return None
        return self._template[0]

    @property
    def reference_camera(self) -> PinholeCamera | None:
        """The camera that the reference is seen by: that of the frames, or the template's."""
        if self.registration is None:
            return None
        return self.registration.camera if self.template is None else self.template.camera

    @property
    def reference_vertices(self) -> np.ndarray | None:
        """(V, 3) float32 metres."""
        return self.surface.vertices if self.surface else None

    @property
    def triangles(self) -> np.ndarray | None:
        """(F, 3) int32."""
        return self.surface.triangles if self.surface else None

    @property
    def colors(self) -> np.ndarray | None:
        """(V, 3) uint8 RGB, or None without an image."""
        return self.surface.colors if self.surface else None

    def begins(self, matches: FrameMatches, camera: PinholeCamera) -> bool:
        """Whether process() would make this frame the reference surface, if its depth allows: then it wants an image.

        camera: of the depth image.
        """
        return self.registration is None or self._matched_stamp_ns != matches.reference_stamp_ns or self.registration.camera != camera

    def process(self, matches: FrameMatches, depth_m: np.ndarray, camera: PinholeCamera,
                image: np.ndarray | None = None, mask: np.ndarray | None = None) -> SurfaceFrame:
        """Follow the surface into one frame.

        depth_m: HxW float32 metres, NaN or 0 = no reading, aligned with the image that was matched; of another resolution is allowed.
        camera: of the depth image, or of the colour image it is aligned with. image (BGR) colours a new reference, mask bounds it.
        Raises ValueError on arrays that do not fit; a frame without usable depth is a frame with a status, not an error.
        """
        camera = camera.scaled(depth_m.shape[1], depth_m.shape[0]) if depth_m.ndim == 2 else camera
        if self.begins(matches, camera):
            self.reset()
        self._matched_stamp_ns = matches.reference_stamp_ns
        self._stamp_ns, self._image_size = matches.stamp_ns, matches.image_size
        size = (camera.width, camera.height)
        view, index, query_xy = _seen_keypoints(matches)
        query_xy = rescale_pixels(query_xy, matches.image_size, size)
        clock = Stopwatch()
        if matches.template and self.registration is None:
            if self._template is None or self._template[1] != matches.reference_stamp_ns:
                return self.unusable(matches.stamp_ns, f"the images are matched to template {matches.template}, which has not come yet")
            self._begin_template(*self._template, camera)
        if self.registration is None:
            return self._begin(matches, view, index, query_xy, depth_m, camera, image, mask, clock)
        if matches.template:
            self._join_template(matches)
        points = self._places.points(view, index)
        known = np.isfinite(points[:, 0])
        before = self.registration.surface
        result = self.registration.register_pixels(depth_m, points[known], query_xy[known])
        self.topology_id += self.registration.surface is not before      # the model has grown
        clock.lap("register")
        if result.status == TRACKED and result.inlier.sum() >= MIN_JOINING and not known.all():
            self._join(view[~known], index[~known], query_xy[~known])
        clock.lap("join")
        self._seen = self._seen if result.status == LOST else result
        return SurfaceFrame(matches.stamp_ns, self._reference_stamp_ns, result, result.status, result.reason, False, self.topology_id,
                            int(known.sum()), int(result.inlier.sum()), {**result.milliseconds, **clock.laps})

    def _join(self, view: np.ndarray, index: np.ndarray, query_xy: np.ndarray) -> None:
        """Where on the surface keypoints (M,) are that are not known yet, seen at query_xy (M, 2) px of this frame.

        Those that were not on it are tried again some frames later only: most are beside it, and will stay there.
        """
        assert self.registration is not None
        self._frames += 1
        if self._frames % JOINS_AGAIN == 0:
            self._beside.clear()
        names = list(zip(view.tolist(), index.tolist()))
        new = np.array([name not in self._beside for name in names])
        if new.any():
            self._places.join(view[new], index[new], self.registration.to_reference(query_xy[new]))
            self._beside.update(names)

    def _begin_template(self, template: Template, stamp_ns: int, camera: PinholeCamera) -> None:
        """Its surface becomes the reference, seen by another camera than its own, perhaps; it is found by landmarks alone."""
        self.registration = NonRigidRegistration(camera, self._device, **self._options)
        surface = coarser_surface(template, self.registration.max_vertices)
        self.registration.set_reference_surface(surface)
        for name, place in template.points.items():
            self.points.add(name, place, surface, SNAP * self.registration.graph.spacing)
        self._reference_stamp_ns = stamp_ns
        self.topology_id += 1

    def _join_template(self, matches: FrameMatches) -> None:
        """Where on the surface those keypoints of the template's picture are that are seen for the first time."""
        assert self._template is not None
        index = matches.matches.reference_index
        view = np.full(len(index), REFERENCE_VIEW)
        new = matches.matches.inlier & ~np.isfinite(self._places.points(view, index)[:, 0])
        if new.any():
            points = self._template[0].surface_points(matches.reference_xy[new], matches.reference_image_size)
            self._places.join(view[new], index[new], points)

    def prediction(self) -> Prediction | None:
        """Where the surface has the keypoints that it knows, in pixels of the image processed last; None while there is no surface.

        While it is lost: where it was seen last.
        """
        view, index, points = self._places.newest()
        if self._seen is None or self._seen.warp is None or self.registration is None or self._matched_stamp_ns is None or not len(points):
            return None
        warp = self._seen.warp
        if self._nearest[0] is not points or self._nearest[1] is not warp.surface:
            self._nearest = points, warp.surface, warp.nearest(points)
        camera, nearest = self.registration.camera, self._nearest[2]
        xy = camera.project(warp(points, nearest))
        return Prediction(self._stamp_ns, self._matched_stamp_ns, view, index,
                          rescale_pixels(xy, (camera.width, camera.height), self._image_size), self._seen.visible[nearest])

    def unusable(self, stamp_ns: int, reason: str) -> SurfaceFrame:
        """A frame that cannot even be tried, for a reason that the caller knows: lost, or waiting while there is no reference surface."""
        status = WAITING if self.registration is None else LOST
        return SurfaceFrame(stamp_ns, self._reference_stamp_ns, None, status, reason, False, self.topology_id, 0, 0)

    def _begin(self, matches: FrameMatches, view: np.ndarray, index: np.ndarray, query_xy: np.ndarray, depth_m: np.ndarray,
               camera: PinholeCamera, image: np.ndarray | None, mask: np.ndarray | None, clock: Stopwatch) -> SurfaceFrame:
        """Make this frame the reference surface, if it can be."""
        size = (camera.width, camera.height)
        registration = NonRigidRegistration(camera, self._device, **self._options)
        try:
            if image is not None and image.shape[1::-1] != size:
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            if mask is not None:
                mask = check_mask(mask, size[::-1])
            registration.set_reference(depth_m, image, mask)
        except SurfaceError as error:
            return SurfaceFrame(matches.stamp_ns, 0, None, WAITING, str(error), False, self.topology_id, len(index), 0)
        clock.lap("reference")
        self.registration, self._reference_stamp_ns = registration, matches.stamp_ns
        self.topology_id += 1
        points = registration.reference_points(query_xy)
        self._places.join(view, index, points)
        result = registration.register_pixels(depth_m, points, query_xy)
        clock.lap("register")
        self._seen = None if result.status == LOST else result
        return SurfaceFrame(matches.stamp_ns, matches.stamp_ns, result, result.status, result.reason, True, self.topology_id,
                            len(index), int(result.inlier.sum()), clock.laps)


def _seen_keypoints(matches: FrameMatches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Verified keypoints of all views: number of the view (M,), index in it (M,), pixels in the current image (M, 2)."""
    use, others = matches.matches.inlier, matches.keyframes
    index = matches.matches.reference_index[use]
    view = np.concatenate([np.full(len(index), REFERENCE_VIEW), others.keyframe])
    return view, np.concatenate([index, others.index]), np.concatenate([matches.query_xy[use], others.query_xy])
