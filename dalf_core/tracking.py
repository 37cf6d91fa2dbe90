"""The tracking session that both doors drive: ROS nodes, and bags read frame by frame.

Data flows one way:  image -> FeatureTracker -> FrameMatches -> SurfaceTracker (with depth) -> SurfaceFrame.
"""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from .camera import PinholeCamera
from .features.extractor import DALF
from .features.image_input import check_mask
from .matching.keyframes import NO_KEYFRAMES, REFERENCE_VIEW, KeyframeMatches, Keyframes, LandmarkMap
from .matching.nearest_neighbours import match
from .matching.verification import verify
from .registration import NonRigidRegistration
from .stopwatch import Stopwatch
from .surface import Surface, SurfaceError
from .types import LOST, TRACKED, WAITING, Features, Matches, Registration

MIN_JOINING = 8             # landmarks that must agree in a frame for keypoints to be joined to the surface there


@dataclass(frozen=True)
class FrameMatches:
    """What a MatchArray message carries: pixel pairs between a reference image and the current one.

    stamp_ns, reference_stamp_ns: sensor stamps, nanoseconds; equal when this frame became the reference.
    image_size, reference_image_size: (width, height), pixels.
    matches: indices, distances and verification; reference_xy, query_xy: (M, 2) float32 pixels.
    keyframes: what is seen of other views of the surface, where the reference image does not serve.
    """

    stamp_ns: int
    reference_stamp_ns: int
    image_size: tuple[int, int]
    reference_image_size: tuple[int, int]
    matches: Matches
    reference_xy: np.ndarray
    query_xy: np.ndarray
    keyframes: KeyframeMatches = NO_KEYFRAMES


@dataclass(frozen=True)
class FeatureFrame:
    """One image's features, its matches to the reference (None while there is none), and to the image before (None unless asked for).

    milliseconds: time by stage.
    """

    features: Features
    matches: FrameMatches | None
    milliseconds: dict[str, float] = field(default_factory=dict)
    previous: FrameMatches | None = None


@dataclass(frozen=True)
class SurfaceFrame:
    """One frame of the followed surface.

    registration is None while there is no reference yet; reason then says why.
    is_reference: this frame became the reference. topology_id: changes with every new reference surface, and when it grows.
    matches, inliers: landmarks whose place on the surface is known, and those of them that the registration kept.
    """

    stamp_ns: int
    reference_stamp_ns: int
    registration: Registration | None
    status: str                  # "waiting", or the registration's
    reason: str
    is_reference: bool
    topology_id: int
    matches: int
    inliers: int
    milliseconds: dict[str, float] = field(default_factory=dict)


class FeatureTracker:
    """The image half: extracts features, matches them to the reference image, verifies the matches.

    dalf: a DALF extractor. image_scale: images are resized by this factor before extraction (small objects gain from 2);
    keypoints come back in pixels of the image as given. min_reference_keypoints: an image with fewer does not become the reference.
    max_keyframes: at most so many frames are kept besides the reference and matched when that serves no longer (the surface has turned
    away, came close, is lit otherwise); 0: none.

    region (x, y, width, height; pixels, None: the whole image), min_score (keypoints below it are left out) and dalf.top_k may be
    changed between images; the reference stays.
    """

    def __init__(self, dalf: DALF, *, image_scale: float = 1.0, min_reference_keypoints: int = 16, max_keyframes: int = 8) -> None:
        if not 0.05 <= image_scale <= 8:
            raise ValueError(f"image_scale must be between 0.05 and 8, got {image_scale}")
        self.dalf = dalf
        self.image_scale = image_scale
        self.min_reference_keypoints = min_reference_keypoints
        self.region: tuple[int, int, int, int] | None = None
        self.min_score = 0.0
        self.keyframes = Keyframes(max_keyframes)
        self.reset()

    def reset(self) -> None:
        """Forget the reference and the keyframes; the next image with enough keypoints becomes the reference."""
        self.reference: Features | None = None
        self._reference_stamp_ns = 0
        self._last: tuple[Features, int] | None = None      # of the image before, with its stamp
        self.keyframes.clear()

    def process(self, image: np.ndarray, stamp_ns: int, mask: np.ndarray | None = None, *, to_reference: bool = True,
                to_previous: bool = False) -> FeatureFrame:
        """Extract one image and match it to the reference, to the image before, or to both.

        image: HxWx3 uint8 BGR or HxW uint8. mask: HxW of any resolution, nonzero where keypoints may lie (reference and current alike).
        FeatureFrame.matches is None while no image had enough keypoints to be the reference, FeatureFrame.previous for the first image.
        ValueError: as DALF.extract, or a region that reaches beyond the image.
        """
        clock = Stopwatch()
        features = self._extract(image, mask)
        clock.lap("extract")
        last, self._last = self._last, (features, stamp_ns)
        pairs = self._to_reference(features, stamp_ns, clock) if to_reference else None
        previous = None
        if to_previous and last is not None:
            previous = _pairs(features, stamp_ns, *last, _verified(last[0], features, clock))
        return FeatureFrame(features, pairs, clock.laps, previous)

    def _to_reference(self, features: Features, stamp_ns: int, clock: Stopwatch) -> FrameMatches | None:
        """Matches to the reference, which these features become where there is none."""
        is_reference = self.reference is None and len(features) >= self.min_reference_keypoints
        if is_reference:
            self.reference, self._reference_stamp_ns = features, stamp_ns
        if self.reference is None:
            return None
        matches = _identity(len(features)) if is_reference else _verified(self.reference, features, clock)
        for stage in ("match", "verify"):       # every frame names them, also the reference's
            clock.lap(stage)
        seen_again = NO_KEYFRAMES if is_reference else self.keyframes.see(self.reference, features, matches)
        clock.lap("keyframes")
        return replace(_pairs(features, stamp_ns, self.reference, self._reference_stamp_ns, matches), keyframes=seen_again)

    def warm_up(self, image_size: tuple[int, int] = (640, 480)) -> None:
        """Compile what is compiled on first use, so that the first real image is not the slow one. The reference is left alone."""
        noise = np.random.default_rng(0).integers(0, 255, (image_size[1], image_size[0]), np.uint8)
        features = self._extract_scaled(noise, None)
        verify(features, features, match(features, features))

    def _extract(self, image: np.ndarray, mask: np.ndarray | None) -> Features:
        """The features of the region; pixels of the whole image."""
        if mask is not None:
            mask = check_mask(mask, image.shape[:2])
        if self.region is None:
            return self._above_score(self._extract_scaled(image, mask))
        (x, y, width, height), (rows, columns) = self.region, image.shape[:2]
        if x < 0 or y < 0 or x + width > columns or y + height > rows:
            raise ValueError(f"the region of {width}x{height} pixels at ({x}, {y}) reaches beyond the image, which is {columns}x{rows}")
        part = slice(y, y + height), slice(x, x + width)
        features = self._extract_scaled(image[part], None if mask is None else mask[part])
        moved = features.keypoints + np.array([x, y], np.float32)
        return self._above_score(replace(features, keypoints=moved, image_size=(columns, rows)))

    def _above_score(self, features: Features) -> Features:
        count = int((features.scores >= self.min_score).sum())       # strongest first
        return features if count == len(features) else features.strongest(count)

    def _extract_scaled(self, image: np.ndarray, mask: np.ndarray | None) -> Features:
        if self.image_scale == 1.0:
            return self.dalf.extract(image, mask)
        height, width = image.shape[:2]
        size = max(1, round(width * self.image_scale)), max(1, round(height * self.image_scale))
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if self.image_scale < 1 else cv2.INTER_CUBIC)
        if mask is not None:
            mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
        features = self.dalf.extract(scaled, mask)
        return replace(features, keypoints=rescale_pixels(features.keypoints, size, (width, height)), image_size=(width, height))


class SurfaceTracker:
    """The depth half: keeps the reference surface, registers it to each frame's depth by the matches.

    The first frame that it gets with usable depth becomes its reference surface, whichever image the matches refer to. Where a
    keypoint of the reference image or of a keyframe is on that surface is found in the first frame that shows both: in the surface's
    own, or in one that was tracked by other landmarks, through the inverse warp. So it may miss frames, start late, be restarted or be
    given a new reference while the feature half goes on. Matches that refer to another image than before start it anew.

    registration_options: those of NonRigidRegistration (node_spacing, max_vertices, pieces, grow_to, near_m, far_m, depth_noise_m).
    """

    def __init__(self, *, device: str = "auto", **registration_options: Any) -> None:
        self._device = device
        self._options = registration_options
        self.topology_id = 0
        self.reset()

    def reset(self) -> None:
        """Forget the reference surface; the next frame with usable depth becomes it."""
        self.registration: NonRigidRegistration | None = None
        self._reference_stamp_ns = 0                     # of the frame that the surface was made of
        self._matched_stamp_ns: int | None = None        # of the image that the matches refer to
        self._places = LandmarkMap()

    def warm_up(self) -> None:
        """Compile the registration's kernels (cached on disk), so that the first real frame is not the slow one."""
        camera = PinholeCamera(60.0, 60.0, 31.5, 23.5, 64, 48)
        depth = np.full((48, 64), 0.7, np.float32)
        xy = np.stack(np.meshgrid(np.arange(4.0, 60, 6), np.arange(4.0, 44, 6)), axis=-1).reshape(-1, 2)
        registration = NonRigidRegistration(camera, self._device)
        registration.set_reference(depth)
        for _ in range(2):      # found from landmarks, then tracked
            registration.register(depth, xy, xy)

    @property
    def surface(self) -> Surface | None:
        """The reference surface: vertices, normals, triangles, colours."""
        return self.registration.surface if self.registration else None

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
        size = (camera.width, camera.height)
        view, index, query_xy = _seen_keypoints(matches)
        query_xy = rescale_pixels(query_xy, matches.image_size, size)
        clock = Stopwatch()
        if self.registration is None:
            return self._begin(matches, view, index, query_xy, depth_m, camera, image, mask, clock)
        points = self._places.points(view, index)
        known = np.isfinite(points[:, 0])
        before = self.registration.surface
        result = self.registration.register_pixels(depth_m, points[known], query_xy[known])
        self.topology_id += self.registration.surface is not before      # the model has grown
        clock.lap("register")
        if result.status == TRACKED and result.inlier.sum() >= MIN_JOINING and not known.all():
            self._places.join(view[~known], index[~known], self.registration.to_reference(query_xy[~known]))
        clock.lap("join")
        return SurfaceFrame(matches.stamp_ns, self._reference_stamp_ns, result, result.status, result.reason, False, self.topology_id,
                            int(known.sum()), int(result.inlier.sum()), {**result.milliseconds, **clock.laps})

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
        return SurfaceFrame(matches.stamp_ns, matches.stamp_ns, result, result.status, result.reason, True, self.topology_id,
                            len(index), int(result.inlier.sum()), clock.laps)


def rescale_pixels(xy: np.ndarray, from_size: tuple[int, int], to_size: tuple[int, int]) -> np.ndarray:
    """Pixel coordinates of an image in a resized copy of it; sizes are (width, height), pixel centres at integers. (N, 2) float32."""
    if from_size == to_size:
        return np.asarray(xy, dtype=np.float32)
    factor = np.array([to_size[0] / from_size[0], to_size[1] / from_size[1]])
    return ((np.asarray(xy, dtype=np.float64) + 0.5) * factor - 0.5).astype(np.float32)


def _verified(reference: Features, features: Features, clock: Stopwatch) -> Matches:
    matches = match(reference, features)
    clock.lap("match")
    matches = replace(matches, inlier=verify(reference, features, matches))
    clock.lap("verify")
    return matches


def _pairs(features: Features, stamp_ns: int, reference: Features, reference_stamp_ns: int, matches: Matches) -> FrameMatches:
    return FrameMatches(stamp_ns, reference_stamp_ns, features.image_size, reference.image_size, matches,
                        reference.keypoints[matches.reference_index], features.keypoints[matches.query_index])


def _seen_keypoints(matches: FrameMatches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Verified keypoints of all views: number of the view (M,), index in it (M,), pixels in the current image (M, 2)."""
    use, others = matches.matches.inlier, matches.keyframes
    index = matches.matches.reference_index[use]
    view = np.concatenate([np.full(len(index), REFERENCE_VIEW), others.keyframe])
    return view, np.concatenate([index, others.index]), np.concatenate([matches.query_xy[use], others.query_xy])


def _identity(count: int) -> Matches:
    index = np.arange(count, dtype=np.int64)
    return Matches(index, index, np.zeros(count, np.float32), np.ones(count, bool))
